"""Mastodon: any instance, and servers that speak its interface."""
