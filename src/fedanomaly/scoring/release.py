"""Releases: a federation's word that a scoring service may score with a model, for all of its tenants.

A file is one release: canonical bytes of what is released, then the signatures
of those who release it. The service holds no secret and trusts no folder: what
no releaser signed is not loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedanomaly.errors import MessageError, UnauthenticatedError, VersionError
from fedanomaly.transport.signing import Signer
from fedanomaly.types import Circuit
from fedanomaly.types.canonical import HASH_BYTES, VERSION, Reader, begin, item, item_int

SUFFIX = ".release"
MAX_RELEASE_BYTES = 64 * 1024 * 1024
MAX_SIGNATURES = 64
SIGNATURE_BYTES = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A model that a federation releases.

    Parameters
    ----------
    federation : bytes
        Identifier of the federation, 32 bytes.
    name : str
        Letters, digits, dots, dashes and underscores; at most 100.
    version : int
        Number of this version of the model.
    circuit : Circuit
        What is computed.

    Raises
    ------
    MessageError
        If the name or a number cannot be one.
    """

    federation: bytes
    name: str
    version: int
    circuit: Circuit

    def __post_init__(self) -> None:
        if len(self.federation) != HASH_BYTES or not _NAME.fullmatch(self.name) or not 0 <= self.version < 1 << 53:
            raise MessageError("a release has a federation of 32 bytes, a plain name and a version number")

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, which are what is signed; version and purpose come first."""
        return (
            begin("scoring release")
            + item("federation", self.federation)
            + item("name", self.name.encode())
            + item_int("model version", self.version)
            + item("circuit", self.circuit.to_bytes())
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        MessageError
            If the bytes are something else.
        VersionError
            If they are of another version.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION:
            raise VersionError("a release of another version")
        if reader.item("label") != b"scoring release":
            raise MessageError("not a release")
        federation, name, version = reader.hash("federation"), reader.text("name"), reader.int("model version")
        circuit = Circuit.from_bytes(reader.item("circuit"))
        reader.end()
        return cls(federation=federation, name=name, version=version, circuit=circuit)


def make_release(release: Release, signers: Sequence[Signer]) -> bytes:
    """Return a release file.

    Parameters
    ----------
    release : Release
        What is released.
    signers : sequence of Signer
        Who releases it; at least one, each once.
    """
    signed = release.to_bytes()
    signatures = {signer.public_key: signer.sign(signed) for signer in signers}
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise MessageError(f"a release has 1 to {MAX_SIGNATURES} signatures")
    # Sorted, so that one set of signatures has one form.
    listed = (item("signer", key) + item("signature", signature) for key, signature in sorted(signatures.items()))
    return item("release", signed) + b"".join(listed)


def read_release(data: bytes, *, federation: bytes, releasers: Collection[bytes]) -> Release:
    """Read a release file, and check who released it, for whom.

    Parameters
    ----------
    data : bytes
        What `make_release` wrote.
    federation : bytes
        The federation that it must be for.
    releasers : collection of bytes
        Public keys of whom one must have signed it.

    Raises
    ------
    MessageError
        If the bytes are something else.
    VersionError
        If they are of another version.
    UnauthenticatedError
        If a signature does not hold, none is a releaser's, or it is for another federation.
    """
    reader = Reader(data)
    signed, last = reader.item("release"), b""
    signers: list[bytes] = []
    while not reader.done:
        key, signature = reader.hash("signer"), reader.exact("signature", SIGNATURE_BYTES)
        if key <= last or len(signers) == MAX_SIGNATURES:
            raise MessageError("the signatures of a release are sorted by their keys, each once")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        except (InvalidSignature, ValueError):
            raise UnauthenticatedError("a signature of the release does not hold") from None
        signers.append(key)
        last = key
    # Who vouches for bytes is settled before they are read as a model.
    if not any(key in releasers for key in signers):
        raise UnauthenticatedError("no releaser of this service signed the release", hint="see releasers")
    release = Release.from_bytes(signed)
    if release.federation != federation:
        raise UnauthenticatedError("the release is one of another federation")
    return release
