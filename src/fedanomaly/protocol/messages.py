"""The bodies of all envelopes, each a frozen record with one canonical form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeAlias, get_type_hints

from fedanomaly.errors import MessageError, VersionError
from fedanomaly.types.canonical import HASH_BYTES, VERSION, Reader, begin, item

Hash: TypeAlias = Annotated[bytes, HASH_BYTES]
"""Exactly 32 bytes: a digest, a key, a tag, a nonce."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """Base of all bodies: fields in declared order, nothing optional."""

    kind: ClassVar[str]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        out = begin(self.kind)
        for name, write, _ in _codec(type(self)):
            out += item(name, write(getattr(self, name)))
        return out

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        MessageError
            If the bytes are not exactly such a message.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION:
            raise VersionError("the message has an unknown version")
        if reader.item("label") != cls.kind.encode():
            raise MessageError(f"not a {cls.kind} message")
        try:
            values = {name: read(reader.item(name)) for name, _, read in _codec(cls)}
        except ValueError:
            raise MessageError(f"the {cls.kind} message is malformed") from None
        reader.end()
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Founded(Message):
    """The coordinator opens a log: who may come, and how long it waits."""

    kind: ClassVar[str] = "founded"
    name: str
    members: int
    threshold: int
    quota: int
    attempts: int
    join_ms: int
    contribute_ms: int
    statement_ms: int
    vote_ms: int


@dataclass(frozen=True, kw_only=True)
class Enrol(Message):
    """An organisation joins the federation with a new identity."""

    kind: ClassVar[str] = "enrol"
    name: str


@dataclass(frozen=True, kw_only=True)
class EpochCall(Message):
    """The coordinator asks for a new key epoch; positions are roster indices."""

    kind: ClassVar[str] = "epoch-call"
    number: int
    threshold: int
    policy: Hash
    identities: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """A member's fresh nonce, HPKE key and commitment for an epoch."""

    kind: ClassVar[str] = "hello"
    call: Hash
    nonce: Hash
    hello: bytes


@dataclass(frozen=True, kw_only=True)
class Roster(Message):
    """All hellos in roster order; the hash of these bytes is the roster hash."""

    kind: ClassVar[str] = "roster"
    call: Hash
    hellos: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class RosterAccept(Message):
    """A member has seen and accepts this roster."""

    kind: ClassVar[str] = "roster-accept"
    roster: Hash


@dataclass(frozen=True, kw_only=True)
class Deal(Message):
    """Key shares and seeds for one receiver, under HPKE, attached."""

    kind: ClassVar[str] = "deal"
    roster: Hash
    receiver: int


@dataclass(frozen=True, kw_only=True)
class Confirm(Message):
    """A member holds all deals of this epoch id; equal tags: the same group key."""

    kind: ClassVar[str] = "confirm"
    epoch: Hash
    tag: Hash


@dataclass(frozen=True, kw_only=True)
class Objection(Message):
    """A member cannot go on with what another one posted in a set-up: its hello, or its deal.

    It shows operators where to look and proves nothing: either of the two may
    be wrong, or lie.
    """

    kind: ClassVar[str] = "objection"
    roster: Hash
    about: int
    what: str


@dataclass(frozen=True, kw_only=True)
class JobRequest(Message):
    """A member asks the federation to train a detector.

    Parameters
    ----------
    request : bytes
        16 random bytes that make it unique.
    model, dataset : str
        Names; each node maps the data set to its own.
    detector : str
        Registered name.
    version : int
        Version of the detector's algorithm.
    params : str
        Canonical JSON of the declared parameters.
    schema : bytes
        Digest of the feature schema.
    """

    kind: ClassVar[str] = "job-request"
    request: bytes
    model: str
    dataset: str
    detector: str
    version: int
    params: str
    schema: Hash


@dataclass(frozen=True, kw_only=True)
class JobStart(Message):
    """The coordinator numbers a requested job within an epoch."""

    kind: ClassVar[str] = "job-start"
    epoch: Hash
    job: int
    request: Hash


@dataclass(frozen=True, kw_only=True)
class NextStep(Message):
    """What comes next: size and keyed tag of a step; no fields: trained."""

    kind: ClassVar[str] = "next-step"
    step_tag: Hash
    preset: int
    field_bits: int
    fields: int

    @property
    def trained(self) -> bool:
        """Whether there is nothing left to sum."""
        return self.fields == 0


TRAINED = NextStep(step_tag=bytes(HASH_BYTES), preset=0, field_bits=0, fields=0)


