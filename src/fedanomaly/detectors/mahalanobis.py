"""Squared distance from the mean, in the metric of the covariance."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.fading import Renewable
from fedanomaly.detectors.scaling import Scale, most_rows, rows_of, scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import Circuit, FieldSpec, Floats, Integers, State, Statistics, Step, Total

MOST_FEATURES = 2_000
"""More columns are refused: their products are millions of numbers, their matrix takes minutes to invert."""
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
    why_no_circuit = ""
    most_features = MOST_FEATURES
    free = Detector.free | {"ridge"}
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
        moments = opened_moments(state)
        return Metric.of(scale_of(state), moments.mean, moments.whitening(float(state.params["ridge"])))


class Moments(Renewable):
    """Step ``moments/all``: exact sums of the scaled readings and of their products."""

    prefix = "moments"
    summed = ("moments/sums", "moments/products")

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "moments/sums" in state:
            return None
        return Step(name="moments/all", fields=moment_fields(state))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:  # noqa: ARG002 - one step only
        """Return both sums over this member's rows."""
        sums, products = moment_sums(scale_of(state).chunks(X), X.shape[1])
        return {"sums": sums, "products": products}

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - one step only
        """Keep both sums."""
        return state.with_arrays(**{"moments/sums": total["sums"], "moments/products": total["products"]})


def moment_fields(state: State) -> tuple[FieldSpec, FieldSpec]:
    """Return the fields ``sums`` and ``products`` (upper triangle) of scaled rows."""
    d, most = int(state["features"][0]), scale_of(state).limit
    bound = most_rows(state) * most
    sums = FieldSpec(name="sums", shape=(d,), lower=-bound, upper=bound)
    products = FieldSpec(name="products", shape=(d * (d + 1) // 2,), lower=-bound * most, upper=bound * most)
    return sums, products


def moment_sums(chunks: Iterable[Floats], d: int) -> tuple[Integers, Integers]:
    """Return the sums over scaled rows, shape (d,), and over their products, shape (d (d + 1) / 2,)."""
    sums, products = np.zeros(d, dtype=np.int64), np.zeros((d, d), dtype=np.int64)
    for rows in chunks:
        # 2^10 rows of at most 2^14 steps: every sum of products is at most 2^38, so exact.
        sums += rows.sum(axis=0).astype(np.int64)
        products += (rows.T @ rows).astype(np.int64)
    return sums, products[np.triu_indices(d)]


@dataclass(frozen=True, eq=False)
class Covariance:
    """Means, deviations and correlations.

    Parameters
    ----------
    mean : float64 array of shape (n_features,)
        Mean row, in steps.
    deviation : float64 array of shape (n_features,)
        Standard deviations, in steps; 0 marks a column that does not vary.
    correlation : float64 array of shape (n_features, n_features)
        What does not vary correlates with nothing; the diagonal holds ones.
    """

    mean: Floats
    deviation: Floats
    correlation: Floats

    @classmethod
    def of(cls, n: int, sums: Integers, triangle: Integers) -> Self:
        """Return the covariance of `n` rows from what `moment_sums` gave for them."""
        d = len(sums)
        products = np.zeros((d, d), dtype=object)
        products[np.triu_indices(d)] = triangle.astype(object)
        products = np.triu(products) + np.triu(products, 1).T
        # Integers of any size: n P - S S' cancels badly in floating point.
        whole = sums.astype(object)
        covariance = (n * products - np.outer(whole, whole)).astype(np.float64) / float(n) ** 2
        deviation = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
        divisor = np.where(deviation > 0, deviation, 1.0)
        correlation = covariance / np.outer(divisor, divisor)
        np.fill_diagonal(correlation, 1.0)
        return cls(sums / n, deviation, correlation)

    def whitening(self, ridge: float) -> Floats:
        """Return W with ``|W z|^2`` the squared distance of z from the mean; W is lower triangular.

        Row k is what feature k adds to the features before it: its residual
        against them, in its own deviations.

        Parameters
        ----------
        ridge : float
            How far correlations are drawn to zero.

        Returns
        -------
        float64 array of shape (n_features, n_features)
        """
        shrunk = (1.0 - ridge) * self.correlation
        np.fill_diagonal(shrunk, 1.0)
        try:
            factor = np.linalg.cholesky(shrunk)
        except np.linalg.LinAlgError:
            raise no_data() from None
        inverse = solve_triangular(factor, np.eye(len(shrunk)), lower=True)
        inverse /= np.where(self.deviation > 0, self.deviation, 1.0)
        inverse[:, self.deviation == 0] = 0.0
        return inverse


def opened_moments(state: State) -> Covariance:
    """Return the covariance of all members' rows."""
    return Covariance.of(rows_of(state), state["moments/sums"], state["moments/products"])


def no_data() -> DataError:
    """Return the error for moments that no rows can have."""
    return DataError("the opened moments are those of no data", hint="a member contributed something else")


@dataclass(frozen=True, eq=False)
class Metric:
    """A sum of squares of affine forms, ready to score.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    mean : float64 array of shape (n_features,)
        Mean row, in steps.
    weights : float64 array of shape (n_forms, n_features)
        Whole numbers; row k times `unit` k is form k.
    unit : float64 array of shape (n_forms,)
        Powers of two.
    """

    scale: Scale
    mean: Floats
    weights: Floats
    unit: Floats
    outputs_suffice: ClassVar[bool] = True

    @classmethod
    def of(cls, scale: Scale, mean: Floats, forms: Floats) -> Self:
        """Return the metric ``|F (z - mean)|^2`` with the rows of F as whole numbers times powers of two."""
        # No sum over d features reaches 2^52.
        room = EXACT - scale.limit.bit_length() - forms.shape[1].bit_length()
        largest = np.abs(forms).max(axis=1)
        exponent = np.frexp(np.where(largest > 0, largest, 1.0))[1] - room
        weights = np.rint(np.ldexp(forms, -exponent[:, None]))
        return cls(scale, mean, weights, np.ldexp(1.0, exponent))

    def scores(self, X: Floats) -> Floats:
        """Return the squared distance of every row."""
        out = np.empty(len(X))
        at = 0
        for rows, distances in self.chunks(X):
            out[at : at + len(rows)] = distances
            at += len(rows)
        return out

    def chunks(self, X: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield scaled rows and their squared distances."""
        for rows in self.scale.chunks(X):
            whitened = self._whiten(rows)
            yield rows, np.square(whitened, out=whitened).sum(axis=1)

    def shares(self, X: Floats) -> Floats:
        """Return z_j (F' F z)_j for every row and feature j."""
        out = np.empty(X.shape)
        at = 0
        for rows in self.scale.chunks(X):
            along = self._whiten(rows) @ (self.weights * self.unit[:, None])
            out[at : at + len(rows)] = (rows - self.mean) * along
            at += len(rows)
        return out

    def circuit(self) -> Circuit:
        """Return the forms as those of readings in robust deviations."""
        bias = -(self.weights * self.mean).sum(axis=1) * self.unit
        return Circuit("quadratic", (len(self.unit),), self.weights * (self.unit * self.scale.grid)[:, None], bias)

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations."""
        return self.scale.readings(X)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:  # noqa: ARG002 - the output is the score
        """Return the squared distances."""
        return np.maximum(outputs[:, 0], 0.0)

    def _whiten(self, rows: Floats) -> Floats:
        # Sums of whole numbers below 2^53 are exact in any order, so a row
        # scores the same to the last bit, alone or among others.
        offset = (self.weights * self.mean).sum(axis=1)
        whitened = rows @ self.weights.T
        whitened -= offset
        whitened *= self.unit
        return whitened
