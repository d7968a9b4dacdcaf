"""Robust scaling without declared ranges, as steps that are sums.

Rows are counted first. Then the
quartiles of every column are searched in histograms. The rows come out as small
whole numbers, so that whatever is summed of them afterwards is exact.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors.cells import EVERYWHERE, Cells, histogram_of, histograms, key, keys, number, numbers
from fedanomaly.detectors.columns import Columns
from fedanomaly.detectors.fading import Renewable
from fedanomaly.errors import DataError
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

MAX_ROWS = (1 << 32) - 1
CELLS = 512
REFINEMENTS = 4
QUARTILES = 1.349
"""Interquartile range of a standard normal."""
LINEAR = 5.0
LIMIT = 64.0
CHUNK = 1024
BLOCK_COLUMNS, BLOCK_ROWS = 8, 8192
"""What is put into histograms at a time: keys that stay in a core's cache."""


@dataclass(frozen=True, eq=False)
class Scale:
    """How raw readings become whole numbers.

    Parameters
    ----------
    center : float64 array of shape (n_features,)
        Median of every column, in its unit; stands in for missing readings.
    width : float64 array of shape (n_features,)
        Robust standard deviation; 0 marks a column that does not vary and has
        no weight.
    grid : int
        Steps to one `width`.
    """

    center: Floats
    width: Floats
    grid: int

    @property
    def limit(self) -> int:
        """Largest magnitude of a standardised reading."""
        return int(LIMIT) * self.grid

    @property
    def usual(self) -> float:
        """Up to so many widths from the median a reading keeps its distance."""
        return LINEAR

    def standardise(self, X: Floats) -> Floats:
        """Return whole numbers, held as floats for the sake of matrix products.

        Up to 5 widths from the median a reading keeps its distance; beyond, the
        distance grows with its logarithm, up to 64 widths, so that no single
        reading rules a sum, and farther still scores higher.

        Parameters
        ----------
        X : float64 array of shape (n_samples, n_features)
            Raw readings; NaN is a missing one.

        Returns
        -------
        float64 array of shape (n_samples, n_features)
            In steps of ``width / grid``, at most `limit` from 0.
        """
        live = self.width > 0
        with np.errstate(over="ignore"):
            z = X - self.center
            z /= np.where(live, self.width, 1.0)
        if not live.all():
            z[:, ~live] = 0.0
        # Usual readings are done with after two comparisons, which NaN fails as well.
        if not (z.max(initial=0.0) <= LINEAR and z.min(initial=0.0) >= -LINEAR):
            np.copyto(z, 0.0, where=np.isnan(z))
            far = np.abs(z) > LINEAR
            distance = np.minimum(np.abs(z[far]), np.finfo(np.float64).max)
            z[far] = np.copysign(np.minimum(LINEAR * (1.0 + np.log(distance / LINEAR)), LIMIT), z[far])
        z *= self.grid
        return np.rint(z, out=z)

    def readings(self, X: Floats) -> Floats:
        """Return `standardise` in robust deviations: at most 64 from 0."""
        out = np.empty(X.shape)
        at = 0
        for rows in self.chunks(X):
            np.multiply(rows, 1.0 / self.grid, out=out[at : at + len(rows)])
            at += len(rows)
        return out

    def chunks(self, X: Floats) -> Iterator[Floats]:
        """Yield `standardise` of a thousand rows at a time, so that memory stays flat."""
        for start in range(0, len(X), CHUNK):
            yield self.standardise(X[start : start + CHUNK])


class Counting(Renewable):
    """Step ``rows/all``: how many rows there are; first of all, so that later fields have narrow bounds."""

    prefix = "rows"
    summed = ("rows",)

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "rows" in state:
            return None
        return Step(name="rows/all", fields=(FieldSpec(name="rows", shape=(1,), lower=0, upper=MAX_ROWS),))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:  # noqa: ARG002 - one step only
        """Return this member's row count."""
        if len(X) > MAX_ROWS:
            raise DataError(f"a member may bring at most {MAX_ROWS} rows to one job")
        return {"rows": np.array([len(X)], dtype=np.int64)}

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - one step only
        """Keep the number of rows."""
        if total["rows"][0] < 1:
            raise DataError("no member has a row to train on", hint="add rows at one member at least")
        return state.with_arrays(rows=total["rows"])


