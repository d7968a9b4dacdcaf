"""Local data sets: added once, split, encrypted, found again by name.

Adding one takes a single pass over the file in bounded memory. What counts is
the registry: a folder that it does not name is left over from a crash and goes.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedanomaly.errors import DataError, KeystoreError, NotFoundError
from fedanomaly.features import Order, Schema
from fedanomaly.node.at_rest import EncryptedFiles, EncryptedWriter
from fedanomaly.node.containment import relations_among
from fedanomaly.node.durable import make_folder
from fedanomaly.node.encoding import conformed
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.labels import TrainingLabels, Truth
from fedanomaly.node.models import check_model_name
from fedanomaly.node.registry import Beyond, Contents, Registry, Snapshot
from fedanomaly.node.row_digest import Beginning, OrderDigest, RowDigest, held_out, row_hashes
from fedanomaly.node.sampled import Sample
from fedanomaly.node.sources import FileSource
from fedanomaly.node.views import DatasetView
from fedanomaly.protocol import Relation
from fedanomaly.storage import disk, sync_folder
from fedanomaly.types import Integers, item
from fedanomaly.types.canonical import begin, item_int

KEPT_SNAPSHOTS = 3
"""Snapshots of one name that stay, the newest included: a job may be training on an older one."""

TRAIN, TRAIN_LABELS = "train.parquet", "train-labels.parquet"
HOLDOUT, LABELS = "holdout.parquet", "holdout-labels.parquet"

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Added:
    """What `Datasets.add` did.

    Parameters
    ----------
    snapshot : Snapshot
        The newest snapshot now.
    is_new : bool
        False if the very same thing was there already.
    """

    snapshot: Snapshot
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a file becomes a data set.

    Parameters
    ----------
    schema : Schema
        Feature schema; the columns that it names are kept.
    holdout : FileSource or None
        Rows to hold out instead of a fraction.
    holdout_fraction : float
        Share of the rows that is held out, in [0, 0.5]: the last ones where features
        look back in time, else rows that are chosen by their hashes.
    label : str or None
        Column whose values are kept apart: for evaluation, and for detectors
        that learn from labels.
    """

    schema: Schema
    holdout: FileSource | None = None
    holdout_fraction: float = 0.1
    label: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.holdout_fraction <= 0.5:
            raise DataError("the share of rows that is held out must lie in [0, 0.5]")
        if self.label in self.schema.columns:
            raise DataError(f"the label {self.label} is a feature of the schema", hint="a label is never a feature")


