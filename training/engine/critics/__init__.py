"""Models that judge texts: what reward they may expect, whether a person wrote them, how a reply will be received."""
