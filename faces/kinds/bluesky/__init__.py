"""Bluesky: an account on Bluesky's own servers or on any other Personal Data Server (PDS) of the network."""
