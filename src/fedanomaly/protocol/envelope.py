"""Signed, versioned envelopes: the only thing that parties say to each other.

An envelope binds federation, kind, sender, body and the digest of what is
attached. It outlives the request that carries it: the ordered table of all
envelopes is the record of a federation, and its entries become the leaves of
the audit log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedanomaly.errors import MessageError, ProtocolError, VersionError
from fedanomaly.protocol.capabilities import Signer, Stored
from fedanomaly.types.canonical import HASH_BYTES, VERSION, Reader, begin, item, item_int

KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_BODY_BYTES = 1 << 20
NO_ATTACHMENT = bytes(HASH_BYTES)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One signed message.

    Parameters
    ----------
    federation : bytes
        Identifier of the federation, 32 bytes.
    kind : str
        Which message the body holds.
    sender : bytes
        Ed25519 public key, 32 bytes.
    body : bytes
        Canonical bytes of the message.
    attachment : bytes
        SHA-256 of the attached bytes, or zeros.
    size : int
        Length of the attached bytes.
    signature : bytes
        Ed25519, over everything above, version and purpose first.
    """

    federation: bytes
    kind: str
    sender: bytes
    body: bytes
    attachment: bytes = NO_ATTACHMENT
    size: int = 0
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return self._signed() + item("signature", self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """Read what `to_bytes` wrote; the signature is checked by `verify`.

        Raises
        ------
        VersionError
            If the envelope is of a version that is not spoken here.
        MessageError
            If the bytes are not an envelope.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION:
            raise VersionError("the envelope has an unknown version", hint="upgrade the older side")
        if reader.item("label") != b"envelope":
            raise MessageError("not an envelope")
        envelope = cls(
            federation=reader.hash("federation"),
            kind=reader.text("kind"),
            sender=reader.exact("sender", KEY_BYTES),
            body=reader.item("body"),
            attachment=reader.hash("attachment"),
            size=reader.int("size"),
            signature=reader.exact("signature", SIGNATURE_BYTES),
        )
        reader.end()
        if len(envelope.body) > MAX_BODY_BYTES:
            raise MessageError("the body is too large")
        if (envelope.attachment == NO_ATTACHMENT) != (envelope.size == 0):
            raise MessageError("an attachment has a digest and a size")
        return envelope

    @classmethod
    def read_all(cls, data: bytes) -> tuple[Envelope, ...]:
        """Read a sequence of envelopes, as `write_all` wrote it."""
        reader, envelopes = Reader(data), []
        while not reader.done:
            envelopes.append(cls.from_bytes(reader.item("envelope")))
        return tuple(envelopes)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    def verify(self) -> None:
        """Check the signature.

        Raises
        ------
        ProtocolError
            If the sender did not sign exactly this.
        """
        _ = self._holds

    @cached_property
    def _holds(self) -> bool:  # checked once: on arrival from the network, and again by the fold
        verify(self.sender, self.signature, self._signed())
        return True

    def _signed(self) -> bytes:
        return (
            begin("envelope")
            + item("federation", self.federation)
            + item("kind", self.kind.encode("ascii"))
            + item("sender", self.sender)
            + item("body", self.body)
            + item("attachment", self.attachment)
            + item_int("size", self.size)
        )


@dataclass(frozen=True)
class Entry:
    """One row of the ordered table.

    Parameters
    ----------
    seq : int
        Position, from 1, without gaps.
    received_at : float
        Unix seconds by the coordinator's clock; deadlines count from it.
    envelope : Envelope
        What was received.
    """

    seq: int
    received_at: float
    envelope: Envelope


@dataclass(frozen=True)
class Post:
    """An envelope that is due, with the bytes that it names unless they are stored already."""

    envelope: Envelope
    attachment: bytes | None = None


def write_all(envelopes: Iterable[Envelope]) -> bytes:
    """Return a sequence of envelopes as one value."""
    return b"".join(item("envelope", envelope.to_bytes()) for envelope in envelopes)


def seal(signer: Signer, federation: bytes, kind: str, body: bytes, attachment: bytes | Stored | None = None) -> Post:
    """Return a signed envelope; the same input gives the same bytes."""
    data = attachment if isinstance(attachment, bytes) and attachment else None
    named = attachment if isinstance(attachment, Stored) else Stored(NO_ATTACHMENT, 0)
    if data:
        named = Stored(hashlib.sha256(data).digest(), len(data))
    unsigned = Envelope(
        federation=federation,
        kind=kind,
        sender=signer.public_key,
        body=body,
        attachment=named.digest,
        size=named.size,
        signature=bytes(SIGNATURE_BYTES),
    )
    signature = signer.sign(unsigned._signed())  # noqa: SLF001 (its own module)
    fields = {name: getattr(unsigned, name) for name in ("federation", "kind", "sender", "body", "attachment", "size")}
    return Post(Envelope(**fields, signature=signature), data)


def verify(public_key: bytes, signature: bytes, data: bytes) -> None:
    """Check an Ed25519 signature.

    Raises
    ------
    ProtocolError
        If it does not hold.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise ProtocolError("a signature does not hold") from None