@dataclass(frozen=True, kw_only=True)
class Ready(Message):
    """A member can take part in a job from this state; `relations` says which of its sets of rows make up which."""

    kind: ClassVar[str] = "ready"
    epoch: Hash
    job: int
    generation: int
    relations: bytes
    state_tag: Hash
    next_step: bytes


@dataclass(frozen=True, kw_only=True)
class Decline(Message):
    """A member takes no part in a job; the reason is an error code and its public text."""

    kind: ClassVar[str] = "decline"
    epoch: Hash
    job: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Announce(Message):
    """The coordinator announces a round."""

    kind: ClassVar[str] = "announce"
    ask: bytes


@dataclass(frozen=True, kw_only=True)
class Join(Message):
    """A member joins a round with a nonce bound to its frozen statistics."""

    kind: ClassVar[str] = "join"
    ask: Hash
    generation: int
    nonce: Hash
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class ManifestPost(Message):
    """The manifest of a round, as the very bytes that are hashed."""

    kind: ClassVar[str] = "manifest"
    manifest: bytes


@dataclass(frozen=True, kw_only=True)
class ContributionPost(Message):
    """One member's encrypted statistic, attached."""

    kind: ClassVar[str] = "contribution"
    manifest: Hash


@dataclass(frozen=True, kw_only=True)
class Close(Message):
    """The coordinator names the contributors and the digests of what they sent."""

    kind: ClassVar[str] = "close"
    manifest: Hash
    contributors: tuple[int, ...]
    contributions: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Statement(Message):
    """A decryptor's one answer: OPEN this set, its share attached, or VOID."""

    kind: ClassVar[str] = "statement"
    manifest: Hash
    opens: bool
    contributors: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Abandon(Message):
    """The coordinator gives a manifest up and asks its decryptors for VOID."""

    kind: ClassVar[str] = "abandon"
    manifest: Hash
    reason: str


@dataclass(frozen=True, kw_only=True)
class Opened(Message):
    """The masked sum over the contributors, attached."""

    kind: ClassVar[str] = "opened"
    manifest: Hash
    contributors: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Vote(Message):
    """What a member thinks of an opened sum, and what it would sum next."""

    kind: ClassVar[str] = "vote"
    manifest: Hash
    contributors: Hash
    masked: Hash
    accept: bool
    state_tag: Hash
    next_step: bytes


@dataclass(frozen=True, kw_only=True)
class Outcome(Message):
    """How a round ended: accepted, rejected or void."""

    kind: ClassVar[str] = "outcome"
    ask: Hash
    outcome: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class JobEnd(Message):
    """How a job ended: accepted, rejected or void."""

    kind: ClassVar[str] = "job-end"
    epoch: Hash
    job: int
    outcome: str
    reason: str


def _write_ints(values: tuple[int, ...]) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def _read_ints(data: bytes) -> tuple[int, ...]:
    if len(data) % 2:
        raise ValueError("a set is cut short")
    return tuple(int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))


def _read_hashes(data: bytes) -> tuple[bytes, ...]:
    if len(data) % HASH_BYTES:
        raise ValueError("a list of hashes is cut short")
    return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))


def _exactly(length: int) -> Callable[[bytes], bytes]:
    def read(data: bytes) -> bytes:
        if len(data) != length:
            raise ValueError("wrong length")
        return data

    return read


def _read_int(data: bytes) -> int:
    return int.from_bytes(_exactly(8)(data), "little")


def _read_bool(data: bytes) -> bool:
    if data not in (b"\0", b"\1"):
        raise ValueError("not a truth value")
    return data == b"\1"


_CODECS: dict[Any, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    int: (lambda value: value.to_bytes(8, "little"), _read_int),
    bool: (lambda value: bytes([value]), _read_bool),
    bytes: (bytes, bytes),
    str: (lambda value: value.encode(), lambda data: data.decode()),
    Hash: (bytes, _exactly(HASH_BYTES)),
    tuple[int, ...]: (_write_ints, _read_ints),
    tuple[bytes, ...]: (b"".join, _read_hashes),
}


@cache
def _codec(kind: type[Message]) -> tuple[tuple[str, Callable[[Any], bytes], Callable[[bytes], Any]], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, *_CODECS[hints[field.name]]) for field in fields(kind))


KINDS: dict[str, type[Message]] = {kind.kind: kind for kind in Message.__subclasses__() if kind is not NextStep}
"""Every message that an envelope may carry, by kind."""
