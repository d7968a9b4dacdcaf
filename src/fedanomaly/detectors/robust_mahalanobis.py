"""Squared distance from the mean of those rows that lie close together."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import gammainc, gammaincinv
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.cells import Cells, histogram, keys
from fedanomaly.detectors.fading import Fade, Renewable, plus
from fedanomaly.detectors.mahalanobis import MOST_FEATURES, Covariance, Metric, moment_fields, moment_sums, no_data
from fedanomaly.detectors.scaling import Scale, most_rows, rows_of, scale_of
from fedanomaly.detectors.threshold import SCORES
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

TURNS = 2
"""How often the rows that count are chosen anew."""
KEPT, GONE = 2, 4
"""Robust deviations up to which the first moments take a reading as it is, and from which they leave it out."""
NARROWEST = 0.5
"""Least deviation of a column, in its robust ones: rows that count may share one value where others do not."""


class RobustMahalanobis(Detector):
    """Squared Mahalanobis distance whose mean and covariance anomalies do not pull along.

    The idea: anomalies among the training rows widen the covariance towards
    themselves and so hide. Here the first moments damp far readings; then, twice,
    the moments are taken anew over the `support` of all rows that are nearest.

    It fails where more than ``1 - support`` of the rows are anomalous, where the
    normal events form several clusters (the smaller ones are taken for
    anomalous), and it is less exact than `Mahalanobis` on clean data.

    Cost: one job of about 10 rounds, d (d + 3) / 2 numbers in the widest model
    step, 12,000 counters in the widest other one; scoring takes d^2
    multiplications an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    ridge : float in [1e-6, 1], default=0.1
        How far the correlations are drawn to zero. Also what keeps the distance
        finite where features determine each other.
    support : float in [0.5, 1], default=0.75
        Share of all members' rows that count in the end.

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.

    Notes
    -----
    The first moments are of ``psi(z)``, z being a scaled reading: z up to 2
    robust deviations, falling to 0 at 4, and 0 beyond. The covariance of the rows
    that count is multiplied by ``a / F_{d+2}(F_d^{-1}(a))``, a being their share
    and F_d the distribution of chi-squared: so it is that of all rows, if they
    are normal. No column counts as narrower than half its robust deviation.
    Feature j adds ``z_j (W' W z)_j`` as in `Mahalanobis`.

    References
    ----------
    P. J. Rousseeuw and K. Van Driessen, "A fast algorithm for the minimum
    covariance determinant estimator", Technometrics 41, 1999 (concentration);
    J. Raymaekers and P. J. Rousseeuw, "Fast robust correlation for
    high-dimensional data", Technometrics 63, 2021 (moments of psi).

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import RobustMahalanobis
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(400, 2)), rng.normal(6.0, 0.1, size=(100, 2))])
    >>> detector = RobustMahalanobis(contamination=0.25).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, 6.0]])
    array([ 1, -1])
    """

    name = "robust_mahalanobis"
    version = 1
    why_no_circuit = ""
    most_features = MOST_FEATURES
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "ridge": [Interval(Real, 1e-6, 1, closed="both")],
        "support": [Interval(Real, 0.5, 1, closed="both")],
    }

    def __init__(self, *, contamination: float = 0.01, ridge: float = 0.1, support: float = 0.75) -> None:
        super().__init__(contamination=contamination)
        self.ridge = ridge
        self.support = support

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, moments of damped rows, two turns, threshold."""
        return 11 + 2 * TURNS

    def stages(self) -> tuple[Concentration, ...]:
        """Return the one stage: moments of damped rows, then of the nearest ones."""
        return (Concentration(),)

    def derive(self, state: State) -> Metric:
        """Return the metric of the rows that count."""
        return _metric(state)


