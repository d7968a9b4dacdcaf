"""The command `fedanomaly`."""

from fedanomaly.cli.app import app, main

__all__ = ["app", "main"]
