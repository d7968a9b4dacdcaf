"""Distance to clusters, and the density of kernels that stand on them."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.centres import Lloyd, clusters_of, squared_distances
from fedanomaly.detectors.scaling import Scale, scale_of
from fedanomaly.types import Circuit, Floats, State

WIDTHS = (64.0, 16.0, 4.0)
"""Variances of the kernels, over the variance within clusters; each is a quarter of the one before."""


class KMeans(Detector):
    """Clusters of the scaled rows: far from every large one is anomalous.

    The idea: a few dozen centres stand for all rows. A row is normal where it
    is near centres that stand for many. Members send how many of their rows are
    nearest to each centre, and the sums of these rows and of their squares, so
    that nobody's row is ever a centre.

    It fails where anomalies form a large cluster of their own, and where only
    the dependence of features on each other is broken and the distance is small.

    Cost: one job of about 11 rounds, ``n_clusters (2 d + 1)`` numbers in the
    widest model step, 12,000 counters in the widest other one; scoring takes d
    multiplications and one exponential a large cluster.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_clusters : int in [1, 1000], default=32
        Number of centres.
    n_rounds : int in [1, 50], default=6
        Rounds of sums: the first sees one centre, each next up to four times as many.
    alpha : float in (0, 1], default=0.8
        The large clusters are the fewest that hold this share of the rows.
    measure : {"density", "distance"}, default="density"
        "density": minus the logarithm of the density of kernels on the large
        clusters. "distance": squared distance to the nearest large cluster, in
        robust deviations.

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
    Let w_c be the share of centre c among the rows of large clusters, D_c the
    squared distance to it, v the variance within clusters, per feature. Density
    is the mean over h in 4, 16, 64 of ``-log sum_c w_c exp(-D_c / 2 h v)``,
    which is 0 where all kernels peak. It is shared among the features in
    proportion to their parts of ``D_c / h``, weighted with the kernels' shares of
    the density. Distance is D_c itself, so its parts need no rule. He et al.
    multiply it with the size of the cluster, which cost much on real data and is
    left out. `alpha` and `measure` need no new sums: they do not enter the steps.

    References
    ----------
    Z. He, X. Xu and S. Deng, "Discovering cluster-based local outliers", Pattern
    Recognition Letters 24, 2003. S. P. Lloyd, "Least squares quantization in
    PCM", 1982. Y. Linde, A. Buzo and R. Gray, "An algorithm for vector quantizer
    design", 1980: centres by splitting.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import KMeans
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = KMeans(contamination=0.02).fit(np.vstack([X, X + 20]))
    >>> detector.predict([[0.0, 0.0], [20.0, 20.0], [10.0, 10.0]])
    array([ 1,  1, -1])
    """

    name = "kmeans"
    version = 1
    why_no_circuit = ""
    free = Detector.free | {"alpha", "measure"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_clusters": [Interval(Integral, 1, 1000, closed="both")],
        "n_rounds": [Interval(Integral, 1, 50, closed="both")],
        "alpha": [Interval(Real, 0, 1, closed="right")],
        "measure": [StrOptions({"density", "distance"})],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.01,
        n_clusters: int = 32,
        n_rounds: int = 6,
        alpha: float = 0.8,
        measure: str = "density",
    ) -> None:
        super().__init__(contamination=contamination)
        self.n_clusters = n_clusters
        self.n_rounds = n_rounds
        self.alpha = alpha
        self.measure = measure

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, one for each move of the centres, threshold."""
        return 10 + self.n_rounds

    def stages(self) -> tuple[Lloyd, ...]:
        """Return the one stage: Lloyd's rounds."""
        return (Lloyd("kmeans", self.n_clusters, self.n_rounds),)

    def derive(self, state: State) -> Near | Kernels:
        """Return the large clusters of the opened sums, ready to score."""
        clusters = clusters_of(state, "kmeans")
        # Stable: of two clusters of one size the earlier counts as larger, everywhere.
        order = np.argsort(-clusters.counts, kind="stable")
        upto = np.cumsum(clusters.counts[order].astype(np.float64))
        needed = int(np.searchsorted(upto, float(state.params["alpha"]) * upto[-1])) + 1
        large = np.sort(order[:needed])
        near = Near(scale_of(state), clusters.means[large].astype(np.float64))
        if state.params["measure"] == "distance":
            return near
        counts = clusters.counts[large].astype(np.float64)
        # One step is the least variance that the grid can tell from none.
        return Kernels(near, counts / counts.sum(), max(clusters.variance, 1.0))


