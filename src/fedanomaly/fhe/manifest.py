"""The manifest: names one sum completely; its hash keys everything in it.

Sets are read from the very bytes that are hashed, and those bytes are kept: a
manifest is never serialised again before it is hashed. The engine parses the
same bytes on its own and accepts the same ones (`engine/testdata`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from fedanomaly.errors import FedAnomalyError, MessageError
from fedanomaly.fhe.preset import MAX_FIELD_BITS, Layout, Preset, layout
from fedanomaly.types.canonical import HASH_BYTES, VERSION, Reader, begin, item, item_int

KINDS = ("sum", "test")
MAX_MEMBERS = 250
MAX_FIELDS = 1 << 32
MAX_CERTIFICATE_BYTES = 64 * 1024
SIGNATURE_BYTES = 64
ZERO_HASH = bytes(HASH_BYTES)


def least_contributors(threshold: int) -> int:
    """Return the smallest set whose sum may be opened: max(3, t + 1)."""
    return max(3, threshold + 1)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a member is asked to join; its nonce binds all of it.

    Parameters
    ----------
    kind : {"sum", "test"}
        A test sums constant zeros, never frozen data.
    preset : Preset
        Ring.
    members, threshold, field_bits, fields : int
        As in `Layout`.
    epoch, roster, policy : bytes
        Hashes that name the key epoch.
    job, round, step : int
        Where in which job.
    schema : bytes
        Digest of the feature schema.
    step_tag, state_tag : bytes
        Keyed tags of the full step description and of the current state: they
        bind both without telling the coordinator either.
    """

    kind: str
    preset: Preset
    members: int
    threshold: int
    field_bits: int
    fields: int
    epoch: bytes
    roster: bytes
    policy: bytes
    job: int
    round: int
    step: int
    schema: bytes
    step_tag: bytes
    state_tag: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical items, without version and label."""
        return (
            item("kind", self.kind.encode("ascii"))
            + item_int("preset", int(self.preset))
            + item_int("members", self.members)
            + item_int("threshold", self.threshold)
            + item_int("field_bits", self.field_bits)
            + item_int("fields", self.fields)
            + item("epoch", self.epoch)
            + item("roster", self.roster)
            + item("policy", self.policy)
            + item_int("job", self.job)
            + item_int("round", self.round)
            + item_int("step", self.step)
            + item("schema", self.schema)
            + item("step_tag", self.step_tag)
            + item("state_tag", self.state_tag)
        )

    @cached_property
    def digest(self) -> bytes:
        """Hash that names this ask."""
        return hashlib.sha256(begin("ask") + self.to_bytes()).digest()

    @cached_property
    def layout(self) -> Layout:
        """How the entries lie in ciphertexts."""
        return layout(
            self.preset,
            members=self.members,
            threshold=self.threshold,
            field_bits=self.field_bits,
            fields=self.fields,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Ask:
        """Read what `to_bytes` wrote."""
        reader = Reader(data)
        ask = cls.read(reader)
        reader.end()
        return ask

    @classmethod
    def read(cls, reader: Reader) -> Ask:
        """Read the items of an ask and check them."""
        kind, preset = reader.text("kind"), reader.int("preset")
        if kind not in KINDS or preset not in list(Preset):
            raise MessageError("unknown kind or preset")
        ask = cls(
            kind=kind,
            preset=Preset(preset),
            members=reader.int("members"),
            threshold=reader.int("threshold"),
            field_bits=reader.int("field_bits"),
            fields=reader.int("fields"),
            epoch=reader.hash("epoch"),
            roster=reader.hash("roster"),
            policy=reader.hash("policy"),
            job=reader.int("job"),
            round=reader.int("round"),
            step=reader.int("step"),
            schema=reader.hash("schema"),
            step_tag=reader.hash("step_tag"),
            state_tag=reader.hash("state_tag"),
        )
        if not (3 <= ask.members <= MAX_MEMBERS and 2 <= ask.threshold < ask.members):
            raise MessageError("impossible roster or threshold")
        if not (1 <= ask.fields <= MAX_FIELDS and ask.field_bits <= MAX_FIELD_BITS[ask.preset]):
            raise MessageError("impossible step")
        return ask


@dataclass(frozen=True, kw_only=True)
class JoinPost:
    """What a member posts, signed, to join a round."""

    member: int
    generation: int
    nonce: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical items."""
        return (
            item_int("member", self.member)
            + item_int("gen", self.generation)
            + item("nonce", self.nonce)
            + item("signature", self.signature)
        )

    def signed(self, ask: Ask) -> bytes:
        """Return the bytes that the member's identity signs."""
        return join_signed(ask, member=self.member, generation=self.generation, nonce=self.nonce)


