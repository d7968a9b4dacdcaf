"""What a machine keeps, and how it fails: it stops before or after a write, or its disk is full."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fedanomaly.errors import NotFoundError, UnavailableError
from fedanomaly.fhe import InMemory
from fedanomaly.protocol import Stored
from fedanomaly.protocol.capabilities import Row, Secrets
from fedanomaly.storage import MemoryRows

Dice = Callable[[str], str]
"""Says how a write goes: "done", "full", "stops before" or "stops after"."""


class StoppedError(Exception):
    """The machine stopped; nothing catches this but the world."""


class Disk:
    """Whatever outlives a stop. A write that has returned is there; one under way is there or not, and never half.

    Parameters
    ----------
    dice : callable
        How each write goes.
    """

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def write(self, what: str, apply: Callable[[], None]) -> None:
        fate = self._dice(what)
        if fate == "full":
            raise UnavailableError("the disk is full")
        if fate == "stops before":
            raise StoppedError
        apply()
        if fate == "stops after":
            raise StoppedError


@dataclass
class Home:
    """A member's folder."""

    rows: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    vault: dict[bytes, bytes] = field(default_factory=dict)
    mark: tuple[int, bytes] = (0, b"")
    generation: int = 1

    def copy(self) -> Home:
        return Home(dict(self.rows), dict(self.vault), self.mark, self.generation)


class DiskRows:
    """A ledger on a disk."""

    def __init__(self, home: Home, disk: Disk, seen: Callable[[Row], None]) -> None:
        self._memory = MemoryRows()
        self._memory._rows = home.rows
        self._disk, self._seen = disk, seen

    def get(self, kind: str, key: bytes) -> bytes | None:
        return self._memory.get(kind, key)

    def all(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        return self._memory.all(kind)

    def put(self, rows: Sequence[Row]) -> None:
        fresh = [row for row in rows if self._memory.get(row[0], row[1]) is None]
        trial = MemoryRows()
        trial._rows = {key: value for key, value in self._memory._rows.items() if key in {row[:2] for row in rows}}
        trial.put(rows)  # raises ReplayError before anything is written
        self._disk.write("put " + " ".join(kind for kind, _, _ in rows), lambda: self._put(rows, fresh))

    def _put(self, rows: Sequence[Row], fresh: Sequence[Row]) -> None:
        self._memory._rows.update({(kind, key): value for kind, key, value in rows})
        for row in fresh:
            self._seen(row)

    def erase(self, kind: str, key: bytes) -> None:
        self._disk.write(f"erase {kind}", lambda: self._memory.erase(kind, key))


class DiskVault:
    """Epoch secrets on a disk.

    Parameters
    ----------
    home, disk : Home, Disk
        Where.
    generate : callable
        Draws fresh secrets: members, threshold, index.
    unseal : callable
        Reads sealed ones: label, bytes, members, threshold, index.
    """

    KEY = bytes(32)

    def __init__(
        self, home: Home, disk: Disk, generate: Callable[..., Secrets], unseal: Callable[..., Secrets]
    ) -> None:
        self._home, self._disk, self._generate, self._unseal = home, disk, generate, unseal

    def generate(self, label: bytes, *, members: int, threshold: int, index: int) -> Secrets:
        secrets = self._generate(members=members, threshold=threshold, index=index)
        self.save(label, secrets)
        return secrets

    def load(self, label: bytes, *, members: int, threshold: int, index: int) -> Secrets | None:
        sealed = self._home.vault.get(label)
        if sealed is None:
            return None
        return self._unseal(label, sealed, members=members, threshold=threshold, index=index)

    def save(self, label: bytes, secrets: Secrets) -> None:
        sealed = secrets.seal(self.KEY, label)
        self._disk.write("save secrets", lambda: self._home.vault.__setitem__(label, sealed))

    def destroy(self, label: bytes) -> None:
        if label in self._home.vault:
            self._disk.write("destroy secrets", lambda: self._home.vault.__delitem__(label))


@dataclass
class Archive:
    """The coordinator's folder: the log and its attachments."""

    log: list[tuple[bytes, float]] = field(default_factory=list)
    blobs: dict[bytes, bytes] = field(default_factory=dict)

    def copy(self) -> Archive:
        return Archive(list(self.log), dict(self.blobs))


class DiskBlobs:
    """Attachments on a disk."""

    def __init__(self, archive: Archive, disk: Disk) -> None:
        self._archive, self._disk = archive, disk

    def open(self, digest: bytes) -> InMemory:
        if digest not in self._archive.blobs:
            raise NotFoundError("no such blob")
        return InMemory(self._archive.blobs[digest])

    def store(self, pieces: Iterable[bytes]) -> Stored:
        data = b"".join(pieces)
        stored = Stored(hashlib.sha256(data).digest(), len(data))
        self._disk.write("store blob", lambda: self._archive.blobs.__setitem__(stored.digest, data))
        return stored
