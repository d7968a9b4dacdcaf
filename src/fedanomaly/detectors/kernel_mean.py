"""Density from one mean vector: random Fourier features of every row."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.draw import Draw
from fedanomaly.detectors.fading import Renewable
from fedanomaly.detectors.occlusion import occluded
from fedanomaly.detectors.scaling import Scale, most_rows, rows_of, scale_of
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

SCALES = (0.25, 0.5, 1.0, 2.0)
"""Widths of the kernels, in robust deviations times the square root of the number of columns."""
NORMAL = math.sqrt(16 * (256**2 - 1) / 12)
"""Standard deviation of `Draw.normals`."""
TURN = 1 << 12
"""Steps of a full turn."""
ONE = 1 << 16
"""Steps of a cosine of 1."""
LEAST = 0.01
"""A density is not told from 0 below that, the density of a row amid copies of itself being 1."""
CHUNK = 256


class KernelMean(Detector):
    """Kernel density whose whole model is the mean of cosines over all rows.

    The idea: a Gaussian kernel between two rows is the mean over random waves of
    a product of cosines, one for either row. So the density at a row, a sum of
    kernels over all training rows, is the inner product of its cosines with
    their mean over these rows, and the mean is a sum. Four widths of the kernel
    are taken together, since none suits all data.

    It fails where density varies between directions (a wave that is short
    against a narrow direction is noise in a wide one), and in many columns where
    all rows are about equally far from each other.

    Cost: one job of about 6 rounds, `n_cosines` times 4 numbers in the model
    step, 12,000 counters in the widest other one; scoring takes d
    multiplications and one look-up a cosine.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_cosines : int in [16, 8192], default=512
        Waves for each of the 4 widths.
    random_state : int in [0, 2^63), default=0
        Seed of the waves; members of a job agree on it.

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
    With w normal over the width and b uniform over a turn, ``E 2 cos(w.x + b)
    cos(w.y + b)`` is the Gaussian kernel of x and y. The score is the mean over the
    widths of ``-log max(p, 0.01)``, p being the density, at most 1. A turn has
    4,096 steps and a cosine 65,536, and all else is whole numbers, so rows give
    the same sums everywhere. Shares: see `fedanomaly.detectors.occlusion`.

    References
    ----------
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS
    2007. Waves here come from SHAKE-256, see `fedanomaly.detectors.draw`.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import KernelMean
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = KernelMean(random_state=0, contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "kernel_mean"
    version = 1
    why_no_circuit = "its score is made of hundreds of cosines"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_cosines": [Interval(Integral, 16, 8192, closed="both")],
        "random_state": [Interval(Integral, 0, (1 << 63) - 1, closed="both")],
    }

    def __init__(self, *, contamination: float = 0.01, n_cosines: int = 512, random_state: int = 0) -> None:
        super().__init__(contamination=contamination)
        self.n_cosines = n_cosines
        self.random_state = random_state

    def stages(self) -> tuple[Waves, ...]:
        """Return the one stage: the sum of the cosines."""
        return (Waves(),)

    def derive(self, state: State) -> Density:
        """Return the density of the opened mean."""
        mean = np.clip(np.rint(state["kernel/sums"] / rows_of(state)), -ONE, ONE)
        return Density(_features(state), mean.reshape(len(SCALES), -1))


class Waves(Renewable):
    """Step ``kernel/sums``: the cosines, in whole steps, summed over the rows."""

    prefix = "kernel"
    summed = ("kernel/sums",)

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "kernel/sums" in state:
            return None
        shape = (len(SCALES) * int(state.params["n_cosines"]),)
        bound = most_rows(state) * ONE
        return Step(name="kernel/sums", fields=(FieldSpec(name="sums", shape=shape, lower=-bound, upper=bound),))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return the sums over this member's rows."""
        (field,) = step.fields
        sums = np.zeros(field.shape, dtype=np.int64)
        features = _features(state)
        for rows in features.scale.chunks(X):
            for cosines in features.cosines(rows):
                sums += cosines.sum(axis=0).astype(np.int64)
        return {"sums": sums}

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - one step only
        """Keep the sums."""
        return state.with_arrays(**{"kernel/sums": total["sums"]})


@dataclass(frozen=True, eq=False)
class Features:
    """The waves.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    weights : float64 array of shape (n_features, n_waves)
        Whole numbers; 0 for columns that do not vary.
    rate : float64 array of shape (n_waves,)
        Steps of a turn for a step of the projection.
    phase : int64 array of shape (n_waves,)
        In steps of a turn.
    """

    scale: Scale
    weights: Floats
    rate: Floats
    phase: Integers

    def cosines(self, rows: Floats) -> Iterator[Floats]:
        """Yield the cosines of some scaled rows at a time, whole numbers up to `ONE`.

        The projections are sums of whole numbers below 2^53, so they and all
        that follows depend neither on the machine nor on the other rows.
        """
        for start in range(0, len(rows), CHUNK):
            turns = rows[start : start + CHUNK] @ self.weights
            turns *= self.rate
            steps = np.floor(turns, out=turns).astype(np.int64)
            steps += self.phase
            steps &= TURN - 1
            yield _COSINE[steps]


@dataclass(frozen=True, eq=False)
class Density:
    """The learnt density, ready to score.

    Parameters
    ----------
    features : Features
        The waves.
    mean : float64 array of shape (n_widths, n_cosines)
        Mean cosine of every wave, in whole steps.
    """

    features: Features
    mean: Floats

    def scores(self, X: Floats) -> Floats:
        """Return the mean over the widths of minus the logarithm of the density."""
        chunks = self.features.scale.chunks(X)
        return np.concatenate([np.empty(0), *(self._surprise(rows) for rows in chunks)])

    def shares(self, X: Floats) -> Floats:
        """Return what every feature alone takes away or brings, in proportion."""
        chunks = self.features.scale.chunks(X)
        return np.concatenate([np.empty((0, X.shape[1])), *(occluded(self._surprise, rows) for rows in chunks)])

    def _surprise(self, rows: Floats) -> Floats:
        out = np.zeros(len(rows))
        at = 0
        for cosines in self.features.cosines(rows):
            for own, mean in zip(np.split(cosines, len(self.mean), axis=1), self.mean, strict=True):
                # Sums of 2^13 products of at most 2^32: exact.
                density = own @ mean * (2.0 / len(mean) / ONE**2)
                out[at : at + len(own)] -= np.log(np.clip(density, LEAST, 1.0))
            at += len(cosines)
        return out / len(self.mean)


_COSINE = np.rint(ONE * np.cos(np.arange(TURN) * (2.0 * np.pi / TURN)))


def _features(state: State) -> Features:
    scale = scale_of(state)
    live = np.flatnonzero(scale.width > 0)
    each = int(state.params["n_cosines"])
    draw = Draw("kernel mean waves", int(state.params["random_state"]))
    phase = np.frombuffer(draw.bytes(8 * each * len(SCALES)), "<u8").astype(np.int64) & (TURN - 1)
    weights = np.zeros((len(scale.width), each * len(SCALES)))
    for column in live:
        weights[column] = draw.normals(weights.shape[1])
    # Multiplied, divided and rooted only: the same to the last bit everywhere.
    step = NORMAL * scale.grid * math.sqrt(max(len(live), 1)) * (2.0 * math.pi)
    rate = np.repeat([TURN / (step * width) for width in SCALES], each)
    return Features(scale, weights, rate, phase)
