"""Between a job request and this node's data: the detector of one job over one snapshot."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedanomaly.detectors import Detector, from_params
from fedanomaly.detectors.progress import Progress, progress_of
from fedanomaly.detectors.refresh import Refresh
from fedanomaly.detectors.registry import declared
from fedanomaly.errors import DataError, FedAnomalyError, NotFoundError, RefusedError
from fedanomaly.features import Schema
from fedanomaly.node.datasets import Datasets
from fedanomaly.node.encoded import encoded_holdout, encoded_training
from fedanomaly.node.models import check_model_name
from fedanomaly.node.registry import Snapshot
from fedanomaly.node.sampled import Sample, check_size, params_with, split
from fedanomaly.protocol import JobRequest, Relation, Rows
from fedanomaly.types import Floats, Integers, State, Statistics, Step, Total

OnLocal = Callable[[JobRequest, str, float], None]
"""Called with a request, the name of a step, and the seconds that it took."""

KEPT_BYTES = 1 << 26
"""Encoded rows that take no more stay in memory, since every round reads them; others are encoded again each time."""

_SNAPSHOT_ROW = "node/snapshot"
_LABELS_ROW = "node/labels"
_ORDER_ROW = "node/order"


class Learners:
    """Makes the learner of every job that this node takes part in.

    Parameters
    ----------
    datasets : Datasets
        Local data.
    rows : Rows
        Remembers which snapshot a job began with, over restarts.
    on_local : callable
        Told of every statistic that was computed.
    named : collection of str
        Detectors that the policy names. One of another package is code that
        nobody here has agreed to run, unless it is among them.
    """

    def __init__(self, datasets: Datasets, rows: Rows, on_local: OnLocal, named: Collection[str] = ()) -> None:
        self._datasets = datasets
        self._rows = rows
        self._on_local = on_local
        self._named = frozenset(named)

    def request(
        self,
        *,
        model: str,
        dataset: str,
        detector: str,
        params: Mapping[str, Any],
        request: bytes,
        sample: int | None = None,
    ) -> JobRequest:
        """Return a request that this node itself can take part in.

        Parameters
        ----------
        model, dataset, detector : str
            Names.
        params : mapping
            Parameters of the detector; what is left out has its default.
        request : bytes
            16 random bytes.
        sample : int, optional
            Rows to take of each member's; all if left out.

        Raises
        ------
        FedAnomalyError
            If a name or a parameter is unknown or not allowed.
        """
        check_model_name(model)
        if sample is not None:
            check_size(sample)
        snapshot = self._datasets.newest(dataset)
        self.check_named(detector)
        made = from_params(detector, params)
        self._check_unchanged(snapshot, made)
        return JobRequest(
            request=request,
            model=model,
            dataset=dataset,
            detector=detector,
            version=made.version,
            params=canonical_params(params_with(made.params(), sample)),
            schema=snapshot.schema_digest,
        )

    def __call__(self, request: JobRequest) -> NodeLearner:
        """Return the learner of a request.

        Raises
        ------
        RefusedError
            If the detector, its version or its parameters are not known here, or
            the local data set has another schema or is not there.
        """
        try:
            check_model_name(request.model)
            self.check_named(request.detector)
            snapshot = self.snapshot_of(request)
            plain, size = split(request)
            detector = detector_of(plain)
            self._check_unchanged(snapshot, detector)
        except RefusedError:
            raise
        except FedAnomalyError as error:
            raise RefusedError(Exception.__str__(error), hint=error.hint) from None
        if snapshot.schema_digest != request.schema:
            raise RefusedError(
                f"the data set {request.dataset} has another schema here",
                hint="all members add their data with the same schema file",
            )
        # Who has less than twice as many adds all of its rows.
        sample = self._datasets.sample(snapshot, size) if size is not None and snapshot.rows >= 2 * size else None
        return NodeLearner(
            detector,
            Schema.from_json(snapshot.schema),
            snapshot,
            self._datasets,
            lambda step, seconds: self._on_local(request, step, seconds),
            labels=(lambda: self._labels(snapshot)) if detector.learns_from_labels else None,
            begun=lambda: self._begin(snapshot, sample),
            sample=sample,
        )

    def _begin(self, snapshot: Snapshot, sample: Sample | None) -> None:
        note_order(self._rows, snapshot.generation, snapshot.order)
        if sample is not None:
            sample.note(self._rows, snapshot.schema_digest)

    def check_named(self, detector: str) -> None:
        """Refuse the detector of another package that the policy does not name; none of its code has run yet.

        Raises
        ------
        RefusedError
            If it is one.
        """
        if detector in declared() and detector not in self._named:
            raise RefusedError(
                f"the detector {detector} is of another package, and the policy of this node does not name it",
                hint=f'add "{detector}" to detectors in policy.toml, beside all others that may be trained',
            )

    def snapshot_of(self, request: JobRequest) -> Snapshot:
        """Return the snapshot that a job begins with, and ends with, over restarts.

        Raises
        ------
        RefusedError
            If the number of the request belongs to a job on another data set.
        NotFoundError
            If there is no such data set, or the snapshot is gone.
        """
        kept = self._rows.get(_SNAPSHOT_ROW, request.request)
        if kept is not None:
            snapshot = self._datasets.of_folder(kept.decode("ascii"))
            if snapshot.name != request.dataset:  # the policy was asked about the name in the request
                raise RefusedError("a job with the same number was begun on another data set")
            return snapshot
        snapshot = self._datasets.newest(request.dataset)
        # A job ends on the rows that it began with, whatever is added meanwhile.
        self._rows.put([(_SNAPSHOT_ROW, request.request, snapshot.folder.encode("ascii"))])
        return snapshot

    def _check_unchanged(self, snapshot: Snapshot, detector: Detector) -> None:
        check_order(self._rows, snapshot.name, snapshot.generation, snapshot.order)
        if detector.learns_from_labels:
            self._check_labels(snapshot)

    def _check_labels(self, snapshot: Snapshot) -> None:
        """Refuse labels that are not there, or that have changed while their rows have not.

        The guard against differencing is keyed by rows. Two sums over the same
        rows and other labels would subtract to the rows whose labels changed.
        """
        if snapshot.labels is None:
            raise RefusedError(
                f"the training rows of the data set {snapshot.name} have no labels to learn from here",
                hint="add it with --label COLUMN: 0 is normal, anything else an anomaly, none is missing",
            )
        if self._rows.get(_LABELS_ROW, _key(snapshot)) not in {None, snapshot.labels}:
            raise RefusedError(
                f"the rows of the data set {snapshot.name} were learnt from with other labels before",
                hint="labels that change tell whose; add them together with new rows",
            )

    def _labels(self, snapshot: Snapshot) -> Integers:
        if snapshot.labels is not None:
            self._rows.put([(_LABELS_ROW, _key(snapshot), snapshot.labels)])
        return self._datasets.train_labels(snapshot)


def _key(snapshot: Snapshot) -> bytes:
    return snapshot.generation.to_bytes(8, "little")


def check_order(rows: Rows, name: str, generation: int, order: bytes | None) -> None:
    """Refuse rows in another order than before, where features look back in time.

    The guard against differencing is keyed by rows in any order. Two sums over
    the same rows would subtract to what the order changes.
    """
    if order is not None and rows.get(_ORDER_ROW, generation.to_bytes(8, "little")) not in {None, order}:
        raise RefusedError(
            f"the rows of the data set {name} were summed in another order before",
            hint="add them in the order of the first time, or together with new rows",
        )


def note_order(rows: Rows, generation: int, order: bytes | None) -> None:
    """Remember the order of rows that are about to be summed."""
    if order is not None:
        rows.put([(_ORDER_ROW, generation.to_bytes(8, "little"), order)])


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """Which rows of a snapshot a job sums, where it does not sum all.

    Parameters
    ----------
    skip : int
        Rows that come before them.
    generation : int
        Number of the rows that are summed; 0: there are none.
    """

    skip: int
    generation: int


class NodeLearner:
    """What a job trains, over one snapshot; encoded rows, if they are few, live as long as this object.

    Parameters
    ----------
    learning : Detector or Refresh
        Untrained, or a trained one anew.
    schema : Schema
        Encodes the rows.
    snapshot : Snapshot
        Which rows.
    datasets : Datasets
        Where they lie.
    on_local : callable
        Told the name and the seconds of every statistic that was computed.
    labels : callable or None
        Gives the labels of the training rows; None for a detector that learns from none.
    begun : callable, optional
        Called before rows are summed.
    new : NewRows, optional
        Which rows are summed; all if left out.
    sample : Sample, optional
        Which of these; all if left out.
    """

    def __init__(
        self,
        learning: Detector | Refresh,
        schema: Schema,
        snapshot: Snapshot,
        datasets: Datasets,
        on_local: Callable[[str, float], None],
        *,
        labels: Callable[[], Integers] | None = None,
        begun: Callable[[], None] = lambda: None,
        new: NewRows | None = None,
        sample: Sample | None = None,
    ) -> None:
        self._learning = learning
        self._schema = schema
        self._snapshot = snapshot
        self._datasets = datasets
        self._on_local = on_local
        self._labels = labels
        self._begun = begun
        self._new = new or NewRows(skip=0, generation=snapshot.generation)
        self._sample = sample
        self._places: Integers | None = None
        self._kept: tuple[Floats, Integers | None] | None = None

    @property
    def generation(self) -> int:
        """Number of the rows that are summed; 0: there are none, so it contributes nothing."""
        return self._sample.generation if self._sample else self._new.generation

    @property
    def schema(self) -> bytes:
        """Digest of the feature schema."""
        return self._snapshot.schema_digest

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:
        """Return how these rows and rows that were summed before are made up of each other."""
        return self._datasets.relations({*summed, self.generation}, copied)

    def start(self) -> State:
        """Return the state before the first step; the same at every member."""
        with as_our_errors():
            return self._learning.initial_state(self._schema.n_features)

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once trained."""
        with as_our_errors():
            return self._learning.next_step(state)

    def local(self, step: Step, state: State) -> Statistics:
        """Return this node's plaintext statistic: the sum of those of its batches of rows."""
        began = time.monotonic()
        self._begun()
        with as_our_errors():
            total = self._learning.local_batches(step, self._training(), state)
        self._on_local(step.name, time.monotonic() - began)
        return total

    def _training(self) -> Iterator[tuple[Floats, Integers | None]]:
        """Yield encoded training rows and their labels, in the order of the file."""
        rows = self._sample.rows if self._sample else self._snapshot.rows - self._new.skip
        if self._kept is None and rows * self._schema.n_features * 8 <= KEPT_BYTES:
            batches = list(self._chosen())
            labels = None if self._labels is None else np.concatenate([part for _, part in batches if part is not None])
            self._kept = np.concatenate([rows for rows, _ in batches]), labels
        yield from self._chosen() if self._kept is None else (self._kept,)

    def _chosen(self) -> Iterator[tuple[Floats, Integers | None]]:
        if self._sample is None:
            yield from self._encoded()
            return
        if self._places is None:
            self._places = self._sample.taken(self._encoded)
        taken, first = self._places, 0
        for rows, labels in self._encoded():
            inside = taken[(taken >= first) & (taken < first + len(rows))] - first
            first += len(rows)
            yield rows[inside], None if labels is None else labels[inside]

    def _encoded(self) -> Iterator[tuple[Floats, Integers | None]]:
        labels = None if self._labels is None else self._labels()
        at = 0
        for rows in encoded_training(self._datasets, self._snapshot, self._schema, skip=self._new.skip):
            part = None if labels is None else labels[at : at + len(rows)]
            at += len(rows)
            yield rows, part

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the next state."""
        with as_our_errors():
            return self._learning.merge(step, total, state)

    def progress(self, step: Step, total: Total, state: State) -> Progress | None:
        """Return how far an iterative detector has come, or None where the sum does not tell."""
        try:
            with as_our_errors():
                told = progress_of(self._learning, step, total, state)
        except FedAnomalyError:
            return None
        return told if told and math.isfinite(told.value) else None

    def scores_are_finite(self, state: State) -> bool:
        """Whether the trained detector gives finite scores on the held-out rows."""
        with as_our_errors():
            rows = encoded_holdout(self._datasets, self._snapshot, self._schema)
            return bool(np.isfinite(self._learning.with_state(state).anomaly_scores(rows)).all())


def detector_of(request: JobRequest) -> Detector:
    """Return the untrained detector of a request.

    Raises
    ------
    NotFoundError
        If there is no such detector.
    RefusedError
        If its version or the form of its parameters is another here.
    """
    try:
        params = json.loads(request.params)
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise RefusedError("the parameters of the job are no JSON object")
    detector = from_params(request.detector, params)
    if detector.version != request.version:
        raise RefusedError(
            f"{request.detector} has version {detector.version} here, the job asks for {request.version}",
            hint="upgrade the older side",
        )
    # Every member must start from the same state, so nothing may be left to a default.
    if canonical_params(detector.params()) != request.params:
        raise RefusedError("the parameters of the job are not in their canonical form")
    return detector


def canonical_params(params: Mapping[str, Any]) -> str:
    """Return parameters as canonical JSON: sorted, no space, finite numbers.

    Raises
    ------
    DataError
        If a parameter is no JSON value.
    """
    try:
        return json.dumps(dict(params), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        raise DataError("a parameter of the detector is no JSON value") from None


@contextmanager
def as_our_errors() -> Iterator[None]:
    """Turn what numerical code raises into an error of ours; its text may quote values."""
    try:
        yield
    except NotFoundError as error:
        raise RefusedError(Exception.__str__(error)) from None
    except (ValueError, TypeError, ArithmeticError, IndexError, KeyError, MemoryError) as error:
        raise DataError(f"the detector failed on the local rows ({type(error).__name__})") from None
