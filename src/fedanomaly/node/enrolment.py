"""Joining a federation: one invitation, spent once; the coordinator's key is pinned from it."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedanomaly.node.home import Home, Membership
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.upstream import client_of
from fedanomaly.protocol import Enrol, seal
from fedanomaly.transport import Invitation
from fedanomaly.transport.trust import client_context


def enrol(home: Home, keystore: Keystore, invitation: Invitation, *, ca_file: Path | None = None) -> Membership:
    """Enrol the node of a home; again after a crash is fine, the envelope is the same.

    Parameters
    ----------
    home : Home
        Its folder.
    keystore : Keystore
        Signs the enrolment.
    invitation : Invitation
        As the coordinator's operator handed it over.
    ca_file : Path, optional
        Certificates (PEM) to trust for TLS instead of the authority in the invitation, or the system's.

    Raises
    ------
    CertificateError
        If the coordinator's certificate does not hold.
    ConfigError
        If the node is enrolled somewhere else, or `ca_file` cannot be read.
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
    # The invitation's authority stands on the same ground as the key that is pinned from it.
    carried = ssl.DER_cert_to_PEM_cert(invitation.ca).encode() if invitation.ca else b""
    home.trust(_read(ca_file) if ca_file else carried)
    with client_of(membership, keystore, ca_file=home.authority) as client:
        client.federation()
        client.enrol(invitation, post.envelope)
    home.enrolled(membership)
    return membership


def _read(ca_file: Path) -> bytes:
    client_context(ca_file)  # refuses what holds no certificate
    return ca_file.read_bytes()
