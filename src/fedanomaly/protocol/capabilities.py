"""What a party is given from outside: keys, durable rows, the detector, bytes.

The state machines do no I/O and draw no randomness; whatever they need comes
through one of these, so whole federations run in memory and under fault
injection with the very same code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedanomaly.fhe import Ask, Contribution, DecryptionShare, Manifest, MaskedSum, Source
from fedanomaly.protocol.relations import Relation
from fedanomaly.types import State, Statistics, Step, Total

Row = tuple[str, bytes, bytes]
"""Kind, key and value of one ledger row."""


class Signer(Protocol):
    """Signs with an identity; deterministic."""

    @property
    def public_key(self) -> bytes:
        """Ed25519 public key, 32 bytes."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        ...


@dataclass(frozen=True)
class Stored:
    """Bytes that are kept: their SHA-256 and how many there are."""

    digest: bytes
    size: int


class Blobs(Protocol):
    """Attachments that the coordinator keeps: too large for memory, so never whole in it."""

    def open(self, digest: bytes) -> Source:
        """Return an attachment to read from; it MUST fail if it is not kept (NotFoundError)."""
        ...

    def store(self, pieces: Iterable[bytes]) -> Stored:
        """Keep what comes piece by piece; durable when this returns.

        The same bytes again change nothing. Nothing MUST be kept if `pieces` raises.
        """
        ...


class Rows(Protocol):
    """A node's ledger: rows that are written once."""

    def get(self, kind: str, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        ...

    def all(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of every row of a kind, oldest first."""
        ...

    def put(self, rows: Sequence[Row]) -> None:
        """Write rows, all or none; they are durable when this returns.

        The same value again changes nothing. It MUST fail, and write nothing,
        if one of the rows exists with another value (ReplayError).
        """
        ...

    def erase(self, kind: str, key: bytes) -> None:
        """Remove a row for good; a missing one is no error."""
        ...


class Secrets(Protocol):
    """A member's secrets of one key epoch; `fhe.secret.EpochSecrets` is one."""

    def seal(self, key: bytes, context: bytes) -> bytes:
        """Return all secrets sealed under a key of 32 bytes, bound to `context`."""
        ...

    def hello(self) -> bytes:
        """Return the HPKE public key and the commitment to the group key part."""
        ...

    def deal(self, to: int, *, hello: bytes, info: bytes) -> bytes:
        """Return the HPKE envelope for another member; randomised."""
        ...

    def receive(self, sender: int, *, hello: bytes, info: bytes, envelope: bytes) -> None:
        """Open and keep another member's deal."""
        ...

    def finish(self, epoch: bytes, roster: bytes) -> bytes:
        """Derive the keys of every purpose; returns the confirmation tag."""
        ...

    def forget(self, job: int) -> None:
        """Erase the group keys of all jobs before `job`."""
        ...

    def nonce(self, ask: Ask, *, generation: int, frozen_hash: bytes, random: bytes) -> bytes:
        """Return the join nonce."""
        ...

    def tag(self, job: int, data: bytes) -> bytes:
        """Return the keyed tag of a state or step."""
        ...

    def contribution(self, manifest: Manifest, values: npt.NDArray[np.uint64]) -> Contribution:
        """Encrypt frozen values."""
        ...

    def share(self, manifest: Manifest, contributors: tuple[int, ...]) -> DecryptionShare:
        """Return the masked decryption share for exactly this set."""
        ...

    def open(self, manifest: Manifest, contributors: tuple[int, ...], masked: MaskedSum) -> npt.NDArray[np.uint64]:
        """Open a masked sum; RejectedError whatever is wrong."""
        ...

    def close(self) -> None:
        """Erase the secrets from memory."""
        ...


class Vault(Protocol):
    """Where a node keeps the secrets of its key epochs."""

    def generate(self, label: bytes, *, members: int, threshold: int, index: int) -> Secrets:
        """Draw fresh secrets; they are durable when this returns."""
        ...

    def load(self, label: bytes, *, members: int, threshold: int, index: int) -> Secrets | None:
        """Return kept secrets, or None."""
        ...

    def save(self, label: bytes, secrets: Secrets) -> None:
        """Replace kept secrets by their present form, durably."""
        ...

    def destroy(self, label: bytes) -> None:
        """Remove kept secrets for good."""
        ...


class Learner(Protocol):
    """The detector of one job over one snapshot of a node's data."""

    @property
    def generation(self) -> int:
        """Counter of the data snapshot, never reused for other rows; 0: no rows, so it opens and votes only."""
        ...

    @property
    def schema(self) -> bytes:
        """Digest of the feature schema, 32 bytes."""
        ...

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:
        """Return all relations among its own rows and sets of rows that were summed before.

        Parameters
        ----------
        summed : collection of int
            Their generations.
        copied : int
            All generations up to this one may have been summed by a copy of this node.
        """
        ...

    def start(self) -> State:
        """Return the state before the first step; the same at every member."""
        ...

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once trained."""
        ...

    def local(self, step: Step, state: State) -> Statistics:
        """Return this node's plaintext statistic."""
        ...

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the next state; pure, the same at every member."""
        ...

    def scores_are_finite(self, state: State) -> bool:
        """Whether the trained detector gives finite scores on held-out rows."""
        ...
