"""Every write about bots and posts, one verb per function."""
