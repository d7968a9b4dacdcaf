"""What the coordinator's HTTP interface says, and its limits.

Heads are MessagePack, strict: an unknown or missing field is an error. Protocol
messages travel inside as the very bytes that were signed.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from fedanomaly.errors import MessageError

API_VERSION = 1
MSGPACK = "application/msgpack"
JSON = "application/json"
OCTETS = "application/octet-stream"

PART_BYTES = 8 * 1024 * 1024
"""Size of all parts of an upload but the last; no request has a larger body."""
MAX_ENVELOPE_BYTES = 2 * 1024 * 1024
"""A protocol body may have 1 MiB; the rest is room for its head."""
MAX_FEED_BYTES = 4 * 1024 * 1024
"""Bytes of envelopes in one answer of the feed; a single larger one comes alone."""
MAX_HEAD_BYTES = 64 * 1024
"""Size of any other head."""
MAX_WAIT_S = 30.0
"""Longest that the feed keeps a caller waiting."""

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FORMATS = {MSGPACK: msgspec.msgpack, JSON: msgspec.json}
T = TypeVar("T")


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all heads."""


class FederationInfo(Head, frozen=True):
    """Who answers here.

    Parameters
    ----------
    version : int
        Version of the HTTP interface.
    federation, coordinator : bytes
        Identifier of the federation and the coordinator's public key, 32 bytes each.
    name : str
        Name of the federation.
    members, threshold, enrolled : int
        How many take part, the decryption threshold, how many have enrolled.
    max_blob_bytes : int
        Largest attachment that is taken.
    """

    version: int
    federation: bytes
    coordinator: bytes
    name: str
    members: int
    threshold: int
    enrolled: int
    max_blob_bytes: int


class Enrolment(Head, frozen=True):
    """The secret of an invitation, and the envelope that it admits."""

    secret: bytes
    envelope: bytes


class Posted(Head, frozen=True):
    """Where in the log an envelope lies."""

    seq: int


class FeedEntry(Head, frozen=True):
    """One row of the log: position, unix seconds, canonical bytes."""

    seq: int
    received_at: float
    data: bytes


class Feed(Head, frozen=True):
    """A run of the log, the position of its last entry at that moment, and its hash up to where the run begins."""

    head: int
    entries: tuple[FeedEntry, ...]
    chain: bytes = b""


class Parts(Head, frozen=True):
    """State of an upload: whether it is whole, else the digests of the parts that are there."""

    whole: bool
    parts: dict[int, bytes] = {}


class Job(Head, frozen=True):
    """A job as members may follow it."""

    number: int
    epoch: int
    model: str
    detector: str
    requested_by: str
    state: str
    reason: str
    rounds: tuple[Round, ...]


class Round(Head, frozen=True):
    """A round as members may follow it; members by name."""

    state: str
    kind: str
    step: int
    fields: int
    joined: tuple[str, ...]
    contributed: tuple[str, ...]
    contributors: tuple[str, ...]
    stated: tuple[str, ...]
    voted: tuple[str, ...]
    reason: str


class Status(Head, frozen=True):
    """The federation at a glance; the one head that is JSON, for people and dashboards."""

    name: str
    head: int
    members: tuple[str, ...]
    expected: int
    threshold: int
    epoch: int
    epoch_state: str
    jobs: tuple[Job, ...]
    objections: tuple[str, ...] = ()


def encode(head: Head, media_type: str = MSGPACK) -> bytes:
    """Return a head as MessagePack or JSON."""
    return _FORMATS[media_type].encode(head)


def decode(kind: type[T], data: bytes, media_type: str = MSGPACK) -> T:
    """Read a head.

    Raises
    ------
    MessageError
        If the bytes are not exactly such a head.
    """
    try:
        return _FORMATS[media_type].decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # text that is not UTF-8 is an error of its own
        raise MessageError(f"not a {kind.__name__} head") from None


def parse_digest(text: str) -> bytes:
    """Return the 32 bytes that `text` names.

    Names come from peers and end up as file names: what is not exactly 64
    lower-case hexadecimal digits is no name, so no path can be made of it.

    Raises
    ------
    MessageError
        Unless `text` is 64 lower-case hexadecimal digits.
    """
    if not _HEX.fullmatch(text):
        raise MessageError("a digest or key is 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)