class Concentration(Renewable):
    """Steps ``robust/damped``, then ``robust/distances-1``, ``robust/moments-1`` and so on.

    Distances under the moments so far give the cut-off; the moments of the rows
    below it take the place of those before. A row counts wholly or not at all, so
    the sums are exact.
    """

    prefix = "robust"

    def next_step(self, state: State) -> Step | None:
        """Return the next step, or None once the last moments are there."""
        if "robust/sums" not in state:
            return Step(name="robust/damped", fields=moment_fields(state))
        turn = int(state["robust/turn"][0])
        if turn > TURNS:
            return None
        n = most_rows(state)
        if "robust/cutoff" not in state:
            counts = FieldSpec(name="counts", shape=(len(SCORES) - 1,), lower=0, upper=n)
            return Step(name=f"robust/distances-{turn}", fields=(counts,))
        rows = FieldSpec(name="rows", shape=(1,), lower=0, upper=n)
        return Step(name=f"robust/moments-{turn}", fields=(rows, *moment_fields(state)))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return this member's moments, or the histogram of its distances."""
        if step.name == "robust/damped":
            scale = scale_of(state)
            sums, products = moment_sums((_damped(rows, scale) for rows in scale.chunks(X)), X.shape[1])
            return {"sums": sums, "products": products}
        metric = _metric(state)
        if "robust/cutoff" not in state:
            return {"counts": histogram(keys(metric.scores(X)), SCORES)}
        near = _Near(metric, int(state["robust/cutoff"][0]))
        sums, products = moment_sums(near.chunks(X), X.shape[1])
        return {"rows": np.array([near.count]), "sums": sums, "products": products}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the cut-off, or the new moments alone."""
        if step.name.startswith("robust/distances"):
            return state.with_arrays(**{"robust/cutoff": np.array([_cutoff(total["counts"], state)])})
        first = step.name == "robust/damped"
        turn = 1 if first else int(state["robust/turn"][0]) + 1
        rows = state["rows"] if first else total["rows"]
        if rows[0] < 1:
            raise no_data()
        kept = {name: array for name, array in state.arrays.items() if not name.startswith("robust/")}
        arrays = {
            "robust/turn": np.array([turn]),
            "robust/rows": rows,
            "robust/sums": total["sums"],
            "robust/products": total["products"],
        }
        return State(state.detector, state.version, state.params, {**kept, **arrays})

    def reopened(self, state: State) -> State:
        """Return the state before the last turn, from the present moments."""
        return State(state.detector, state.version, state.params, {**state.arrays, "robust/turn": np.array([TURNS])})

    def joined(self, state: State, old: State, fade: Fade) -> State:
        """Return the state in which what is left of the old nearest rows is added to the new ones."""
        return plus(state, fade.groups(old, "robust/rows", ("robust/sums", "robust/products")))


@dataclass(eq=False)
class _Near:
    """Picks the rows whose distance lies below the cut-off, and counts them."""

    metric: Metric
    cutoff: int
    count: int = 0

    def chunks(self, X: Floats) -> Iterator[Floats]:
        for rows, distances in self.metric.chunks(X):
            near = keys(distances) < self.cutoff
            self.count += int(near.sum())
            yield rows[near]


def _damped(rows: Floats, scale: Scale) -> Floats:
    """Return whole steps of ``psi(z)``."""
    reach = np.abs(rows)
    return np.copysign(np.maximum(np.minimum(reach, (GONE * scale.grid - reach) * KEPT / (GONE - KEPT)), 0.0), rows)


def _cutoff(counts: Integers, state: State) -> int:
    """Return the key below which the nearest rows lie; a cell of the histogram counts as a whole."""
    cells = Cells(SCORES, counts)
    if cells.total < 1 or counts.min() < 0:
        raise no_data()
    wanted = math.ceil(state.params["support"] * cells.total)
    cell, _ = cells.locate(wanted - 1)
    return int(SCORES[cell + 1])


def _metric(state: State) -> Metric:
    scale = scale_of(state)
    moments = Covariance.of(int(state["robust/rows"][0]), state["robust/sums"], state["robust/products"])
    widened = moments.deviation * math.sqrt(_consistency(state, int((scale.width > 0).sum())))
    # A column that varies has a distance, even where the rows that count share one value.
    deviation = np.where(scale.width > 0, np.maximum(widened, NARROWEST * scale.grid), 0.0)
    robust = Covariance(moments.mean, deviation, moments.correlation)
    return Metric.of(scale, robust.mean, robust.whitening(float(state.params["ridge"])))


def _consistency(state: State, d: int) -> float:
    """Return the factor from the covariance of the nearest rows to that of all, were they normal."""
    share = min(int(state["robust/rows"][0]) / rows_of(state), 1.0)
    if d == 0 or share == 1.0:
        return 1.0
    return share / float(gammainc(d / 2 + 1, gammaincinv(d / 2, share)))
