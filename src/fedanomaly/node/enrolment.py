"""Joining a federation: one invitation, spent once; the coordinator's key is pinned from it."""

from __future__ import annotations

from fedanomaly.node.home import Home, Membership
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.upstream import client_of
from fedanomaly.protocol import Enrol, seal
from fedanomaly.transport import Invitation


def enrol(home: Home, keystore: Keystore, invitation: Invitation) -> Membership:
    """Enrol the node of a home; again after a crash is fine, the envelope is the same.

    Parameters
    ----------
    home : Home
        Its folder.
    keystore : Keystore
        Signs the enrolment.
    invitation : Invitation
        As the coordinator's operator handed it over.

    Raises
    ------
    ConfigError
        If the node is enrolled somewhere else.
    ProtocolError
        If another coordinator answers than the invitation names.
    RefusedError
        If the invitation is unknown, expired or used.
    UnavailableError
        If nobody answers.
    """
    membership = Membership(
        name=invitation.name,
        url=invitation.url,
        coordinator=invitation.coordinator,
        federation=invitation.federation,
    )
    home.check_membership(membership)
    post = seal(keystore, invitation.federation, Enrol.kind, Enrol(name=invitation.name).to_bytes())
    with client_of(membership, keystore) as client:
        client.federation()
        client.enrol(invitation, post.envelope)
    home.enrolled(membership)
    return membership
