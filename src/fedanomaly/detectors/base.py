"""The contract of a detector: learn from sums, score like scikit-learn."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from fedanomaly.detectors.cells import number
from fedanomaly.detectors.learning import labels_of, learnt
from fedanomaly.detectors.scaling import Counting, Scaling
from fedanomaly.detectors.scoring import Scoring, check_no_infinity
from fedanomaly.detectors.stages import CarryingStage, EncryptableScorer, LabelledStage, Scorer, Stage
from fedanomaly.detectors.threshold import Threshold
from fedanomaly.errors import CapacityError, ConfigError, DataError, RefusedError, ShapeError, VersionError
from fedanomaly.types import Circuit, Floats, Integers, Quantiser, State, Statistics, Step, Total


class Detector(Scoring, metaclass=ABCMeta):
    """Base of every detector.

    A detector is trained by a loop: ask `next_step` what to sum, compute it
    with `local` where the rows are, add it over the members, `merge` the total
    into the state. `fit` is that loop with one member, so a federation of parts
    gives exactly what `fit` gives on all their rows together.

    A subclass sets `name` and `version`, and implements `stages` and
    `derive`. Its file in this package is all that registers it. One that learns
    from labels sets `learns_from_labels` and has a `LabelledStage`; one that does
    not read numbers (events, letters) overrides `preparation`.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    learns_from_labels: ClassVar[bool] = False
    reads: ClassVar[Literal["numbers", "codes"]] = "numbers"
    """Whether readings are measured against each other, or only the same or different."""
    free: ClassVar[frozenset[str]] = frozenset({"contamination"})
    """Parameters that say how to read opened sums, not what to sum: `resettled` changes them."""
    why_no_circuit: ClassVar[str] = "its author has given no circuit"
    """Why the score is not computed on ciphertexts; empty where it is."""
    circuit_with: ClassVar[str] = ""
    """A setting, NAME=VALUE, with which it is, where by default it is not."""
    most_features: ClassVar[int] = 10_000
    """More columns are refused: the sums, or the arithmetic on them, would be too large."""
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
    }

    def __init__(self, *, contamination: float = 0.01) -> None:
        self.contamination = contamination

    # What a subclass brings.

    @abstractmethod
    def stages(self) -> tuple[Stage | LabelledStage, ...]:
        """Return the stages between preparation and threshold."""

    @abstractmethod
    def derive(self, state: State) -> Scorer:
        """Return what scores rows; needs every stage but the threshold."""

    def preparation(self) -> tuple[Stage, ...]:
        """Return the first stages: rows are counted, columns scaled."""
        return (Counting(), Scaling())

    def most_rounds(self) -> int:
        """Return how many rounds a job with these parameters may take, whatever the rows are."""
        return 12

    def circuit(self) -> Circuit | None:
        """Return what a service computes of the score on ciphertexts; None: nothing, `why_no_circuit` says why."""
        check_is_fitted(self, "state_")
        return self._scorer.circuit() if isinstance(self._scorer, EncryptableScorer) else None

    def encryptable(self) -> EncryptableScorer:
        """Return what turns readings into a circuit's inputs and its outputs into scores.

        Raises
        ------
        ConfigError
            If the score is not computed on ciphertexts.
        """
        check_is_fitted(self, "state_")
        if not isinstance(self._scorer, EncryptableScorer):
            if self.circuit_with:
                raise ConfigError(
                    f"{self.name} scores on ciphertexts only with {self.circuit_with}; else {self.why_no_circuit}",
                    hint=f"train with --param {self.circuit_with}; in Python, resettled changes a trained one",
                )
            raise ConfigError(
                f"{self.name} does not score on ciphertexts: {self.why_no_circuit}",
                hint="ciphertexts can be added and multiplied; mahalanobis, pca or gaussian_mixture need no more",
            )
        return self._scorer

    def all_stages(self) -> tuple[Stage | LabelledStage, ...]:
        """Return every stage of a job, in order; the threshold is the last."""
        threshold = Threshold(lambda X, state: state.once(type(self), lambda: self.derive(state)).scores(X))
        return (*self.preparation(), *self.stages(), threshold)

    def stage_of(self, step: Step, state: State) -> Stage | LabelledStage:
        """Return the stage of a step.

        Raises
        ------
        RefusedError
            If the step does not follow from the state.
        """
        if step != self.next_step(state):
            raise RefusedError(f"step {step.name} does not follow from the state")
        (stage,) = (stage for stage in self.all_stages() if step.name.split("/")[0] == stage.prefix)
        return stage

    # Learning from sums.

    def params(self) -> dict[str, Any]:
        """Return the declared parameters as plain JSON values."""
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
        }

    def initial_state(self, n_features: int) -> State:
        """Return the state before the first step; the same at every member.

        Parameters
        ----------
        n_features : int
            Columns of the encoded rows.
        """
        self._validate_params()
        if n_features < 1:
            raise ShapeError("a detector needs at least one column")
        if n_features > self.most_features:
            raise CapacityError(
                f"{self.name} takes at most {self.most_features} columns, not {n_features}",
                hint="leave columns out, or choose a detector whose sums do not grow with their square",
            )
        return State(self.name, self.version, self.params(), {"features": np.array([n_features])})

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once trained.

        Raises
        ------
        VersionError
            If the state is that of another detector, version or parameters.
        """
        self._check_state(state)
        for stage in self.all_stages():
            step = stage.next_step(state)
            if step is not None:
                return step
        return None

    def local(self, step: Step, X: Floats, state: State, y: npt.ArrayLike | None = None) -> Statistics:
        """Return one member's plaintext statistic; it never leaves the organisation unencrypted.

        Parameters
        ----------
        step : Step
            What `next_step` returned for `state`.
        X : float64 array of shape (n_samples, n_features)
            The member's rows, none is fine. NaN is a missing reading. Neither
            modified nor kept.
        state : State
            The current state of the job.
        y : array-like of shape (n_samples,), optional
            Labels, for detectors that learn from them: 0 is normal, anything
            else an anomaly.

        Raises
        ------
        DataError
            If a reading is infinite, or labels are wanted and not there.
        ShapeError
            If `X` has other columns than the state.
        RefusedError
            If the step does not follow from the state.
        """
        rows = np.asarray(X, dtype=np.float64)
        wanted = int(state["features"][0])
        if rows.ndim != 2 or rows.shape[1] != wanted:
            raise ShapeError(
                f"rows of shape {rows.shape} do not have the {wanted} columns of the job",
                hint="encode them with the schema of the job",
            )
        check_no_infinity(rows)
        stage = self.stage_of(step, state)
        if isinstance(stage, LabelledStage):
            return stage.local(step, rows, state, labels_of(self.name, y, len(rows)))
        return stage.local(step, rows, state)

    def local_batches(
        self, step: Step, batches: Iterable[tuple[Floats, npt.ArrayLike | None]], state: State
    ) -> Statistics:
        """Return what `local` gives of all rows, of rows that come in batches.

        Parameters
        ----------
        step : Step
            What `next_step` returned for `state`.
        batches : iterable of pairs
            Rows, as for `local`, and their labels or None.
        state : State
            The current state of the job.
        """
        total: dict[str, Any] = {field.name: np.zeros(field.shape, dtype=np.int64) for field in step.fields}
        count = 0
        for rows, labels in batches:
            # Whatever a row adds is a whole number of units, so the order of additions does not matter.
            for name, part in self.local(step, rows, state, labels).items():
                total[name] = total[name] + part
            count += 1
        stage = self.stage_of(step, state)
        return stage.carried(total, state, count) if isinstance(stage, CarryingStage) else total

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the next state; pure, and the same at every member.

        Parameters
        ----------
        step : Step
            What `next_step` returned for `state`.
        total : Total
            The opened sum.
        state : State
            The current state of the job.
        """
        return self.stage_of(step, state).merge(step, total, state)

    def with_state(self, state: State, feature_names: Sequence[str] | None = None) -> Self:
        """Return a fitted copy of this detector that scores with `state`.

        Parameters
        ----------
        state : State
            Of a training that has ended.
        feature_names : sequence of str, optional
            Names of the columns; data frames are held against them.

        Raises
        ------
        VersionError
            If the state is that of another detector, version or parameters.
        DataError
            If its training has not ended.
        """
        if self.next_step(state) is not None:
            raise DataError("this state is not trained yet", hint="run its remaining steps first")
        fitted: Self = type(self)(**self.get_params(deep=False))
        fitted._learnt(state)
        fitted._knows_names = False
        if feature_names is not None:
            if len(feature_names) != fitted.n_features_in_:
                raise ShapeError(f"{len(feature_names)} names for {fitted.n_features_in_} columns")
            fitted.feature_names_in_ = np.array(feature_names, dtype=object)
        return fitted

    # The contract of scikit-learn.

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Train on one table: the federated loop with one member and no encryption.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN is a missing reading. Not kept.
        y : array-like of shape (n_samples,), optional
            Labels, for detectors that learn from them: 0 is normal, anything
            else an anomaly. Ignored by all others.
        """
        rows = self._validated(X, reset=True, ensure_min_samples=1)
        labels = labels_of(self.name, y, len(rows)) if self.learns_from_labels else None
        return self._learnt(learnt(self, rows, labels))

    def refresh(self, X: npt.ArrayLike, *, keep: float = 0.5) -> Self:
        """Return a fitted copy that knows new rows as well, while the old ones fade.

        Scales and whatever else says where to count stay as they are; sums over
        rows become those of the new rows plus `keep` times the old ones; the
        threshold is that of the new rows. After n refreshes, rows count
        ``keep ** n``; for a half-life of h days, `keep` is ``0.5 ** (age / h)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows only; NaN is a missing reading. Not kept.
        keep : float in [0, 1], default=0.5
            Share of the old rows that still count.

        Raises
        ------
        ConfigError
            If this detector can only be trained anew, or `keep` is no share.

        Examples
        --------
        >>> import numpy as np
        >>> from fedanomaly.detectors import HBOS
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> detector = HBOS().fit(X).refresh(X + 2.0, keep=0.25)
        >>> detector.state_["rows"].tolist()
        [625]
        """
        from fedanomaly.detectors.refresh import Refresh  # noqa: PLC0415 - which needs this module

        rows = self.checked(X)
        return self.with_state(learnt(Refresh(self, self.state_, keep), rows), getattr(self, "feature_names_in_", None))

    def resettled(self, X: npt.ArrayLike, **params: Any) -> Self:  # noqa: ANN401 - as for the constructor
        """Return a fitted copy with other parameters, from the same opened sums: nothing is summed anew.

        Many settings can be tried on one training. What scores is that of a
        training with these parameters, to the last bit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that the threshold is taken from, such as one's own; a training
            would take that of all members' rows. Not kept.
        **params
            New values of some of the parameters that `free` names.

        Raises
        ------
        ConfigError
            If a parameter is not one of them, or its value is not allowed.

        Examples
        --------
        >>> import numpy as np
        >>> from fedanomaly.detectors import Mahalanobis
        >>> X = np.random.default_rng(0).normal(size=(500, 4))
        >>> detector = Mahalanobis().fit(X).resettled(X, ridge=0.5, contamination=0.1)
        >>> int((detector.predict(X) == -1).sum())
        50
        """
        from fedanomaly.detectors.resettling import resettled  # noqa: PLC0415 - which needs this module

        rows = self.checked(X)
        return cast("Self", resettled(self, rows, params))

    def fit_batches(self, batches: Callable[[], Iterable[Any]]) -> Self:
        """Train on more rows than fit into memory: `fit`, bit for bit, one batch at a time.

        Parameters
        ----------
        batches : callable
            Returns the rows from the start at every call, as an iterator over
            array-likes of shape (n_samples, n_features), or over pairs of them
            and their labels for detectors that learn from labels. It is called
            once for every step. Batches may have any sizes; of some ten
            thousand rows they cost no time.

        Raises
        ------
        DataError
            If there is no batch, or other rows come in a later step.

        Examples
        --------
        >>> import io
        >>> import pyarrow as pa
        >>> import pyarrow.parquet as pq
        >>> from fedanomaly.detectors import Mahalanobis
        >>> file = io.BytesIO()
        >>> pq.write_table(pa.table({"amount": [9.5, 7.0, None, 8.0], "items": [1, 1, 2, 1]}), file)
        >>> detector = Mahalanobis(contamination=0.25)
        >>> detector.fit_batches(lambda: pq.ParquetFile(file).iter_batches(batch_size=2)).n_features_in_
        2
        """
        first = next(iter(batches()), None)
        if first is None:
            raise DataError("there is no batch to train on")
        rows, _ = self._batch(first, reset=True)
        state, counts = self.initial_state(rows.shape[1]), list[int]()
        while (step := self.next_step(state)) is not None:
            counts.append(0)

            def counted() -> Iterator[tuple[Floats, Integers | None]]:
                for batch in batches():
                    rows, labels = self._batch(batch, reset=False)
                    counts[-1] += len(rows)
                    yield rows, labels

            statistics = self.local_batches(step, counted(), state)
            if counts[-1] != counts[0]:
                raise DataError("the batches do not hold the same rows in every step", hint="return a fresh iterator")
            quantiser = Quantiser(step=step, members=1)
            state = self.merge(step, quantiser.total(quantiser.quantise(statistics), 1), state)
        return self._learnt(state)

    # Inside.

    def _batch(self, batch: Any, *, reset: bool) -> tuple[Floats, Integers | None]:  # noqa: ANN401 - as for fit
        table, y = batch if self.learns_from_labels else (batch, None)
        rows = self._validated(table, reset=reset, ensure_min_samples=0)
        return rows, labels_of(self.name, y, len(rows)) if self.learns_from_labels else None

    def _check_state(self, state: State) -> None:
        if (state.detector, state.version) != (self.name, self.version):
            raise VersionError(f"a state of {state.detector} {state.version} is not for {self.name} {self.version}")
        # A parameter that is younger than the state has its default there.
        if {**type(self)().params(), **state.params} != self.params():
            raise VersionError(f"the state was learnt with other parameters of {self.name}")

    def _learnt(self, state: State) -> Self:
        self.state_ = state
        self.n_features_in_ = int(state["features"][0])
        self._scorer = self.derive(state)
        self.offset_ = -number(int(state["score/threshold"][0]))
        return self
