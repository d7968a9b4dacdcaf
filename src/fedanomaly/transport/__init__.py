"""Signed HTTP between nodes and the coordinator: what both sides share, and the node's side.

The coordinator's side is in `fedanomaly.transport.verification`: it brings the
web framework along, which a client needs none of.
"""

from fedanomaly.transport.client import CoordinatorClient
from fedanomaly.transport.connection import Connection, Patience, is_loopback
from fedanomaly.transport.failures import (
    error_of,
    failure_of,
    plain_text,
    status_of,
)
from fedanomaly.transport.invitations import Invitation, check_origin
from fedanomaly.transport.signing import RequestSigner

__all__ = [
    "Connection",
    "CoordinatorClient",
    "Invitation",
    "Patience",
    "RequestSigner",
    "check_origin",
    "error_of",
    "failure_of",
    "is_loopback",
    "plain_text",
    "status_of",
]
