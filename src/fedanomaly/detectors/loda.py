"""Histograms of sparse random projections."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.draw import Draw
from fedanomaly.detectors.fading import Renewable
from fedanomaly.detectors.projections import BINS, SPAN, Densities, Polynomials, Projected, View
from fedanomaly.detectors.scaling import MAX_ROWS, Scale, layout_rows, most_rows, rows_of, scale_of
from fedanomaly.types import FieldSpec, Floats, State, Statistics, Step, Total

SMOOTHING = (1, 4, 16)
"""Widths, in bins, of the boxes over which the logarithms of density are averaged."""
MOST_BITS = 24
"""Bits of the magnitude of a projection in the moments' sums."""


class Loda(Detector):
    """Lightweight on-line detector of anomalies: one-dimensional densities of random projections.

    The idea: along a random direction that mixes a few features, an anomaly
    often falls where few events are. One direction says little, the mean over
    many of minus the logarithm of the density says much. All members draw the
    same directions, so the histograms are sums.

    It fails where an anomaly shows only in a combination of many features, each
    within its usual range, and it is coarse near the centre of sharp clusters.

    Cost: one job of about 7 rounds, `n_projections` times 256 counters in the
    widest; scoring takes d multiplications and one look-up a projection.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_projections : int in [1, 1000], default=100
        Number of directions.
    random_state : int in [0, 2^63), default=0
        Seed of the directions; members of a job agree on it.
    polynomial : bool, default=False
        Score by a polynomial of degree 4 in place of each histogram, which a
        service can compute on ciphertexts; with up to 256 projections.

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
    The score is the mean over projections of ``-log p(bin)``, p smoothed. What a
    projection adds is shared among its features in proportion to ``|w_j z_j|``,
    w_j being the weight and z_j the scaled reading, equally where all are 0; the
    shares of a row sum to its score.

    A polynomial is fitted to the logarithms of each histogram, by the opened counts
    alone, and follows them where rows lie. It cannot follow steps, gaps and several
    peaks: `approximation_error` tells how far it is off.

    References
    ----------
    T. Pevny, "Loda: Lightweight on-line detector of anomalies", Machine Learning
    102, 2016. Directions here come from SHAKE-256, see `fedanomaly.detectors.draw`.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import Loda
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = Loda(random_state=0, contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "loda"
    version = 1
    why_no_circuit = "its score reads densities of projections in tables"
    circuit_with = "polynomial=true"
    free = Detector.free | {"polynomial"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_projections": [Interval(Integral, 1, 1000, closed="both")],
        "random_state": [Interval(Integral, 0, (1 << 63) - 1, closed="both")],
        "polynomial": ["boolean"],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.01,
        n_projections: int = 100,
        random_state: int = 0,
        polynomial: bool = False,
    ) -> None:
        super().__init__(contamination=contamination)
        self.n_projections = n_projections
        self.random_state = random_state
        self.polynomial = polynomial

    def stages(self) -> tuple[Projections, ...]:
        """Return the one stage: where the projections lie, then their histograms."""
        return (Projections(),)

    def derive(self, state: State) -> Projected:
        """Return the densities of the opened histograms, or the polynomials."""
        return _polynomials(state) if state.params.get("polynomial") else Densities(_view(state), _surprise(state))

    def approximation_error(self, X: npt.ArrayLike) -> float:
        """Return how far scores by polynomials are from those by histograms, whichever of them this detector gives.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; of use are those that it was not trained with.

        Returns
        -------
        float
            Root of the mean square of the difference, in the unit of the score.
        """
        rows, state = self.checked(X), self.state_
        difference = _polynomials(state).scores(rows) - Densities(_view(state), _surprise(state)).scores(rows)
        return float(np.sqrt(np.mean(np.square(difference))))


class Projections(Renewable):
    """Steps ``loda/moments`` (where each projection lies) and ``loda/histograms``."""

    prefix = "loda"
    counted = ("loda/counts",)

    def next_step(self, state: State) -> Step | None:
        """Return the moments, then the histograms, then None."""
        n, k = most_rows(state), int(state.params["n_projections"])
        if "loda/sums" not in state:
            most = 1 << _moment_bits(n)
            sums = FieldSpec(name="sums", shape=(k,), lower=-n * most, upper=n * most)
            squares = FieldSpec(name="squares", shape=(k,), lower=0, upper=n * most * most)
            return Step(name="loda/moments", fields=(sums, squares))
        if "loda/counts" not in state:
            counts = FieldSpec(name="counts", shape=(k, BINS), lower=0, upper=n)
            return Step(name="loda/histograms", fields=(counts,))
        return None

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return the sums of this member's projections and of their squares, or the histograms."""
        if step.name == "loda/moments":
            return _moments(X, state)
        view = _view(state)
        k = view.weights.shape[1]
        counts = np.zeros(k * BINS, dtype=np.int64)
        for _, projections in view.chunks(X):
            bins = view.bins(projections)
            counts += np.bincount((bins + np.arange(k) * BINS).ravel(), minlength=k * BINS)
        return {"counts": counts.reshape(k, BINS)}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep what was opened."""
        return state.with_arrays(**{f"{self.prefix}/{field.name}": total[field.name] for field in step.fields})


def _weights(state: State, scale: Scale) -> Floats:
    """Return the directions: about sqrt(d) features each, among those that vary."""
    live = np.flatnonzero(scale.width > 0).tolist() or list(range(len(scale.width)))
    chosen = (math.isqrt(4 * len(live)) + 1) // 2
    draw = Draw("loda projections", int(state.params["random_state"]))
    weights = np.zeros((len(scale.width), int(state.params["n_projections"])))
    for projection in range(weights.shape[1]):
        features = [live[at] for at in draw.choose(chosen, len(live))]
        weights[features, projection] = draw.normals(chosen)
    return weights


def _moment_bits(n: int) -> int:
    """Return the bits of a projection in the moments: n of their squares stay below 2^50."""
    return min((50 - n.bit_length()) // 2, MOST_BITS)


def _reach_bits(scale: Scale, weights: Floats) -> int:
    return int(np.abs(weights).sum(axis=0).max() * scale.limit).bit_length()


def _moments(X: Floats, state: State) -> Statistics:
    scale = scale_of(state)
    weights = _weights(state, scale)
    unit = 2.0 ** -max(_reach_bits(scale, weights) - _moment_bits(most_rows(state)), 0)
    sums, squares = np.zeros((2, weights.shape[1]), dtype=np.int64)
    for rows in scale.chunks(X):
        projected = np.rint(rows @ weights * unit).astype(np.int64)
        sums += projected.sum(axis=0)
        squares += np.square(projected).sum(axis=0)
    return {"sums": sums, "squares": squares}


def _view(state: State) -> View:
    scale = scale_of(state)
    weights = _weights(state, scale)
    n = layout_rows(state)
    shift = max(_reach_bits(scale, weights) - _moment_bits(min(n, MAX_ROWS)), 0)
    low, width = [], []
    for total, squares in zip(state["loda/sums"].tolist(), state["loda/squares"].tolist(), strict=True):
        deviation = math.isqrt(max(n * squares - total * total, 1))
        bin_width = max((2 * SPAN * deviation << shift) // (n * BINS), 1)
        width.append(bin_width)
        low.append((total << shift) // n - bin_width * BINS // 2)
    return View(scale, weights, np.array(low, dtype=np.float64), np.array(width, dtype=np.float64))


def _polynomials(state: State) -> Polynomials:
    counts = state["loda/counts"].astype(np.float64)
    return Polynomials.of(_view(state), _surprise(state), counts)


def _surprise(state: State) -> Floats:
    """Return -log p of every bin, averaged over the smoothing widths; never negative."""
    counts = state["loda/counts"].astype(np.float64)
    out = np.zeros(counts.shape)
    for box in SMOOTHING:
        upto = np.cumsum(np.pad(counts, ((0, 0), (box // 2 + 1, box - 1 - box // 2))), axis=1)
        smooth = (upto[:, box:] - upto[:, :-box]) / box if box > 1 else counts
        out -= np.log((smooth + 0.5) / (rows_of(state) + 0.5 * BINS))
    return np.maximum(out / len(SMOOTHING), 0.0)
