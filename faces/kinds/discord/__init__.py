"""Discord: a bot that posts to a channel of a server."""
