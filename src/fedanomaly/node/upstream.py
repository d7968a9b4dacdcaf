"""The one connection that a node opens by itself: to its coordinator."""

from __future__ import annotations

from pathlib import Path

from fedanomaly.node.home import Membership
from fedanomaly.node.keystore import Keystore
from fedanomaly.transport import CoordinatorClient, Patience

PATIENCE = Patience(connect_timeout_s=5.0, io_timeout_s=30.0, attempts=2, retry_for_s=5.0)
"""Short: the node's loop itself tries again, for ever, and says so."""


def client_of(membership: Membership, keystore: Keystore, *, ca_file: Path | None) -> CoordinatorClient:
    """Return the connection to the coordinator whose key was pinned at enrolment.

    Parameters
    ----------
    membership : Membership
        Where the node is enrolled.
    keystore : Keystore
        Signs the requests.
    ca_file : Path or None
        `Home.authority`: whom to trust for TLS instead of the system's authorities.
    """
    return CoordinatorClient(
        membership.url,
        signer=keystore,
        coordinator=membership.coordinator,
        federation=membership.federation,
        patience=PATIENCE,
        ca_file=ca_file,
    )