def join_signed(ask: Ask, *, member: int, generation: int, nonce: bytes) -> bytes:
    """Return the bytes that a member signs to join."""
    return (
        begin("join post")
        + ask.to_bytes()
        + item_int("member", member)
        + item_int("gen", generation)
        + item("nonce", nonce)
    )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One sum: who joined, who decrypts, what is added.

    Parameters
    ----------
    ask : Ask
        What was asked.
    previous : bytes
        Hash of the masked sum of the step before; zeros for a first step.
    certificate : bytes
        Statements of that step; empty for a first step.
    fixed : tuple of int
        Empty, or exactly the set that may be opened (F).
    joins : tuple of JoinPost
        Who joined (J), strictly increasing roster indices.
    decryptors : tuple of int
        Who decrypts (D).
    raw : bytes
        The very bytes, which are hashed.
    """

    ask: Ask
    previous: bytes
    certificate: bytes
    fixed: tuple[int, ...]
    joins: tuple[JoinPost, ...]
    decryptors: tuple[int, ...]
    raw: bytes

    @classmethod
    def build(
        cls,
        ask: Ask,
        *,
        joins: tuple[JoinPost, ...],
        decryptors: tuple[int, ...],
        fixed: tuple[int, ...] = (),
        previous: bytes = ZERO_HASH,
        certificate: bytes = b"",
    ) -> Manifest:
        """Write a manifest; the coordinator does this once for each round."""
        raw = (
            begin("manifest")
            + ask.to_bytes()
            + item_int("ciphertexts", ask.layout.ciphertexts)
            + item("previous", previous)
            + item("certificate", certificate)
            + item("F", _set_bytes(fixed))
            + item("J", b"".join(join.to_bytes() for join in joins))
            + item("D", _set_bytes(decryptors))
        )
        return cls.from_bytes(raw)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        """Read a manifest and check everything that its bytes alone can tell.

        Signatures of joins need the roster and are checked by the protocol.

        Raises
        ------
        MessageError
            If the bytes are not a canonical manifest.
        """
        reader = Reader(raw)
        if reader.item("version") != VERSION or reader.item("label") != b"manifest":
            raise MessageError("not a manifest of this version")
        ask = Ask.read(reader)
        ciphertexts = reader.int("ciphertexts")
        previous, certificate = reader.hash("previous"), reader.item("certificate")
        fixed = _read_set(reader.item("F"), ask.members)
        joins = _read_joins(reader.item("J"))
        decryptors = _read_set(reader.item("D"), ask.members)
        reader.end()
        manifest = cls(
            ask=ask,
            previous=previous,
            certificate=certificate,
            fixed=fixed,
            joins=joins,
            decryptors=decryptors,
            raw=raw,
        )
        manifest._check(ciphertexts)
        return manifest

    def _check(self, ciphertexts: int) -> None:
        joined, least = self.joined, least_contributors(self.ask.threshold)
        try:
            expected = self.ask.layout.ciphertexts
        except FedAnomalyError:
            raise MessageError("the manifest's step fits no ciphertext") from None
        if ciphertexts != expected:
            raise MessageError("wrong number of ciphertexts")
        if len(self.certificate) > MAX_CERTIFICATE_BYTES or (self.previous == ZERO_HASH) != (not self.certificate):
            raise MessageError("a previous sum and its certificate come together")
        if not _increasing(joined, self.ask.members) or len(joined) < least:
            raise MessageError("too few joins, or not in order")
        if len(self.decryptors) != min(len(joined), self.ask.threshold + 2) or not set(self.decryptors) <= set(joined):
            raise MessageError("the decryptors do not fit who joined")
        if self.fixed and (len(self.fixed) < least or not set(self.fixed) <= set(joined)):
            raise MessageError("the fixed set does not fit who joined")

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.raw).digest()

    @property
    def joined(self) -> tuple[int, ...]:
        """Roster indices of who joined."""
        return tuple(join.member for join in self.joins)

    def join_of(self, member: int) -> JoinPost | None:
        """Return the join of a roster index, or None."""
        return next((join for join in self.joins if join.member == member), None)

    def may_open(self, contributors: tuple[int, ...]) -> bool:
        """Whether exactly this set may be opened (U)."""
        least = 1 if self.ask.kind == "test" else least_contributors(self.ask.threshold)
        return (
            _increasing(contributors, self.ask.members)
            and len(contributors) >= least
            and set(contributors) <= set(self.joined)
            and (not self.fixed or contributors == self.fixed)
        )


def _increasing(indices: tuple[int, ...], members: int) -> bool:
    rising = all(low < high for low, high in pairwise(indices))
    return rising and all(1 <= index <= members for index in indices)


def _set_bytes(indices: tuple[int, ...]) -> bytes:
    return b"".join(index.to_bytes(2, "little") for index in indices)


def _read_set(data: bytes, members: int) -> tuple[int, ...]:
    if len(data) % 2:
        raise MessageError("a set is cut short")
    indices = tuple(int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))
    if not _increasing(indices, members):
        raise MessageError("a set is not strictly increasing within the roster")
    return indices


def _read_joins(data: bytes) -> tuple[JoinPost, ...]:
    reader, joins = Reader(data), []
    while not reader.done:
        joins.append(
            JoinPost(
                member=reader.int("member"),
                generation=reader.int("gen"),
                nonce=reader.hash("nonce"),
                signature=reader.exact("signature", SIGNATURE_BYTES),
            )
        )
    return tuple(joins)
