"""Federated evaluation: how good a trained model is, from summed score histograms.

Every member scores its own labelled rows with its own copy of the model and
counts them on agreed edges, anomalies and normal rows apart. One round opens the
sums. Labels stay at home, as scores do; what the sums say is said to within the
width of a cell, and the figures carry that bound.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.cells import histogram, keys, numbers
from fedanomaly.detectors.drift import Drift, drift
from fedanomaly.detectors.quality import ALERT_BUDGET, Quality, quality_of_counts
from fedanomaly.detectors.scaling import MAX_ROWS, scale_of
from fedanomaly.detectors.threshold import SCORES
from fedanomaly.errors import DataError, RefusedError, ShapeError, VersionError
from fedanomaly.types import FieldSpec, Floats, Integers, State, Step, Total

EVALUATION = "evaluation"
"""Stands where a job that trains has the name of its detector."""
VERSION = 1
_OUTER = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)
PROFILE = np.array([*(-edge for edge in _OUTER[::-1]), *np.arange(-11, 12) / 4, *_OUTER])
"""Edges of the histogram of a feature, in robust deviations from its median over all members."""

Counts = Mapping[str, Integers]
"""One member's histograms, by the name of their field."""


class Evaluating:
    """The one step of an evaluation; it needs no secret and reads no file.

    Parameters
    ----------
    model : str
        Name of the model, for who reads the result.
    detector : Detector
        Fitted.

    Attributes
    ----------
    params : dict
        Name of the model and SHA-256 of its state: members that hold another
        state start from another evaluation and do not take part in this one.
    """

    def __init__(self, model: str, detector: Detector) -> None:
        self.params = {"model": model, "state": digest_of(detector.state_)}
        self._detector = detector
        # A detector that reads no numbers has no scale, and no features to profile.
        self._scale = scale_of(detector.state_) if "scale/center" in detector.state_ else None

    @property
    def n_profiled(self) -> int:
        """How many features have a histogram of their own."""
        return 0 if self._scale is None else len(self._scale.center)

    def start(self) -> State:
        """Return the state before the step; the same at every member that holds the model."""
        return State(EVALUATION, VERSION, self.params)

    def next_step(self, state: State) -> Step | None:
        """Return the histograms to sum, or None once they are opened."""
        if (state.detector, state.version, dict(state.params)) != (EVALUATION, VERSION, self.params):
            raise VersionError("the state is that of another evaluation")
        if "evaluation/normal" in state:
            return None
        shapes: dict[str, tuple[int, ...]] = {"anomalies": (len(SCORES) - 1,), "normal": (len(SCORES) - 1,)}
        if self.n_profiled:
            shapes["profile"] = (self.n_profiled, len(PROFILE) - 1)
        fields = (FieldSpec(name=name, shape=shape, lower=0, upper=MAX_ROWS) for name, shape in shapes.items())
        return Step(name="evaluation/histograms", fields=tuple(fields))

    def local(self, X: Floats, labels: Floats | None) -> Counts:
        """Return the histograms of one member.

        Parameters
        ----------
        X : float64 array of shape (n_samples, n_features)
            Encoded rows that the model was not trained on; none is fine.
        labels : float64 array of shape (n_samples,) or None
            0 is normal, NaN unknown, anything else an anomaly. None: this
            member has no labels, and adds to the profile only.
        """
        if labels is not None and labels.shape != (len(X),):
            raise ShapeError(f"{labels.size} labels for {len(X)} rows")
        if len(X) > MAX_ROWS:
            raise DataError(f"a member may bring at most {MAX_ROWS} rows to one job")
        truth = np.full(len(X), np.nan) if labels is None else labels
        anomalous, normal = (truth != 0) & ~np.isnan(truth), truth == 0
        # Nothing of a row without a label is needed but its features.
        scores = keys(self._detector.anomaly_scores(X[anomalous | normal]))
        is_anomaly = anomalous[anomalous | normal]
        counts = {"anomalies": histogram(scores[is_anomaly], SCORES), "normal": histogram(scores[~is_anomaly], SCORES)}
        return {**counts, "profile": self._profile(X)} if self.n_profiled else counts

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the opened histograms."""
        if step != self.next_step(state):
            raise RefusedError(f"step {step.name} does not follow from the state")
        return state.with_arrays(**{f"evaluation/{name}": counts for name, counts in total.integers.items()})

    def _profile(self, X: Floats) -> Integers:
        if self._scale is None:
            raise DataError("a detector without a scale has no profile")
        counts = np.zeros((self.n_profiled, len(PROFILE) - 1), dtype=np.int64)
        for z in self._scale.chunks(X):
            cells = np.clip(np.searchsorted(PROFILE, z / self._scale.grid, side="right") - 1, 0, counts.shape[1] - 1)
            places = cells + counts.shape[1] * np.arange(self.n_profiled)
            counts += np.bincount(places.ravel(), minlength=counts.size).reshape(counts.shape)
        return counts


def digest_of(state: State) -> str:
    """Return the SHA-256 of a state, in hexadecimal digits."""
    return hashlib.sha256(state.to_bytes()).hexdigest()


def holds(state: State, own: Counts) -> bool:
    """Whether opened histograms hold what one member added to them; false: somebody spoilt the sum."""
    return all(bool((state[f"evaluation/{name}"] >= counts).all()) for name, counts in own.items())


def quality_from(state: State, *, budget: float = ALERT_BUDGET) -> Quality:
    """Return the quality of a model from an opened evaluation.

    Parameters
    ----------
    state : State
        Of an evaluation that has ended.
    budget : float, default=0.005
        Share of the rows that somebody can look at; any, after the fact.

    Raises
    ------
    DataError
        If the state is none of an evaluation that has ended.
    """
    if state.detector != EVALUATION or "evaluation/normal" not in state:
        raise DataError("this state is none of an evaluation that has ended")
    return quality_of_counts(state["evaluation/anomalies"], state["evaluation/normal"], budget=budget)


def drift_from(state: State, own: Counts, names: Sequence[str] | None = None) -> list[Drift]:
    """Return how far one member's rows are from those of all others, at that member.

    Parameters
    ----------
    state : State
        Of an evaluation that has ended.
    own : mapping of str to array
        What the member added to it.
    names : sequence of str, optional
        Of the features; numbers if left out.

    Returns
    -------
    list of Drift
        The score of labelled rows first (distance in powers of two), then every
        feature (distance in robust deviations).
    """
    scores = own["anomalies"] + own["normal"]
    others = state["evaluation/anomalies"] + state["evaluation/normal"] - scores
    table = drift(["score"], _log_scores(), scores[np.newaxis], others[np.newaxis])
    if "profile" in own:
        mine = own["profile"]
        table += drift(names or [str(at) for at in range(len(mine))], PROFILE, mine, state["evaluation/profile"] - mine)
    return table


def drift_since(earlier: State, later: State, names: Sequence[str] | None = None) -> list[Drift]:
    """Return how far the rows of all members together moved between two evaluations of one model.

    Parameters
    ----------
    earlier, later : State
        Of evaluations that have ended.
    names : sequence of str, optional
        Of the features; numbers if left out.

    Returns
    -------
    list of Drift
        As `drift_from`.

    Raises
    ------
    VersionError
        If they are of different models: their scores and scales do not compare.
    """
    if dict(earlier.params) != dict(later.params):
        raise VersionError("the two evaluations are of different models", hint="evaluate one model at both times")
    own = {name.removeprefix("evaluation/"): counts for name, counts in later.arrays.items()}
    # What `drift_from` takes for the others is the total less one's own.
    both = {name: counts + earlier[name] for name, counts in later.arrays.items()}
    return drift_from(State(EVALUATION, VERSION, later.params, both), own, names)


def _log_scores() -> Floats:
    edges = numbers(SCORES[1:-1])
    # The two outermost cells reach to zero and to the largest number; a power of two stands for each.
    return np.concatenate([[np.log2(edges[0]) - 1], np.log2(edges), [np.log2(edges[-1]) + 1]])