@dataclass(frozen=True, eq=False)
class Near:
    """Centres, and the squared distance to the nearest.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    centres : float64 array of shape (n_centres, n_features)
        In whole steps.
    """

    scale: Scale
    centres: Floats
    outputs_suffice: ClassVar[bool] = False

    def scores(self, X: Floats) -> Floats:
        """Return the squared distance to the nearest centre, in robust deviations."""
        out = np.empty(len(X))
        at = 0
        for _, distances in self.chunks(X):
            out[at : at + len(distances)] = distances.min(axis=1) / self.scale.grid**2
            at += len(distances)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return every feature's term of the squared distance."""
        out = np.empty(X.shape)
        at = 0
        for rows, distances in self.chunks(X):
            nearest = self.centres[distances.argmin(axis=1)]
            out[at : at + len(rows)] = np.square((rows - nearest) / self.scale.grid)
            at += len(rows)
        return out

    def circuit(self) -> Circuit:
        """Return, for every centre c, ``|c - o|^2 - 2 (c - o) (x - o)``: its squared distance but for ``|x - o|^2``.

        Whoever owns the row adds that, so a distance takes one form instead of d. The
        origin o is the mean centre: the less far c is from it, the less noise it adds.
        """
        origin = self._origin()
        offsets = self.centres / self.scale.grid - origin
        bias = np.square(offsets).sum(axis=1) + 2.0 * offsets @ origin
        return Circuit("linear", (1,) * len(offsets), -2.0 * offsets, bias)

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations."""
        return self.scale.readings(X)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:
        """Return the squared distance to the nearest centre."""
        return self.distances(outputs, readings).min(axis=1)

    def distances(self, outputs: Floats, readings: Floats) -> Floats:
        """Return the squared distances to all centres, in robust deviations, from what the circuit gives."""
        return np.maximum(outputs + np.square(readings - self._origin()).sum(axis=1)[:, None], 0.0)

    def _origin(self) -> Floats:
        return self.centres.mean(axis=0) / self.scale.grid

    def chunks(self, X: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield scaled rows and their squared distances to all centres, in whole steps and exact."""
        for rows in self.scale.chunks(X):
            yield rows, squared_distances(rows, self.centres)


@dataclass(frozen=True, eq=False)
class Kernels:
    """Isotropic kernels on centres.

    Parameters
    ----------
    near : Near
        The centres.
    weights : float64 array of shape (n_centres,)
        They add up to 1.
    variance : float
        Variance within clusters of one feature, in squared steps.
    """

    near: Near
    weights: Floats
    variance: float
    outputs_suffice: ClassVar[bool] = False

    def scores(self, X: Floats) -> Floats:
        """Return minus the log density relative to its peak, averaged over the widths."""
        out = np.empty(len(X))
        at = 0
        for _, distances in self.near.chunks(X):
            out[at : at + len(distances)] = self._scores(distances)
            at += len(distances)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return the score in proportion to each feature's part of the distances."""
        centres, live = self.near.centres, self.near.scale.width > 0
        out = np.empty(X.shape)
        at = 0
        for rows, distances in self.near.chunks(X):
            weights = np.zeros(distances.shape)
            for width, part in zip(WIDTHS, self._parts(distances, distances.min(axis=1)), strict=True):
                weights += part / (part.sum(axis=1, keepdims=True) * width)
            total = weights.sum(axis=1, keepdims=True)
            mean = weights @ centres / total
            # sum_c w_c (z_j - c_j)^2 over sum_c w_c: from the mean centre, and of the centres about it.
            part = np.square(rows - mean) + np.maximum(weights @ np.square(centres) / total - np.square(mean), 0.0)
            part *= live
            whole = part.sum(axis=1, keepdims=True)
            # On a lone centre, or where nothing varies, there is no distance: equal shares.
            part = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 1.0 / part.shape[1])
            out[at : at + len(rows)] = part * self._scores(distances)[:, None]
            at += len(rows)
        return out

    def circuit(self) -> Circuit:
        """Return the circuit of the distances."""
        return self.near.circuit()

    @property
    def scale(self) -> Scale:
        """What turns raw rows into readings."""
        return self.near.scale

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations."""
        return self.near.readings(X)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:
        """Return minus the log density, from the distances."""
        return self._scores(self.near.distances(outputs, readings) * self.near.scale.grid**2)

    def _scores(self, distances: Floats) -> Floats:
        nearest = distances.min(axis=1)
        logs = [np.log(part.sum(axis=1)) for part in self._parts(distances, nearest)]
        total = nearest * (sum(1.0 / width for width in WIDTHS) / (2.0 * self.variance)) - sum(logs)
        # Rounding may go below the least possible.
        return np.maximum(total / len(WIDTHS), 0.0)

    def _parts(self, distances: Floats, nearest: Floats) -> Iterator[Floats]:
        """Yield the kernels' parts of the density at every row, over that of the nearest kernel, by width."""
        kernel = np.exp((nearest[:, None] - distances) * (0.5 / (WIDTHS[0] * self.variance)))
        for at in range(len(WIDTHS)):
            if at:
                kernel = np.square(np.square(kernel))
            yield self.weights * kernel
