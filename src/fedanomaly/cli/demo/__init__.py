"""`fedanomaly demo`, acted out with the public commands."""

from fedanomaly.cli.demo.command import demo

__all__ = ["demo"]
