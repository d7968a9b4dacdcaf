"""One histogram for every column, shared by all detectors that look at columns one by one.

Cells are the same for every column: they lie on the robust scale, fine near the
median and coarser far from it.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors.fading import Renewable
from fedanomaly.detectors.scaling import Scale, most_rows, scale_of
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

NEAR = 4
"""Up to so many robust deviations from the median, cells are fine: `PER_DEVIATION` to each."""
PER_DEVIATION = 16
FAR = 64
"""Cells beyond, on each side."""
RESOLUTION = 2.0**-32
"""What a cell adds to a score is a multiple of it, so that sums over features are exact in any order."""


class Marginals(Renewable):
    """Step ``marginals/counts``: a histogram of every column; missing readings are in none."""

    prefix = "marginals"
    counted = ("marginals/counts",)

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "marginals/counts" in state:
            return None
        shape = (int(state["features"][0]), Ruler.of(scale_of(state)).cells)
        return Step(
            name="marginals/counts", fields=(FieldSpec(name="counts", shape=shape, lower=0, upper=most_rows(state)),)
        )

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return the histograms of this member's rows."""
        (field,) = step.fields
        counts = np.zeros(field.size, dtype=np.int64)
        columns = np.arange(field.shape[0]) * field.shape[1]
        at = 0
        for bins in Ruler.of(scale_of(state)).chunks(X):
            present = ~np.isnan(X[at : at + len(bins)])
            counts += np.bincount((bins + columns)[present], minlength=field.size)
            at += len(bins)
        return {"counts": counts.reshape(field.shape)}

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - one step only
        """Keep the counts."""
        return state.with_arrays(**{"marginals/counts": total["counts"]})


@dataclass(frozen=True, eq=False)
class Ruler:
    """The cells of a standardised reading, symmetric about the median.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    starts : int64 array of shape (n_cells // 2,)
        Least magnitude, in steps, of every cell beyond the middle one; rising.
    """

    scale: Scale
    starts: Integers

    @classmethod
    def of(cls, scale: Scale) -> Ruler:
        """Return the cells that follow from the grid."""
        # The middle cell reaches half a cell to both sides.
        near = (2 * np.arange(1, NEAR * PER_DEVIATION + 2) - 1) * scale.grid // (2 * PER_DEVIATION)
        far = near[-1] + (scale.limit - near[-1]) * np.arange(FAR) // FAR
        # With 2^30 rows a deviation has but 8 steps, fewer than fine cells.
        return cls(scale, np.unique(np.maximum(np.concatenate([near, far]), 1)))

    @property
    def cells(self) -> int:
        """Number of cells of a column."""
        return 2 * len(self.starts) + 1

    @property
    def edges(self) -> Integers:
        """The n_cells + 1 edges, in half steps: odd, so that no reading lies on one."""
        heads = np.append(2 * self.starts - 1, 2 * self.scale.limit + 1)
        return np.concatenate([-heads[::-1], heads])

    def chunks(self, X: Floats) -> Iterator[Integers]:
        """Yield the cells of a thousand rows at a time: arrays of shape (n_rows, n_features)."""
        limit, middle = self.scale.limit, len(self.starts)
        side = np.searchsorted(self.starts, np.arange(limit + 1), side="right")
        cell = np.concatenate([middle - side[:0:-1], middle + side])
        for rows in self.scale.chunks(X):
            yield cell[rows.astype(np.int64) + limit]


@dataclass(frozen=True, eq=False)
class Histograms:
    """The opened histograms.

    Parameters
    ----------
    edges : float64 array of shape (n_cells + 1,)
        In robust deviations from the median; far ones as `Scale.standardise` draws them in.
    counts : float64 array of shape (n_features, n_cells)
        Rows in every cell; none where a column does not vary.
    """

    edges: Floats
    counts: Floats

    @classmethod
    def of(cls, state: State) -> Histograms:
        """Return the histograms of a state whose stage `Marginals` is done."""
        scale = scale_of(state)
        counts = np.where(scale.width[:, None] > 0, state["marginals/counts"], 0).astype(np.float64)
        return cls(Ruler.of(scale).edges / (2.0 * scale.grid), counts)

    @property
    def rows(self) -> Floats:
        """Readings of every column, at least 1: shape (n_features, 1)."""
        return np.maximum(self.counts.sum(axis=1, keepdims=True), 1.0)

    def upto(self, places: Floats) -> Floats:
        """Return how many readings lie below each place, spread evenly over their cell.

        Parameters
        ----------
        places : float64 array of shape (n_places,)
            In robust deviations.

        Returns
        -------
        float64 array of shape (n_features, n_places)
        """
        cell = np.clip(np.searchsorted(self.edges, places, side="right") - 1, 0, self.counts.shape[1] - 1)
        inside = np.clip((places - self.edges[cell]) / np.diff(self.edges)[cell], 0.0, 1.0)
        return (np.cumsum(self.counts, axis=1) - self.counts)[:, cell] + inside * self.counts[:, cell]

    def tails(self, reach: float) -> tuple[Floats, Floats]:
        """Return -log of the share of readings at or below every cell, and at or above it.

        Parameters
        ----------
        reach : float
            Readings up to so many robust deviations nearer to the bulk count as
            well: they are about as far out.

        Returns
        -------
        pair of float64 arrays of shape (n_features, n_cells)
            Never negative; large where few readings are as far out.
        """
        below = self.upto(self.edges[1:] + reach)
        above = self.rows - self.upto(self.edges[:-1] - reach)
        # A tail that holds no row is as rare as one that holds one row.
        left, right = (-np.log(np.clip(tail / self.rows, 1.0 / self.rows, 1.0)) for tail in (below, above))
        varies = self.counts.any(axis=1, keepdims=True)
        return left * varies, right * varies


@dataclass(frozen=True, eq=False)
class LookUp:
    """A score that is a sum over features of what their cells add.

    Parameters
    ----------
    ruler : Ruler
        Turns raw rows into cells.
    added : float64 array of shape (n_features, n_cells)
        What a reading adds to the score; at least 0.
    """

    ruler: Ruler
    added: Floats

    @classmethod
    def of(cls, state: State, added: Floats) -> LookUp:
        """Return the score for `added`, rounded to `RESOLUTION`."""
        return cls(Ruler.of(scale_of(state)), np.rint(added / RESOLUTION) * RESOLUTION)

    def scores(self, X: Floats) -> Floats:
        """Return the sum over the features."""
        out = np.empty(len(X))
        at = 0
        for shares in self._chunks(X):
            out[at : at + len(shares)] = shares.sum(axis=1)
            at += len(shares)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return what every feature adds."""
        return np.concatenate([np.empty((0, X.shape[1])), *self._chunks(X)])

    def _chunks(self, X: Floats) -> Iterator[Floats]:
        columns = np.arange(len(self.added)) * self.added.shape[1]
        for bins in self.ruler.chunks(X):
            yield np.take(self.added.ravel(), bins + columns)
