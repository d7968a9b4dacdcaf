"""Measurements against a peer, each in one run: `make bench`. See README.md here."""
