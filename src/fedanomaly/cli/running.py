"""The node that runs on this machine, through its loopback API."""

from __future__ import annotations

from fedanomaly.client import Client
from fedanomaly.errors import UnavailableError
from fedanomaly.node.home import Home


def running_node(home: Home) -> Client:
    """Return a client of the node that runs on a home.

    Raises
    ------
    UnavailableError
        If none runs.
    """
    address = home.address
    if address is None:
        raise UnavailableError(f"no node runs on {home.root}", hint="run: fedanomaly node run")
    return Client(address, token=home.token)
