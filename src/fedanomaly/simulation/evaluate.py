"""`fa.evaluate`: how good a trained detector is, over several parts whose labels stay apart."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fedanomaly.detectors import Detector
from fedanomaly.detectors.drift import Drift
from fedanomaly.detectors.evaluation import (
    EVALUATION,
    VERSION,
    Counts,
    Evaluating,
    drift_from,
    drift_since,
    holds,
    quality_from,
)
from fedanomaly.detectors.quality import ALERT_BUDGET, Quality, alerts_of
from fedanomaly.errors import DataError, ShapeError
from fedanomaly.protocol import JobRequest, Relation
from fedanomaly.simulation.simulate import canonical, matrix_schema, run_job
from fedanomaly.simulation.tables import arrays_of
from fedanomaly.types import Floats, State, Statistics, Step, Total


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What an evaluation under encryption has told.

    Parameters
    ----------
    quality : Quality
        Figures over the labelled rows of all parts, each with its bound.
    drift : tuple of list of Drift
        For every part how far its rows are from those of all others; in a
        federation each member sees its own table only.
    rounds : int
        Rounds that were opened and accepted.
    bytes_up : int
        Bytes that the member with the largest upload sent, set-up included.
    state : State
        The opened histograms.
    """

    quality: Quality
    drift: tuple[list[Drift], ...]
    rounds: int
    bytes_up: int
    state: State = field(repr=False)

    def drift_since(self, earlier: Evaluated) -> list[Drift]:
        """Return how far the rows of all parts together moved since an earlier evaluation of the same detector."""
        return drift_since(earlier.state, self.state)


class EvaluationLearner:
    """An evaluation over one array, as the protocol sees it.

    Parameters
    ----------
    evaluating : Evaluating
        The step.
    rows : float64 array of shape (n_samples, n_features)
        The organisation's own rows.
    labels : float64 array of shape (n_samples,) or None
        Their labels; they stay here.
    """

    generation = 1

    def __init__(self, evaluating: Evaluating, rows: Floats, labels: Floats | None) -> None:
        self._evaluating = evaluating
        self._rows = rows
        self._labels = labels
        self.schema = matrix_schema(rows.shape[1])

    @cached_property
    def counts(self) -> Counts:
        """The organisation's own histograms."""
        return self._evaluating.local(self._rows, self._labels)

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:  # noqa: ARG002 - one array
        """Return none."""
        return ()

    def start(self) -> State:
        """Return the state before the first step."""
        return self._evaluating.start()

    def next_step(self, state: State) -> Step | None:
        """Return what to sum, or None once it is opened."""
        return self._evaluating.next_step(state)

    def local(self, step: Step, state: State) -> Statistics:  # noqa: ARG002 - one step only
        """Return the histograms of these rows."""
        return self.counts

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the state that holds the opened histograms."""
        return self._evaluating.merge(step, total, state)

    def scores_are_finite(self, state: State) -> bool:
        """Whether the opened sum holds these rows."""
        return holds(state, self.counts)


def evaluate(
    detector: Detector,
    parts: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike | None],
    *,
    budget: float = ALERT_BUDGET,
    decryption_threshold: int = 2,
) -> Evaluated:
    """Evaluate a trained detector over several organisations' rows under threshold encryption.

    Parameters
    ----------
    detector : Detector
        Fitted; it is not changed.
    parts : sequence of array-likes of shape (n_samples_i, n_features)
        Rows that it was not trained on, one for each organisation, at least three.
    labels : sequence of array-likes of shape (n_samples_i,) or None
        0 is normal, NaN unknown, anything else an anomaly; None: that part has
        no labels, and takes part all the same.
    budget : float, default=0.005
        Share of the rows that somebody can look at.
    decryption_threshold : int, default=2
        Up to this number less one may collude with the coordinator and learn
        nothing beyond the sums.

    Returns
    -------
    Evaluated
        AUROC, average precision, precision and recall at the budget, a
        calibration table, and how far each part is from the others.

    Raises
    ------
    ConfigError
        If there are fewer than three parts, or the threshold does not fit.
    DataError
        If the parts or labels cannot be used.

    Notes
    -----
    The sums of the histograms are opened, 0.3 % of a score to a cell; so members
    learn about where the scores of all anomalies together lie, and not whose.

    Examples
    --------
    >>> import numpy as np
    >>> import fedanomaly as fa
    >>> rng = np.random.default_rng(0)
    >>> rows, fraud = rng.normal(size=(600, 4)), (rng.random(600) < 0.1).astype(int)
    >>> rows[fraud == 1] *= 4
    >>> detector = fa.detectors.Mahalanobis().fit(rows[:300])
    >>> found = fa.evaluate(detector, np.split(rows[300:], 3), np.split(fraud[300:], 3))
    >>> found.quality.rows, found.rounds, found.quality.auroc.value > 0.9
    (300, 1, True)
    """
    check_is_fitted(detector, "state_")
    alerts_of(budget, 1)
    arrays = arrays_of(parts)
    if any(array.shape[1] != detector.n_features_in_ for array in arrays):
        raise ShapeError(f"the detector learnt {detector.n_features_in_} features, and the parts have others")
    if len(labels) != len(arrays):
        raise ShapeError(f"labels of {len(labels)} parts for {len(arrays)} parts")
    evaluating = Evaluating("model", detector)
    learners = [
        EvaluationLearner(evaluating, array, _labels(number, array, y))
        for number, (array, y) in enumerate(zip(arrays, labels, strict=True))
    ]
    request = JobRequest(
        request=os.urandom(16),
        model="model",
        dataset="part",
        detector=EVALUATION,
        version=VERSION,
        params=canonical(evaluating.params),
        schema=matrix_schema(arrays[0].shape[1] if arrays else 0),
    )
    makers = [lambda learner=learner: learner for learner in learners]
    opened = run_job(makers, request, decryption_threshold=decryption_threshold)
    return Evaluated(
        quality=quality_from(opened.state, budget=budget),
        drift=tuple(drift_from(opened.state, learner.counts) for learner in learners),
        rounds=opened.rounds,
        bytes_up=opened.bytes_up,
        state=opened.state,
    )


def _labels(number: int, rows: Floats, labels: npt.ArrayLike | None) -> Floats | None:
    if labels is None:
        return None
    try:
        found = np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"the labels of part {number} are no numbers", hint="0 is normal, 1 an anomaly") from None
    if found.shape != (len(rows),):
        raise ShapeError(f"part {number} has {found.size} labels for {len(rows)} rows")
    return found