class Datasets:
    """The data sets of a node.

    Parameters
    ----------
    folder : Path
        Where they lie.
    keystore : Keystore
        Gives the keys.
    """

    def __init__(self, folder: Path, keystore: Keystore) -> None:
        make_folder(folder)
        self._folder = folder
        self._files = EncryptedFiles(keystore)
        self._registry = Registry(folder, keystore)
        self._related: tuple[object, tuple[Relation, ...]] | None = None

    def add(self, name: str, source: FileSource, plan: Plan, *, progress: Progress | None = None) -> Added:
        """Add a data set, or a new snapshot of one; safe while the node runs.

        Parameters
        ----------
        name : str
            Its name.
        source : FileSource
            The rows.
        plan : Plan
            Schema, split, label.
        progress : callable, optional
            Called with the number of rows of every batch that was written.

        Raises
        ------
        SchemaError
            If the rows do not fit the schema.
        DataError
            If there is nothing left to train on.
        """
        check_model_name(name)
        with self._registry.changing() as contents:
            self._remove_left_overs(contents)
            folder = self._folder / f"{name}-{secrets.token_hex(8)}"
            make_folder(folder)
            try:
                with disk(f"the data set {name}"):
                    snapshot = self._write(
                        name, source, plan, folder=folder, contents=contents, progress=progress or (lambda _rows: None)
                    )
            except BaseException:
                shutil.rmtree(folder)
                raise
            newest = contents.newest(name)
            if newest is not None and _same(newest, snapshot):
                shutil.rmtree(folder)
                return Added(snapshot=newest, is_new=False)
            contents.snapshots.append(snapshot)
            mine = [entry for entry in contents.snapshots if entry.name == name]
            for old in mine[:-KEPT_SNAPSHOTS]:
                contents.snapshots.remove(old)
        return Added(snapshot=snapshot, is_new=True)

    def list(self) -> list[DatasetView]:
        """Return the newest snapshot of every data set, by name."""
        newest = {entry.name: entry for entry in self._registry.read().snapshots}
        return [view_of(newest[name]) for name in sorted(newest)]

    def sample(self, snapshot: Snapshot, rows: int) -> Sample:
        """Return a sample of so many training rows of a snapshot; it has a generation of its own."""
        name = begin("sample of rows") + item_int("generation", snapshot.generation) + item_int("rows", rows)
        with self._registry.changing() as contents:
            number = contents.generation_of(hashlib.sha256(name).digest())
        return Sample(rows=rows, of=snapshot.generation, generation=number)

    def relations(self, generations: Collection[int], upto: int = 0) -> tuple[Relation, ...]:
        """Return how sets of rows, by their generations, and all up to a number, are made up of each other."""
        asked = frozenset(generations), upto, self._registry.stamp()
        if self._related is None or self._related[0] != asked:
            digests = self._registry.read().digests()
            known = {*generations, *(number for number in digests.values() if 0 < number <= upto)}
            self._related = asked, relations_among(known, digests)
        return self._related[1]

    def newest(self, name: str) -> Snapshot:
        """Return the newest snapshot of a data set.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        return self._registry.newest(name)

    def of_folder(self, folder: str) -> Snapshot:
        """Return the snapshot that lies in a folder.

        Raises
        ------
        NotFoundError
            If it was replaced too often since.
        """
        for snapshot in self._registry.read().snapshots:
            if snapshot.folder == folder:
                return snapshot
        raise NotFoundError("the snapshot that this job began with is gone")

    def train(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        """Yield the rows to train on, in the order of the file they came from."""
        return self._files.batches(self._checked(snapshot, TRAIN))

    def train_labels(self, snapshot: Snapshot) -> Integers:
        """Return 1 for every anomaly among the rows to train on, else 0, in their order.

        Raises
        ------
        DataError
            If they have no labels that a detector can learn from.
        """
        if snapshot.labels is None:
            raise DataError(
                f"the training rows of the data set {snapshot.name} have no labels to learn from",
                hint="add it with --label COLUMN: 0 is normal, anything else an anomaly, none is missing",
            )
        return self._table(snapshot, TRAIN_LABELS).column(0).to_numpy().astype(np.int64)

    def holdout(self, snapshot: Snapshot) -> pa.Table:
        """Return the held-out rows."""
        return self._table(snapshot, HOLDOUT)

    def labels(self, snapshot: Snapshot) -> pa.Array:
        """Return the labels of the held-out rows, in their order.

        Raises
        ------
        DataError
            If the data set was added without a label column.
        """
        if snapshot.label is None:
            raise DataError(f"the data set {snapshot.name} has no labels", hint="add it with --label COLUMN")
        return self._table(snapshot, LABELS).column(0).combine_chunks()

    def _table(self, snapshot: Snapshot, file: str) -> pa.Table:
        return self._files.table(self._checked(snapshot, file))

    def _checked(self, snapshot: Snapshot, file: str) -> Path:
        path = self._folder / snapshot.folder / file
        # Parquet's own encryption does not bind a file to its name.
        if not path.is_file() or FileSource(path).digest() != snapshot.files.get(file):
            raise KeystoreError(f"{file} of the data set {snapshot.name} was changed or removed")
        return path

    def _write(
        self,
        name: str,
        source: FileSource,
        plan: Plan,
        *,
        folder: Path,
        contents: Contents,
        progress: Progress,
    ) -> Snapshot:
        trained, spelt_out, bare, kept = RowDigest(), RowDigest(), RowDigest(), RowDigest()
        order, holdout_order = OrderDigest(), OrderDigest()
        labels = TrainingLabels()
        if plan.label is not None:
            contents.labels[name] = plan.label
        # Labels come later, and change: neither the split nor what makes rows the same rows follows them.
        left_out = contents.labels.get(name)
        if left_out in plan.schema.columns:
            left_out = None
        begun = {entry.generation: Beginning(entry.rows) for entry in contents.snapshots if entry.name == name}
        with ExitStack() as stack:
            writers = _Writers(self._files, folder, plan, stack)
            split = _Split(plan, source)
            for batch in source.batches():
                hashes = row_hashes(batch, left_out)
                out = split(hashes)
                inside, outside = batch.filter(pa.array(~out)), batch.filter(pa.array(out))
                holdout_order.add([value for value, held in zip(hashes, out, strict=True) if held])
                hashes = [value for value, held in zip(hashes, out, strict=True) if not held]
                order.add(hashes)
                trained.add(hashes)
                spelt = row_hashes(inside) if left_out in batch.schema.names else hashes
                spelt_out.add(spelt)
                for beginning in begun.values():
                    beginning.add(hashes, spelt)
                bare.add(row_hashes(outside, left_out))
                kept.add(row_hashes(outside))
                writers.train(inside, labels.add(hashes, _label(inside, plan)))
                writers.holdout(outside)
                progress(batch.num_rows)
            for batch in plan.holdout.batches() if plan.holdout else ():
                later = row_hashes(batch, left_out)
                holdout_order.add(later)
                bare.add(later)
                kept.add(row_hashes(batch))
                writers.holdout(batch)
                progress(batch.num_rows)
            rows, holdout_rows = writers.rows(TRAIN), writers.rows(HOLDOUT)
        if labels.digest is None:
            (folder / TRAIN_LABELS).unlink(missing_ok=True)
        if rows == 0:
            raise DataError(f"{source.path.name} leaves no rows to train on")
        sync_folder(folder)
        held = [bare.digest, kept.digest]
        for now, later in zip((trained.digest, spelt_out.digest), held, strict=True):
            contents.add_whole(now, later)
        if plan.schema.looks_back:  # scores of held-out rows then depend on the rows before them
            held = [_together(trained.digest, digest) for digest in held]
        return Snapshot(
            name=name,
            generation=contents.generation_of(trained.digest, spelt_out.digest),
            folder=folder.name,
            schema=plan.schema.to_json(),
            schema_digest=plan.schema.digest,
            rows=rows,
            holdout_rows=holdout_rows,
            label=plan.label,
            content=_content(plan, trained.digest, kept.digest, labels.digest),
            files={path.name: FileSource(path).digest() for path in folder.iterdir()},
            added_at=time.time(),
            holdout_generation=contents.generation_of(*held),
            holdout_digest=kept.digest,
            labels=labels.digest,
            order=order.digest if plan.schema.looks_back else None,
            holdout_order=_together(order.digest, holdout_order.digest) if plan.schema.looks_back else None,
            beyond={
                generation: Beyond(rows=beginning.rows, generation=contents.generation_of(*beginning.rest))
                for generation, beginning in begun.items()
                if beginning.rows < rows and contents.knows(generation, *beginning.first)
            },
        )

    def _remove_left_overs(self, contents: Contents) -> None:
        named = {entry.folder for entry in contents.snapshots}
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in named:
                shutil.rmtree(path)


class _Split:
    """Which rows are held out: the last ones where features look back in time, else chosen by their hashes."""

    def __init__(self, plan: Plan, source: FileSource) -> None:
        self._fraction = 0.0 if plan.holdout else plan.holdout_fraction
        self._first: int | None = None
        self._at = 0
        if plan.schema.looks_back:
            rows = sum(batch.num_rows for batch in source.batches())
            self._first = rows - round(self._fraction * rows)

    def __call__(self, hashes: list[bytes]) -> npt.NDArray[np.bool_]:
        """Return which of the next rows are held out."""
        places = np.arange(self._at, self._at + len(hashes))
        self._at += len(hashes)
        return held_out(hashes, self._fraction) if self._first is None else places >= self._first


class _Writers:
    """The files of one snapshot; every batch is held against the schema first."""

    def __init__(self, files: EncryptedFiles, folder: Path, plan: Plan, stack: ExitStack) -> None:
        self._files = files
        self._folder = folder
        self._plan = plan
        self._stack = stack
        self._order = Order(plan.schema.windows)
        self._open: dict[str, EncryptedWriter] = {}

    def train(self, batch: pa.RecordBatch, truth: Truth | None) -> None:
        self._write(TRAIN, conformed(self._plan.schema, batch, self._order))
        if truth is not None:
            self._write(TRAIN_LABELS, pa.record_batch({"label": pa.array(truth.astype(np.int8))}))

    def holdout(self, batch: pa.RecordBatch) -> None:
        self._write(HOLDOUT, conformed(self._plan.schema, batch, self._order))
        label = self._plan.label
        if label is not None:
            if label not in batch.schema.names:
                raise DataError(f"there is no column {label} to take labels from")
            self._write(LABELS, batch.select([label]))

    def rows(self, file: str) -> int:
        return self._open[file].rows if file in self._open else 0

    def _write(self, file: str, batch: pa.RecordBatch) -> None:
        if file not in self._open:
            self._open[file] = self._stack.enter_context(self._files.writer(self._folder / file, batch.schema))
        self._open[file].write(batch)


def view_of(snapshot: Snapshot) -> DatasetView:
    """Return what may be told about a snapshot."""
    return DatasetView(
        name=snapshot.name,
        generation=snapshot.generation,
        rows=snapshot.rows,
        holdout_rows=snapshot.holdout_rows,
        columns=list(Schema.from_json(snapshot.schema).columns),
        label=snapshot.label,
        schema_digest=snapshot.schema_digest.hex(),
        added_at=snapshot.added_at,
    )


def _same(newest: Snapshot, added: Snapshot) -> bool:
    return _identity(newest) == _identity(added)


def _identity(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.content, snapshot.holdout_generation, snapshot.order, snapshot.holdout_order


def _label(batch: pa.RecordBatch, plan: Plan) -> pa.Array | None:
    return batch.column(plan.label) if plan.label in batch.schema.names else None


def _together(*digests: bytes) -> bytes:
    return hashlib.sha256(begin("rows after rows") + b"".join(item("rows", digest) for digest in digests)).digest()


def _content(plan: Plan, trained: bytes, kept: bytes, labels: bytes | None) -> bytes:
    head = begin("data set") + item("schema", plan.schema.digest) + item("label", (plan.label or "").encode())
    rows = item("train", trained) + item("holdout", kept) + item("labels", labels or b"")
    return hashlib.sha256(head + rows).digest()
