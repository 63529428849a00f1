"""Telegram: a bot that posts to a channel or a group."""
