"""Signed envelopes and the bodies that they carry."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.independent.encoding import (
    ZEROS,
    Refused,
    begin,
    begun,
    exactly,
    hashes,
    index_set,
    item,
    need,
    number,
    take,
    whole,
)
from tests.independent.streams import sha256

BODIES = {
    "founded": "name:text members:int threshold:int quota:int attempts:int join_ms:int contribute_ms:int "
    "statement_ms:int vote_ms:int",
    "enrol": "name:text",
    "epoch-call": "number:int threshold:int policy:hash identities:hashes",
    "hello": "call:hash nonce:hash hello:bytes",
    "roster": "call:hash hellos:hashes",
    "roster-accept": "roster:hash",
    "objection": "roster:hash about:int what:text",
    "deal": "roster:hash receiver:int",
    "confirm": "epoch:hash tag:hash",
    "job-request": "request:bytes model:text dataset:text detector:text version:int params:text schema:hash",
    "job-start": "epoch:hash job:int request:hash",
    "ready": "epoch:hash job:int generation:int relations:bytes state_tag:hash next_step:bytes",
    "decline": "epoch:hash job:int reason:text",
    "announce": "ask:bytes",
    "join": "ask:hash generation:int nonce:hash signature:bytes",
    "manifest": "manifest:bytes",
    "contribution": "manifest:hash",
    "close": "manifest:hash contributors:indices contributions:hashes",
    "statement": "manifest:hash opens:truth contributors:indices",
    "abandon": "manifest:hash reason:text",
    "opened": "manifest:hash contributors:indices",
    "vote": "manifest:hash contributors:hash masked:hash accept:truth state_tag:hash next_step:bytes",
    "outcome": "ask:hash outcome:text reason:text",
    "job-end": "epoch:hash job:int outcome:text reason:text",
}
NEXT_STEP = "step_tag:hash preset:int field_bits:int fields:int"
FROM_COORDINATOR = {
    "founded", "epoch-call", "roster", "job-start", "announce", "manifest", "close", "abandon", "opened", "outcome",
    "job-end",
}  # fmt: skip
ENVELOPE = ["federation", "kind", "sender", "body", "attachment", "size", "signature"]
MAX_BODY = 1 << 20


def text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused("not text") from None


def truth(value: bytes) -> bool:
    need(value in (b"\0", b"\1"), "not a truth value")
    return value == b"\1"


READERS = {
    "int": whole,
    "text": text,
    "bytes": bytes,
    "hash": lambda value: exactly(value, 32),
    "hashes": hashes,
    "indices": index_set,
    "truth": truth,
}


def read_body(label: str, fields: str, data: bytes) -> SimpleNamespace:
    named = [entry.split(":") for entry in fields.split()]
    values = begun(data, label, [name for name, _ in named])
    return SimpleNamespace(
        **{name: READERS[kind](value) for (name, kind), value in zip(named, values, strict=True)}, kind=label
    )


def read_next_step(data: bytes) -> SimpleNamespace:
    return read_body("next-step", NEXT_STEP, data)


def check_relations(data: bytes) -> None:
    """Sets of rows on two sides, each ascending, none on both; in the order of their bytes, 4,096 numbers at most."""
    told, numbers = [], 0
    while data:
        sides, start = [], data
        for expected in ("left", "right"):
            label, value, data = take(data)
            need(label == expected and len(value) % 8 == 0 and value != b"", "not two sides of sets of rows")
            sides.append([whole(value[at : at + 8]) for at in range(0, len(value), 8)])
            need(sides[-1] == sorted(sides[-1]) and sides[-1][0] > 0, "out of order, or none")
        need(not set(sides[0]) & set(sides[1]), "on both sides")
        told.append(start[: len(start) - len(data)])
        numbers += len(sides[0]) + len(sides[1])
    need(told == sorted(set(told)) and numbers <= 4096, "out of order, or too many")


def checked(key: bytes, signature: bytes, data: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise Refused("a signature does not hold") from None


@dataclass(frozen=True)
class Envelope:
    """One signed message."""

    raw: bytes
    federation: bytes
    kind: str
    sender: bytes
    body: bytes
    attachment: bytes
    size: int
    signature: bytes

    @property
    def digest(self) -> bytes:
        return sha256(self.raw)

    @property
    def attached(self) -> bool:
        return self.attachment != ZEROS

    def message(self) -> SimpleNamespace:
        need(self.kind in BODIES, "an unknown kind")
        return read_body(self.kind, BODIES[self.kind], self.body)


def signed_part(*, federation: bytes, kind: str, sender: bytes, body: bytes, attachment: bytes, size: int) -> bytes:
    out = begin("envelope") + item("federation", federation) + item("kind", kind.encode()) + item("sender", sender)
    return out + item("body", body) + item("attachment", attachment) + number("size", size)


def read_envelope(raw: bytes) -> Envelope:
    federation, kind, sender, body, attachment, size, signature = begun(raw, "envelope", ENVELOPE)
    envelope = Envelope(
        raw=raw,
        federation=exactly(federation, 32),
        kind=text(kind),
        sender=exactly(sender, 32),
        body=body,
        attachment=exactly(attachment, 32),
        size=whole(size),
        signature=exactly(signature, 64),
    )
    need(len(body) <= MAX_BODY, "the body is too large")
    need(envelope.attached == (envelope.size != 0), "an attachment has a digest and a size")
    return envelope


def verify(envelope: Envelope) -> None:
    fields = ("federation", "kind", "sender", "body", "attachment", "size")
    signed = signed_part(**{name: getattr(envelope, name) for name in fields})
    checked(envelope.sender, envelope.signature, signed)


def read_all(data: bytes) -> list[Envelope]:
    """Read a sequence of envelopes, as a certificate holds it."""
    envelopes = []
    while data:
        label, value, data = take(data)
        need(label == "envelope", "not a sequence of envelopes")
        envelopes.append(read_envelope(value))
    return envelopes
