"""Squared distance from the mean, in the metric of the covariance."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.scaling import Scale, most_rows, rows_of, scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import FieldSpec, Floats, State, Statistics, Step, Total

EXACT = 52
"""Integers below 2^53 are exact in a float64; one bit is kept back."""


class Mahalanobis(Detector):
    """Squared Mahalanobis distance on robustly scaled features.

    The idea: what is far from the mean, against how the features vary together,
    is anomalous. It needs two sums only, of the readings and of their products.

    It fails where the normal events form several clusters (an event between
    them looks normal), and where anomalies are more regular than the rest.

    Cost: one job of about 6 rounds, d (d + 3) / 2 numbers in the widest model
    step, 12,000 counters in the widest other one; scoring takes d^2
    multiplications an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    ridge : float in [1e-6, 1], default=0.1
        How far the correlations are drawn to zero. Also what keeps the distance
        finite where features determine each other.

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
    With z the scaled row less its mean, R = (1 - ridge) corr + ridge I, D the
    standard deviations and W the inverse of the Cholesky factor of D R D, the
    score is ``|W z|^2`` and feature j adds ``z_j (W' W z)_j``: terms that sum to
    the score, of which one can be negative where a feature excuses another.

    References
    ----------
    P. C. Mahalanobis, "On the generalised distance in statistics", 1936.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import Mahalanobis
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = Mahalanobis(contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "mahalanobis"
    version = 1
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "ridge": [Interval(Real, 1e-6, 1, closed="both")],
    }

    def __init__(self, *, contamination: float = 0.01, ridge: float = 0.1) -> None:
        super().__init__(contamination=contamination)
        self.ridge = ridge

    def stages(self) -> tuple[Moments, ...]:
        """Return the one stage: first and second moments."""
        return (Moments(),)

    def derive(self, state: State) -> Metric:
        """Return the metric of the opened moments."""
        return _metric(state)


class Moments:
    """Step ``moments/all``: exact sums of the scaled readings and of their products."""

    prefix = "moments"

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "moments/sums" in state:
            return None
        d, most = int(state["features"][0]), scale_of(state).limit
        bound = most_rows(state) * most
        sums = FieldSpec(name="sums", shape=(d,), lower=-bound, upper=bound)
        products = FieldSpec(name="products", shape=(d * (d + 1) // 2,), lower=-bound * most, upper=bound * most)
        return Step(name="moments/all", fields=(sums, products))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:  # noqa: ARG002 - one step only
        """Return both sums over this member's rows."""
        d = X.shape[1]
        sums, products = np.zeros(d, dtype=np.int64), np.zeros((d, d), dtype=np.int64)
        for rows in scale_of(state).chunks(X):
            # 2^10 rows of at most 2^14 steps: every sum of products is at most 2^38, so exact.
            sums += rows.sum(axis=0).astype(np.int64)
            products += (rows.T @ rows).astype(np.int64)
        return {"sums": sums, "products": products[np.triu_indices(d)]}

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - one step only
        """Keep both sums."""
        return state.with_arrays(**{"moments/sums": total["sums"], "moments/products": total["products"]})


@dataclass(frozen=True, eq=False)
class Metric:
    """The learnt metric, ready to score.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    mean : float64 array of shape (n_features,)
        Mean row, in steps.
    weights : float64 array of shape (n_features, n_features)
        Whole numbers; row k times `unit` k is row k of W.
    unit : float64 array of shape (n_features,)
        Powers of two.
    """

    scale: Scale
    mean: Floats
    weights: Floats
    unit: Floats

    def scores(self, X: Floats) -> Floats:
        """Return the squared distance of every row."""
        out = np.empty(len(X))
        at = 0
        for rows in self.scale.chunks(X):
            out[at : at + len(rows)] = np.square(self._whiten(rows)).sum(axis=1)
            at += len(rows)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return z_j (W' W z)_j for every row and feature j."""
        out = np.empty(X.shape)
        at = 0
        for rows in self.scale.chunks(X):
            along = self._whiten(rows) @ (self.weights * self.unit[:, None])
            out[at : at + len(rows)] = (rows - self.mean) * along
            at += len(rows)
        return out

    def _whiten(self, rows: Floats) -> Floats:
        # Sums of whole numbers below 2^53 are exact in any order, so a row
        # scores the same to the last bit, alone or among others.
        offset = (self.weights * self.mean).sum(axis=1)
        return (rows @ self.weights.T - offset) * self.unit


def _metric(state: State) -> Metric:
    scale = scale_of(state)
    n, d = rows_of(state), int(state["features"][0])
    sums = state["moments/sums"]
    products = np.zeros((d, d), dtype=object)
    products[np.triu_indices(d)] = state["moments/products"].astype(object)
    products = np.triu(products) + np.triu(products, 1).T
    # Integers of any size: n P - S S' cancels badly in floating point.
    whole = sums.astype(object)
    covariance = (n * products - np.outer(whole, whole)).astype(np.float64) / float(n) ** 2
    variance = covariance.diagonal()
    live = variance > 0
    deviation = np.sqrt(np.where(live, variance, 1.0))
    ridge = float(state.params["ridge"])
    correlation = covariance / np.outer(deviation, deviation)
    shrunk = (1.0 - ridge) * correlation
    np.fill_diagonal(shrunk, 1.0)
    try:
        factor = np.linalg.cholesky(shrunk)
    except np.linalg.LinAlgError:
        raise DataError("the opened moments are those of no data", hint="a member contributed something else") from None
    inverse = solve_triangular(factor, np.eye(d), lower=True) / deviation
    inverse[:, ~live] = 0.0
    # Whole weights such that no sum over d features reaches 2^52.
    room = EXACT - scale.limit.bit_length() - d.bit_length()
    largest = np.abs(inverse).max(axis=1)
    exponent = np.frexp(np.where(largest > 0, largest, 1.0))[1] - room
    weights = np.rint(np.ldexp(inverse, -exponent[:, None]))
    return Metric(scale, sums / n, weights, np.ldexp(1.0, exponent))
