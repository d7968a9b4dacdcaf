"""Normal components from sums: rounds of expectation and maximisation."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors.centres import Lloyd, squared_distances
from fedanomaly.detectors.fading import Fade, Renewable, plus
from fedanomaly.detectors.mahalanobis import Covariance, Metric
from fedanomaly.detectors.progress import Progress, Progressing
from fedanomaly.detectors.scaling import MAX_ROWS, layout_rows, most_rows, rows_of, scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

START_ROUNDS = 2
MOST_COMPONENTS = 16
WIDEST = 500
"""More features than that have no full covariance."""
PRIOR = 4.0
"""Weight of the common covariance, in rows of an average component."""
RIDGE = 0.1
"""How far correlations are drawn to zero."""
NARROWEST = 1 / 32
"""Least deviation, in robust deviations: the kin of a constant is not infinitely sharp."""
ROOM = 50
"""Bits of the magnitude of a sum of products."""
PART_BITS = 12
"""Most bits of a row's part in a component."""
FIT_UNIT = 64
FIT_LIMIT = 1 << 17
"""A row's log density counts in 1/64, at most 2048 to both sides."""
LEAST_CHANGE = 1 / 1024
"""Rounds end when the mean log density changes by less; because of the prior it may also fall for a while."""


@dataclass(frozen=True)
class Grid:
    """How finely rows and their parts in components are counted, by the number of rows.

    Parameters
    ----------
    part : int
        Steps to a whole row: a power of two.
    shift : int
        The second moments see rows in steps of 2^shift.
    most : int
        Largest magnitude of a row in these steps.
    """

    part: int
    shift: int
    most: int

    @classmethod
    def of(cls, state: State) -> Self:
        """Return the grid with which a member's sum of parts times products stays within `ROOM` bits."""
        room = ROOM - min(layout_rows(state), MAX_ROWS).bit_length()
        part = min(room // 3, PART_BITS)
        limit = scale_of(state).limit
        shift = max(limit.bit_length() - 1 - (room - part) // 2, 0)
        return cls(1 << part, shift, limit >> shift)


@dataclass(frozen=True, eq=False)
class Normal:
    """One component: how far rows are from it.

    Parameters
    ----------
    mean : float64 array of shape (n_features,)
        In steps.
    forms : float64 array of shape (n_features, n_features) or (n_features,)
        Whole numbers, so that products with rows are exact; or only the
        diagonal, any numbers.
    unit : float64 array of shape (n_features,)
        Powers of two: row k of `forms` times unit k.
    """

    mean: Floats
    forms: Floats
    unit: Floats

    def distances(self, rows: Floats) -> Floats:
        """Return the squared Mahalanobis distances of scaled rows; a row's does not depend on the others."""
        whitened = self._whiten(rows)
        return np.square(whitened, out=whitened).sum(axis=1)

    def terms(self, rows: Floats) -> Floats:
        """Return what every feature adds to the squared distances."""
        whitened = self._whiten(rows)
        along = whitened * self.forms if self.forms.ndim == 1 else whitened @ (self.forms * self.unit[:, None])
        return (rows - self.mean) * along

    def matrix(self) -> Floats:
        """Return the forms as a matrix of shape (n_features, n_features)."""
        return np.diag(self.forms) if self.forms.ndim == 1 else self.forms * self.unit[:, None]

    def _whiten(self, rows: Floats) -> Floats:
        if self.forms.ndim == 1:
            return (rows - self.mean) * self.forms
        whitened = rows @ self.forms.T
        whitened -= (self.forms * self.mean).sum(axis=1)
        whitened *= self.unit
        return whitened


@dataclass(frozen=True, eq=False)
class Mixture:
    """Normal components.

    Parameters
    ----------
    normals : tuple of Normal
        The components.
    share : float64 array of shape (n_components,)
        Their shares of the rows; they add up to 1.
    peak : float64 array of shape (n_components,)
        Logarithm of the density where each is densest, in robust deviations
        and without the powers of 2 pi.
    """

    normals: tuple[Normal, ...]
    share: Floats
    peak: Floats

    def without(self, least: float) -> Mixture:
        """Return the mixture of the components with at least that share."""
        kept = self.share >= least
        share = self.share[kept]
        normals = tuple(normal for normal, keep in zip(self.normals, kept, strict=True) if keep)
        return Mixture(normals, share / share.sum(), self.peak[kept])

    def log_top(self) -> float:
        """Return the logarithm of a density that no row exceeds: all components densest in one place."""
        log_parts = np.log(self.share) + self.peak
        return float(log_parts.max() + np.log(np.exp(log_parts - log_parts.max()).sum()))

    def parts(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return the components' parts in scaled rows, and how far the log density is below `log_top`.

        Returns
        -------
        float64 array of shape (n_samples, n_components)
            Rows add up to 1.
        float64 array of shape (n_samples,)
            At least 0.
        """
        distances = np.empty((len(rows), len(self.normals)))
        for at, normal in enumerate(self.normals):
            distances[:, at] = normal.distances(rows)
        return self.below(distances)

    def below(self, distances: Floats) -> tuple[Floats, Floats]:
        """Return what `parts` does, from the squared distances of shape (n_samples, n_components)."""
        log_parts = -0.5 * distances
        log_parts += np.log(self.share) + self.peak - self.log_top()
        largest = log_parts.max(axis=1, keepdims=True)
        parts = np.exp(log_parts - largest)
        total = parts.sum(axis=1, keepdims=True)
        # Rounding may go above the top.
        return parts / total, np.maximum(-(largest + np.log(total))[:, 0], 0.0)


class Maximisation(Renewable, Progressing):
    """Steps ``gaussian_mixture/0`` and so on: rows, sums and products by their parts in the components.

    Parameters
    ----------
    n_rounds : int
        Most steps; fewer once the log density no longer changes.
    start : Lloyd
        The stage whose centres the first round uses.
    """

    prefix = "gaussian_mixture"

    def __init__(self, n_rounds: int, start: Lloyd) -> None:
        self._n_rounds = n_rounds
        self._start = start

    def next_step(self, state: State) -> Step | None:
        """Return the next round, or None after the last."""
        turn = _turn(state)
        if turn >= self._n_rounds:
            return None
        k, d, n, grid = int(state.params["n_components"]), int(state["features"][0]), most_rows(state), Grid.of(state)
        bound = n * grid.part * grid.most
        fields = [
            FieldSpec(name="counts", shape=(k,), lower=0, upper=n * grid.part),
            FieldSpec(name="sums", shape=(k, d), lower=-bound, upper=bound),
            FieldSpec(name="products", shape=(k, *_shape(state)), lower=-bound * grid.most, upper=bound * grid.most),
        ]
        if "gaussian_mixture/counts" in state:
            fields.append(FieldSpec(name="fit", shape=(1,), lower=-n * FIT_LIMIT, upper=n * FIT_LIMIT))
        return Step(name=f"{self.prefix}/{turn}", fields=tuple(fields))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return this member's sums, and that of its rows' log densities under the last components."""
        grid = Grid.of(state)
        out = {field.name: np.zeros(field.shape, dtype=np.int64) for field in step.fields}
        mixture = mixture_of(state) if "gaussian_mixture/counts" in state else None
        centres = self._start.centres(state) if mixture is None else np.zeros((0, 0))
        top = mixture.log_top() if mixture else 0.0
        for rows in scale_of(state).chunks(X):
            if mixture is None:
                near = squared_distances(rows, centres).argmin(axis=1)
                parts = np.where(near[:, None] == np.arange(len(centres)), 1.0, 0.0)
            else:
                parts, below = mixture.parts(rows)
                fit = np.clip(np.rint((top - below) * FIT_UNIT), -FIT_LIMIT, FIT_LIMIT)
                out["fit"] += int(fit.sum())
            _add(out, np.rint(parts * grid.part), np.rint(rows * 2.0**-grid.shift))
        return out

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the sums of this round in place of the last."""
        turn = _turn(state) + 1
        arrays = {f"{self.prefix}/{field.name}": total[field.name] for field in step.fields}
        if "gaussian_mixture/fit" in state:
            # Whole numbers, so that all members end together.
            change = int(total["fit"][0]) - int(state["gaussian_mixture/fit"][0])
            if abs(change) < LEAST_CHANGE * FIT_UNIT * rows_of(state):
                turn = self._n_rounds
        arrays["gaussian_mixture/turn"] = np.array([turn])
        kept = {**state.arrays, **arrays}
        if turn == self._n_rounds:
            working = {
                "gaussian_mixture/fit",
                *(f"{self._start.prefix}/{name}" for name in ("counts", "sums", "squares")),
            }
            kept = {name: array for name, array in kept.items() if name not in working}
        return State(state.detector, state.version, state.params, kept)

    def progress(self, total: Total, state: State) -> Progress | None:
        """Return the mean log density under the components that the round began with; the first has none."""
        rows = float(total["counts"].sum()) / Grid.of(state).part
        if "fit" not in total.integers or not rows:
            return None
        return Progress("mean log density", float(total["fit"][0]) / FIT_UNIT / rows)

    def reopened(self, state: State) -> State:
        """Return the state before a further round from the present components."""
        turn = np.array([self._n_rounds - 1])
        return State(state.detector, state.version, state.params, {**state.arrays, "gaussian_mixture/turn": turn})

    def joined(self, state: State, old: State, fade: Fade) -> State:
        """Return the state in which what is left of every component's old sums is added to its new ones."""
        sums = ("gaussian_mixture/sums", "gaussian_mixture/products")
        return plus(state, fade.groups(old, "gaussian_mixture/counts", sums))


def mixture_of(state: State) -> Mixture:
    """Return the components of the sums opened last.

    Raises
    ------
    DataError
        If the sums are those of no rows.
    """
    counts, sums = state["gaussian_mixture/counts"], state["gaussian_mixture/sums"]
    if not counts.any():
        raise DataError("the opened sums are those of no row", hint="a member contributed something else")
    grid, scale = Grid.of(state), scale_of(state)
    steps = 1 << grid.shift
    rows = np.maximum(counts, 1)
    # A component without rows stands on the medians, with the common covariance.
    whole = np.clip((2 * sums + rows[:, None]) // (2 * rows[:, None]), -grid.most, grid.most)
    rest = (sums - whole * rows[:, None]) / rows[:, None]
    scatter = _products(state)
    full = scatter.ndim == 3
    # About the nearest whole mean and in integers: P - S S' / n would cancel in floating point.
    scatter -= _outer(sums, whole, full) + _outer(whole, sums, full)
    scatter += _outer(whole, whole, full) * _over(rows, full)
    weights = counts / counts.sum()
    own = scatter / _over(rows, full) - _outer(rest, rest, full)
    common = np.tensordot(weights, own, axes=1)
    prior = PRIOR / len(counts)
    covariance = (_over(weights, full) * own + prior * common) / (_over(weights, full) + prior)
    narrowest = max(scale.grid / steps * NARROWEST, math.sqrt(1 / 12))
    share = (counts + 1) / (counts.sum() + len(counts))
    normals, peak = [], []
    for mean, part in zip((whole + rest) * steps, covariance, strict=True):
        variance = np.maximum(part.diagonal() if full else part, 0.0) + narrowest**2
        deviation = np.sqrt(variance)
        if full:
            correlation = part / np.outer(deviation, deviation)
            forms = Covariance(mean, deviation * steps, correlation).whitening(RIDGE)
            metric = Metric.of(scale, mean, forms)
            normals.append(Normal(mean, metric.weights, metric.unit))
            forms = forms.diagonal()
        else:
            forms = 1.0 / (deviation * steps)
            normals.append(Normal(mean, forms, np.ones(len(mean))))
        peak.append(np.log(forms * scale.grid).sum())
    return Mixture(tuple(normals), share, np.array(peak))


def _turn(state: State) -> int:
    return int(state["gaussian_mixture/turn"][0]) if "gaussian_mixture/turn" in state else 0


def _shape(state: State) -> tuple[int]:
    """Return the shape of a component's second moments: a triangle, or its diagonal."""
    d = int(state["features"][0])
    return (d * (d + 1) // 2 if state.params["covariance"] == "full" and d <= WIDEST else d,)


def _add(out: dict[str, Integers], parts: Floats, rows: Floats) -> None:
    """Add rows by their parts; whole numbers whose sums stay below 2^50, so exact in any order."""
    d = rows.shape[1]
    out["counts"] += parts.sum(axis=0).astype(np.int64)
    out["sums"] += (parts.T @ rows).astype(np.int64)
    if out["products"].shape[1] == d:
        out["products"] += (parts.T @ np.square(rows)).astype(np.int64)
        return
    triangle = np.triu_indices(d)
    for component, part in enumerate(parts.T):
        out["products"][component] += ((rows * part[:, None]).T @ rows)[triangle].astype(np.int64)


def _products(state: State) -> Integers:
    """Return the second moments as matrices, or their diagonals."""
    opened, d = state["gaussian_mixture/products"], int(state["features"][0])
    if opened.shape[1] == d:
        return opened.copy()
    upper, right = np.triu_indices(d)
    out = np.empty((len(opened), d, d), dtype=np.int64)
    out[:, upper, right] = out[:, right, upper] = opened
    return out


def _outer(left: npt.NDArray[Any], right: npt.NDArray[Any], full: bool) -> npt.NDArray[Any]:
    return left[:, :, None] * right[:, None, :] if full else left * right


def _over(values: npt.NDArray[Any], full: bool) -> npt.NDArray[Any]:
    """Return one number a component, shaped to multiply its second moments."""
    return values[:, None, None] if full else values[:, None]
