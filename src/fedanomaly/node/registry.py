"""Which data sets a node has: a sealed list, replaced as a whole, under one lock.

Every set of rows has a generation: a number from a counter that only rises. The
protocol's guard against differencing is keyed by it, so equal rows always get
the same one, under whatever name or schema, and other rows never do.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fedanomaly.errors import KeystoreError, NotFoundError
from fedanomaly.node.keystore import Keystore, Sealer
from fedanomaly.node.row_digest import added
from fedanomaly.storage import write_durably

VERSION = 1
_NAME = "registry"


class Beyond(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes after the rows of an earlier snapshot, in one whose training rows begin with those.

    Parameters
    ----------
    rows : int
        Training rows of the earlier snapshot.
    generation : int
        Number of the training rows behind them.
    """

    rows: int
    generation: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a data set, as it was when it was added.

    Parameters
    ----------
    name : str
        Name of the data set.
    generation : int
        Number of its training rows; positive, never reused for other rows.
    folder : str
        Name of the folder with its files.
    schema : str
        Feature schema, as JSON.
    schema_digest : bytes
        Digest of the feature schema, 32 bytes.
    rows, holdout_rows : int
        Rows to train on and rows held out.
    label : str or None
        Column whose values lie apart; no feature.
    content : bytes
        Digest of everything that was asked for; equal: nothing to do.
    files : dict of str to bytes
        SHA-256 of every file of the folder.
    added_at : float
        Unix seconds.
    holdout_generation : int
        Number of its held-out rows, whatever their labels, from the same counter:
        evaluations sum over them. 0 where the data set was added before there were any.
    holdout_digest : bytes
        Digest of its held-out rows with their labels.
    labels : bytes or None
        Digest of the anomalies among the training rows, 32 bytes; None where
        these have no labels that a detector can learn from.
    order, holdout_order : bytes or None
        Digest of the training rows in their order, and of these and the held-out
        ones after them; None where no feature depends on rows before.
    beyond : dict of int to Beyond
        What is new since earlier snapshots of this name, by their generation;
        only of those with whose training rows these begin.
    """

    name: str
    generation: int
    folder: str
    schema: str
    schema_digest: bytes
    rows: int
    holdout_rows: int
    label: str | None
    content: bytes
    files: dict[str, bytes]
    added_at: float
    holdout_generation: int = 0
    holdout_digest: bytes = b""
    labels: bytes | None = None
    order: bytes | None = None
    holdout_order: bytes | None = None
    beyond: dict[int, Beyond] = {}


class Contents(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the registry holds.

    Parameters
    ----------
    version : int
        Version of this form.
    counter : int
        The last generation that was given out.
    generations : dict of str to int
        Generation of every set of rows that was ever added, by its digest (hex).
    snapshots : list of Snapshot
        Oldest first.
    labels : dict of str to str
        Column of labels that was last named for a data set, by its name.
    wholes : list of str
        Digests (hex) of the rows of files that were split: what is trained on and
        what is held out are parts of these, however the next file is split.
    """

    version: int = VERSION
    counter: int = 0
    generations: dict[str, int] = {}
    snapshots: list[Snapshot] = []
    labels: dict[str, str] = {}
    wholes: list[str] = []

    def digests(self) -> dict[bytes, int]:
        """Return the digests of all sets of rows that are known, with their generations; 0: a file as a whole."""
        wholes = dict.fromkeys(map(bytes.fromhex, self.wholes), 0)
        return wholes | {bytes.fromhex(digest): generation for digest, generation in self.generations.items()}

    def add_whole(self, trained: bytes, held_out: bytes) -> None:
        """Remember the rows of a file: those to train on and those held out, by their digests."""
        whole = added(trained, held_out).hex()
        if whole not in self.generations and whole not in self.wholes:
            self.wholes.append(whole)

    def generation_of(self, *rows: bytes) -> int:
        """Return the generation of a set of rows; new rows get a new one.

        Parameters
        ----------
        *rows : bytes
            Digests of the set: with labels left out first, then as it is where no
            label is named. It is known by any of them from now on.
        """
        known = [self.generations[digest.hex()] for digest in rows if digest.hex() in self.generations]
        if not known:
            self.counter += 1
            known = [self.counter]
        for digest in rows:
            self.generations.setdefault(digest.hex(), known[0])
        return known[0]

    def knows(self, generation: int, *rows: bytes) -> bool:
        """Whether a set of rows, by one of its digests, has a generation."""
        return any(self.generations.get(digest.hex()) == generation for digest in rows)

    def newest(self, name: str) -> Snapshot | None:
        """Return the newest snapshot of a name, or None."""
        return next((entry for entry in reversed(self.snapshots) if entry.name == name), None)


class Registry:
    """The list of data sets on disk.

    Parameters
    ----------
    folder : Path
        The home's folder of data sets.
    keystore : Keystore
        Gives the key of the list.
    """

    def __init__(self, folder: Path, keystore: Keystore) -> None:
        self._folder = folder
        self._path = folder / "registry.sealed"
        self._sealer = Sealer(keystore, "data set registry")

    def read(self) -> Contents:
        """Return what is on disk now.

        Raises
        ------
        KeystoreError
            If it was changed, or is of another keystore.
        """
        try:
            sealed = self._path.read_bytes()
        except FileNotFoundError:
            return Contents()
        try:
            contents = msgspec.msgpack.decode(self._sealer.open(_NAME, sealed), type=Contents)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise KeystoreError("the registry of data sets is of a form that is not known here") from None
        if contents.version != VERSION:
            raise KeystoreError("the registry of data sets is of another version", hint="upgrade this node")
        return contents

    def stamp(self) -> tuple[int, int, int]:
        """Return what changes whenever the list on disk does."""
        try:
            told = self._path.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return told.st_ino, told.st_mtime_ns, told.st_size

    def newest(self, name: str) -> Snapshot:
        """Return the newest snapshot of a data set.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        found = self.read().newest(name)
        if found is None:
            raise NotFoundError(f"this node has no data set {name}", hint=f"run: fedanomaly data add {name} FILE")
        return found

    @contextmanager
    def changing(self) -> Iterator[Contents]:
        """Hold the list and replace it, durably, once the block ends without an error.

        One process changes it at a time; the others wait.
        """
        with self.locked(self._folder):
            contents = self.read()
            yield contents
            write_durably(self._path, self._sealer.seal(_NAME, msgspec.msgpack.encode(contents)))

    @staticmethod
    @contextmanager
    def locked(folder: Path) -> Iterator[None]:
        """Keep the list in `folder` from changing; whoever wants to change it waits."""
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
