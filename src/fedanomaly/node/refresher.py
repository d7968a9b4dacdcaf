"""Refreshes at a node: its own copy of a model learns the rows that came since."""

from __future__ import annotations

from collections.abc import Iterator

from fedanomaly.detectors import from_params
from fedanomaly.detectors.refresh import Refresh
from fedanomaly.errors import DataError, FedAnomalyError, RefusedError
from fedanomaly.features import Schema
from fedanomaly.node.datasets import Datasets
from fedanomaly.node.learner import Learners, NewRows, NodeLearner, OnLocal, check_order, detector_of, note_order
from fedanomaly.node.models import Lineage, Model, ModelStore
from fedanomaly.node.registry import Snapshot
from fedanomaly.node.renewal import Renewal, params_with, split
from fedanomaly.protocol import JobRequest, Rows


class Refreshers:
    """Makes the learner of every refresh that this node takes part in.

    Parameters
    ----------
    datasets : Datasets
        Local data.
    models : ModelStore
        Local models.
    learners : Learners
        Knows which snapshot a job began with.
    rows : Rows
        Remembers in which order rows were summed.
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

    def request(self, *, model: str, keep: float, request: bytes) -> JobRequest:
        """Return the request to refresh the newest version of a model of this node.

        Parameters
        ----------
        model : str
            Its name.
        keep : float
            Share of the old rows that still count.
        request : bytes
            16 random bytes.

        Raises
        ------
        FedAnomalyError
            If there is no such model, it can only be trained anew, or this node
            has no rows that are new to it.
        """
        found = self._models.load(model)
        told = found.lineage
        snapshot = self._datasets.newest(told.dataset)
        if bytes.fromhex(told.schema_digest) != snapshot.schema_digest:
            raise _other_schema(told.dataset)
        self._learners.check_named(told.detector)
        Refresh(from_params(told.detector, told.params), found.state, keep)
        if self._new(found, snapshot).generation == 0:
            raise DataError(
                f"the data set {told.dataset} has no rows that the model {model} does not know",
                hint=f"add them: fedanomaly data add {told.dataset} FILE",
            )
        return JobRequest(
            request=request,
            model=model,
            dataset=told.dataset,
            detector=told.detector,
            version=told.detector_version,
            params=params_with(told.params, Renewal(of=told.request, keep=keep)),
            schema=snapshot.schema_digest,
        )

    def __call__(self, request: JobRequest) -> NodeLearner:
        """Return the learner of a refresh.

        Raises
        ------
        RefusedError
            If this node does not hold the model, it cannot be refreshed, or the
            data set has another schema.
        """
        try:
            self._learners.check_named(request.detector)
            plain, renewal = split(request)
            model = self._model_of(request.model, renewal.of)
            snapshot = self._learners.snapshot_of(request)
            if not request.schema == snapshot.schema_digest == bytes.fromhex(model.lineage.schema_digest):
                raise _other_schema(request.dataset)
            learning = Refresh(detector_of(plain), model.state, renewal.keep)
            new = self._new(model, snapshot)
            check_order(self._rows, snapshot.name, new.generation, snapshot.order)
        except RefusedError:
            raise
        except FedAnomalyError as error:
            raise RefusedError(Exception.__str__(error), hint=error.hint) from None
        return NodeLearner(
            learning,
            Schema.from_json(snapshot.schema),
            snapshot,
            self._datasets,
            lambda step, seconds: self._on_local(request, step, seconds),
            begun=lambda: note_order(self._rows, new.generation, snapshot.order),
            new=new,
        )

    def parent(self, request: JobRequest) -> Lineage:
        """Return where the version came from that a refresh began with.

        Raises
        ------
        RefusedError
            If this node does not hold it.
        """
        return self._model_of(request.model, split(request)[1].of).lineage

    def _model_of(self, name: str, request: str) -> Model:
        for model in self._models.all(name):
            if model.lineage.request == request:
                return model
        raise RefusedError(
            f"this node does not hold the version of the model {name} that is to be refreshed",
            hint="only who took part in its training can refresh it; train the model anew",
        )

    def _new(self, model: Model, snapshot: Snapshot) -> NewRows:
        """Return the rows of a snapshot that a model does not know.

        These are those behind the rows that it learnt last; or all, if the
        snapshot does not begin with rows that it knows.
        """
        if model.lineage.generation is None:
            raise RefusedError(
                f"it is not known from which rows the model {model.lineage.name} was trained",
                hint="it is from before there were refreshes; train it anew",
            )
        known = list(self._learnt(model))
        if snapshot.generation in known:
            return NewRows(skip=snapshot.rows, generation=0)
        for generation in known:
            beyond = snapshot.beyond.get(generation or 0)
            if beyond is not None:
                return NewRows(skip=beyond.rows, generation=beyond.generation)
        return NewRows(skip=0, generation=snapshot.generation)

    def _learnt(self, model: Model) -> Iterator[int | None]:
        """Yield the generations that a model and those before it were trained up to, the last one first."""
        kept = {each.lineage.request: each.lineage for each in self._models.all(model.lineage.name)}
        told: Lineage | None = model.lineage
        while told is not None:
            yield told.generation
            told = kept.get(told.parent.request) if told.parent else None


def _other_schema(dataset: str) -> RefusedError:
    return RefusedError(
        f"the data set {dataset} has another schema here than the model was trained with",
        hint="all members add their data with the same schema file, and train anew after it changes",
    )
