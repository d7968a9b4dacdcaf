"""Evaluations at a node: its own copy of a model over its own held-out rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa

from fedanomaly.detectors.drift import Drift
from fedanomaly.detectors.evaluation import EVALUATION, VERSION, Counts, Evaluating, digest_of, drift_from, holds
from fedanomaly.errors import DataError, FedAnomalyError, RefusedError, ReplayError
from fedanomaly.node.datasets import Datasets
from fedanomaly.node.encoded import encoded_holdout
from fedanomaly.node.learner import Learners, OnLocal, as_our_errors, canonical_params
from fedanomaly.node.models import Model, ModelStore
from fedanomaly.node.registry import Snapshot
from fedanomaly.node.scoring import Scorer
from fedanomaly.protocol import JobRequest, Relation, Rows
from fedanomaly.types import Floats, State, Statistics, Step, Total, item, item_int

_LABELS_ROW = "node/evaluated"


class Evaluators:
    """Makes the learner of every evaluation that this node takes part in.

    Parameters
    ----------
    datasets : Datasets
        Local data.
    models : ModelStore
        Local models.
    learners : Learners
        Knows which snapshot a job began with.
    rows : Rows
        Remembers by which labels rows were evaluated.
    on_local : callable
        Told of every statistic that was computed.
    """

    def __init__(
        self, datasets: Datasets, models: ModelStore, learners: Learners, rows: Rows, on_local: OnLocal
    ) -> None:
        self._datasets = datasets
        self._models = models
        self._learners = learners
        self._rows = rows
        self._on_local = on_local

    def request(self, *, model: str, version: int | None, request: bytes) -> JobRequest:
        """Return the request to evaluate a model of this node; it names the state by its digest.

        Parameters
        ----------
        model : str
            Its name.
        version : int or None
            Its version here; the newest if None.
        request : bytes
            16 random bytes.

        Raises
        ------
        FedAnomalyError
            If there is no such model, or this node could not take part.
        """
        found = self._models.load(model, version)
        snapshot = self._datasets.newest(found.lineage.dataset)
        _check_holdout(snapshot)
        return JobRequest(
            request=request,
            model=model,
            dataset=found.lineage.dataset,
            detector=EVALUATION,
            version=VERSION,
            params=_params(found),
            schema=bytes.fromhex(found.lineage.schema_digest),
        )

    def __call__(self, request: JobRequest) -> NodeEvaluator:
        """Return the learner of an evaluation.

        Raises
        ------
        RefusedError
            If this node does not hold the model, or its data set has another schema.
        """
        try:
            model = self.model_of(request)
            snapshot = self._learners.snapshot_of(request)
            _check_holdout(snapshot)
        except RefusedError:
            raise
        except FedAnomalyError as error:
            raise RefusedError(Exception.__str__(error), hint=error.hint) from None
        if not request.schema == snapshot.schema_digest == bytes.fromhex(model.lineage.schema_digest):
            raise RefusedError(
                f"the data set {request.dataset} has another schema here than the model was trained with",
                hint="all members add their data with the same schema file",
            )
        self._claim(snapshot)
        return NodeEvaluator(
            request.model, model, snapshot, self._datasets, lambda step, s: self._on_local(request, step, s)
        )

    def _claim(self, snapshot: Snapshot) -> None:
        """Tie held-out rows to their labels and, where features look back in time, to their order.

        The guard against differencing is keyed by rows. Two sums over the same
        rows and other labels would subtract to the rows whose labels differ.
        """
        labels = item("label", (snapshot.label or "").encode()) + item("rows", snapshot.holdout_digest)
        if snapshot.holdout_order is not None:
            labels += item("order", snapshot.holdout_order)
        try:
            self._rows.put([(_LABELS_ROW, item_int("gen", snapshot.holdout_generation), labels)])
        except ReplayError:
            raise RefusedError(
                f"the held-out rows of {snapshot.name} were evaluated with other labels, or in another order, before",
                hint="what changes tells whose it is; add it together with new rows",
            ) from None

    def model_of(self, request: JobRequest) -> Model:
        """Return the local model that a request names by the digest of its state.

        Raises
        ------
        RefusedError
            If this node has none, or the request is of a form that is not known here.
        """
        if request.version != VERSION:
            raise RefusedError("the evaluation is of a version that is not known here", hint="upgrade the older side")
        for model in self._models.all(request.model):
            if _params(model) == request.params:
                return model
        raise RefusedError(
            f"this node does not hold the state of the model {request.model} that is to be evaluated",
            hint="only who took part in its training can evaluate it",
        )

    def drift(self, evaluation: Model) -> list[Drift] | None:
        """Return how far the rows that this node brought to an evaluation are from those of all others.

        Parameters
        ----------
        evaluation : Model
            Kept: its state holds the opened histograms.

        Returns
        -------
        list of Drift or None
            None where those rows, or the model, are no longer here.
        """
        told = evaluation.lineage
        request = JobRequest(
            request=bytes.fromhex(told.request),
            model=told.name,
            dataset=told.dataset,
            detector=told.detector,
            version=told.detector_version,
            params=canonical_params(told.params),
            schema=bytes.fromhex(told.schema_digest),
        )
        try:
            return self(request).drift(evaluation.state)
        except RefusedError:
            return None


class NodeEvaluator:
    """One evaluation over one snapshot; the histograms live as long as this object.

    Parameters
    ----------
    name : str
        Of the model.
    model : Model
        This node's copy.
    snapshot : Snapshot
        Which rows; the held-out ones count.
    datasets : Datasets
        Where they lie.
    on_local : callable
        Told the name and the seconds of the statistic when it is computed.
    """

    def __init__(
        self, name: str, model: Model, snapshot: Snapshot, datasets: Datasets, on_local: Callable[[str, float], None]
    ) -> None:
        self._scorer = Scorer.of(model.lineage.schema, model.state)
        self._evaluating = Evaluating(name, self._scorer.detector)
        self._snapshot = snapshot
        self._datasets = datasets
        self._on_local = on_local

    @property
    def generation(self) -> int:
        """Number of the held-out rows: what is summed, and so what the guard against differencing counts."""
        return self._snapshot.holdout_generation

    @property
    def schema(self) -> bytes:
        """Digest of the feature schema."""
        return self._snapshot.schema_digest

    @cached_property
    def counts(self) -> Counts:
        """Own histograms; they leave it in an encrypted sum only."""
        with as_our_errors():
            rows = encoded_holdout(self._datasets, self._snapshot, self._scorer.schema)
            return self._evaluating.local(rows, self._labels())

    def drift(self, state: State) -> list[Drift]:
        """Return how far this node's held-out rows are from those of all others."""
        return drift_from(state, self.counts, self._scorer.schema.feature_names)

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:
        """Return how these rows and rows that were summed before are made up of each other."""
        return self._datasets.relations({*summed, self.generation}, copied)

    def start(self) -> State:
        """Return the state before the first step; the same at every member that holds the model."""
        return self._evaluating.start()

    def next_step(self, state: State) -> Step | None:
        """Return what to sum, or None once it is opened."""
        return self._evaluating.next_step(state)

    def local(self, step: Step, state: State) -> Statistics:  # noqa: ARG002 - one step only
        """Return this node's histograms."""
        began = time.monotonic()
        counts = self.counts
        self._on_local(step.name, time.monotonic() - began)
        return counts

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the state that holds the opened histograms."""
        return self._evaluating.merge(step, total, state)

    def scores_are_finite(self, state: State) -> bool:
        """Whether the opened sum holds this node's own rows."""
        return holds(state, self.counts)

    def _labels(self) -> Floats | None:
        return None if self._snapshot.label is None else labels_of(self._datasets.labels(self._snapshot))


def labels_of(column: pa.Array | pa.ChunkedArray) -> Floats:
    """Return labels as numbers: 0 is normal, NaN missing, anything else an anomaly.

    Raises
    ------
    DataError
        If they are no numbers.
    """
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"labels of type {kind} are no numbers", hint="use 0 for normal and 1 for anomalous rows")
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _params(model: Model) -> str:
    from_state = {"model": model.lineage.name, "state": digest_of(model.state)}
    return canonical_params(from_state)


def _check_holdout(snapshot: Snapshot) -> None:
    if not snapshot.holdout_generation:
        raise RefusedError(
            f"the data set {snapshot.name} was added before there were evaluations",
            hint=f"add it again: fedanomaly data add {snapshot.name} FILE",
        )