class Scaling(Renewable):
    """Steps ``scale/0`` (everywhere) and ``scale/1`` to ``scale/4`` (finer).

    The search stops once the cells of a column's quartiles are fine against
    their distance. Opened numbers alone decide it, so all members agree.
    """

    prefix = "scale"

    def next_step(self, state: State) -> Step | None:
        """Return the next step of the search, or None when every column has its scale."""
        if "scale/center" in state:
            return None
        turn = _turn(state)
        shape = (
            (int(state["features"][0]), len(EVERYWHERE) - 1)
            if turn == 0
            else (len(_columns(state).open_columns()), CELLS)
        )
        counts = FieldSpec(name="counts", shape=shape, lower=0, upper=most_rows(state))
        return Step(name=f"scale/{turn}", fields=(counts,))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return this member's histograms."""
        (field,) = step.fields
        counts = np.zeros(field.shape, dtype=np.int64)
        if step.name == "scale/0":
            for at, block in _blocks(X, list(range(len(counts)))):
                counts[at] += histograms(block)
            return {"counts": counts}
        finer = _columns(state).split(CELLS)
        splits = finer.lists()
        for at, block in _blocks(X, finer.columns.tolist()):
            for column, split, values in zip(counts[at], splits[at], block, strict=True):
                column[: len(split)] += histogram_of(values, split)
        return {"counts": counts}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Add the opened counts; once fine enough, keep centre and width only."""
        if step.name == "scale/0":
            columns = Columns.everywhere(total["counts"])
        else:
            finer = _columns(state).split(CELLS)
            columns = _columns(state).refined(finer, total["counts"][finer.used(CELLS)])
        kept = {name: array for name, array in state.arrays.items() if not name.startswith("scale/")}
        turn = _turn(state) + 1
        arrays = {
            "scale/turn": np.array([turn]),
            "scale/cells": columns.sizes,
            "scale/edges": columns.edges,
            "scale/counts": columns.counts,
        }
        if turn > REFINEMENTS or not len(columns.coarse()):
            cells = columns.cells()
            scales = [_scale(column) for column in cells]
            arrays = {
                "scale/center": np.array([center for center, _ in scales]),
                "scale/width": np.array([key(width) for _, width in scales]),
                "scale/present": np.array([column.total for column in cells]),
            }
        return State(state.detector, state.version, state.params, {**kept, **arrays})

    def reopened(self, state: State) -> State:
        """Return the state in which the scale stays, and the grids that follow from its rows."""
        return state if "scale/rows" in state else state.with_arrays(**{"scale/rows": state["rows"]})


def rows_of(state: State) -> int:
    """Return the opened number of rows of all members."""
    return int(state["rows"][0])


def most_rows(state: State) -> int:
    """Return a bound on the rows of one member."""
    return min(rows_of(state), MAX_ROWS)


def layout_rows(state: State) -> int:
    """Return the opened number of rows that grids follow from: once refreshed, others than `rows_of`."""
    return int(state["scale/rows"][0]) if "scale/rows" in state else rows_of(state)


def scale_of(state: State) -> Scale:
    """Return the learnt scale.

    Notes
    -----
    The grid follows from the row count: a member's sum of products of two
    standardised readings stays below 2^50; with its sign that leaves 9 bits for
    members in a field of 60.
    """
    spare = (50 - min(layout_rows(state), MAX_ROWS).bit_length()) // 2 - int(LIMIT).bit_length() + 1
    grid = 1 << min(max(spare, 0), 8)
    return Scale(numbers(state["scale/center"]), numbers(state["scale/width"]), grid)


def _blocks(X: Floats, columns: Sequence[int]) -> Iterator[tuple[slice, Integers]]:
    """Yield which of the columns, and keys of some rows, a column in each row of the block.

    A missing reading has a key beyond those of all numbers, so no cell counts it.
    """
    for first in range(0, len(columns), BLOCK_COLUMNS):
        at = slice(first, first + BLOCK_COLUMNS)
        for start in range(0, len(X), BLOCK_ROWS):
            yield at, keys(X[start : start + BLOCK_ROWS].T[columns[at]])


def _turn(state: State) -> int:
    return int(state["scale/turn"][0]) if "scale/turn" in state else 0


def _columns(state: State) -> Columns:
    return Columns(state["scale/cells"], state["scale/edges"], state["scale/counts"])


def _quartiles(cells: Cells) -> list[tuple[int, int]]:
    return [cells.locate((cells.total - 1) * quarter // 4) for quarter in (1, 2, 3)]


def _scale(cells: Cells) -> tuple[int, float]:
    """Return the key of the median, and the width.

    Where half of the readings or more share one cell, the width is what a
    binary column suggests: the standard deviation sqrt(p) |x - median| of rare
    readings at their median distance, p being their share.
    """
    if not cells.total:
        return key(0.0), 0.0
    (first, low), (middle, center), (third, high) = _quartiles(cells)
    if first != third:
        return center, min((number(high) - number(low)) / QUARTILES, float(np.finfo(np.float64).max))
    away = cells.counts.copy()
    away[middle] = 0
    if not away.any():
        return center, 0.0
    heads, tails = numbers(cells.edges[:-1]), numbers(np.maximum(cells.edges[1:] - 1, cells.edges[:-1]))
    with np.errstate(over="ignore"):
        distance = np.abs(heads / 2 + tails / 2 - number(center))
    order = np.argsort(distance, kind="stable")
    at = int(np.searchsorted(np.cumsum(away[order]), (int(away.sum()) + 1) // 2))
    farthest = min(float(distance[order[at]]), float(np.finfo(np.float64).max))
    return center, math.sqrt(int(away.sum()) / cells.total) * farthest
