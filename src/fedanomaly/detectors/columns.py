"""The histograms of many columns at once, each on its own partition of the key line.

Columns have different numbers of cells, so their arrays lie one after the other;
what `Cells` does for one column is done here for all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors.cells import EVERYWHERE, Cells, numbers
from fedanomaly.types import Floats, Integers

FINE = 16.0
"""A quartile's cell is fine once that many of them fit between the quartiles."""


@dataclass(frozen=True, eq=False)
class Finer:
    """Cells that replace coarse ones.

    Parameters
    ----------
    replaced : int64 array of shape (n_replaced,)
        Which cells go, counted over all columns; rising.
    pieces : int64 array of shape (n_replaced,)
        Finer cells for each of them.
    columns : int64 array of shape (n_open,)
        Columns that have such cells; rising.
    sizes : int64 array of shape (n_open,)
        Finer cells of each of these.
    edges : int64 array of shape (n_finer, 2)
        Lower and upper edge of every finer cell, one column after the other.
    """

    replaced: Integers
    pieces: Integers
    columns: Integers
    sizes: Integers
    edges: Integers

    def lists(self) -> list[Integers]:
        """Return the edges of every open column."""
        return np.split(self.edges, np.cumsum(self.sizes)[:-1])

    def used(self, width: int) -> npt.NDArray[np.bool_]:
        """Return which of `width` counters a column are those of its finer cells: shape (n_open, width)."""
        return np.arange(width) < self.sizes[:, None]


@dataclass(frozen=True, eq=False)
class Columns:
    """One partition of the key line for every column, and the readings in its cells.

    Parameters
    ----------
    sizes : int64 array of shape (n_columns,)
        Cells of every column.
    edges : int64 array of shape (n_cells + n_columns,)
        Rising keys within a column.
    counts : int64 array of shape (n_cells,)
        Readings in every cell, summed over the members.
    """

    sizes: Integers
    edges: Integers
    counts: Integers

    @classmethod
    def everywhere(cls, counts: Integers) -> Self:
        """Return columns on the cells of `EVERYWHERE`; `counts` has shape (n_columns, n_cells)."""
        sizes = np.full(len(counts), counts.shape[1], dtype=np.int64)
        return cls(sizes, np.tile(EVERYWHERE, len(counts)), counts.ravel())

    def cells(self) -> list[Cells]:
        """Return the histogram of every column."""
        edges = np.split(self.edges, (self._ends + np.arange(1, len(self.sizes) + 1))[:-1])
        return [Cells(edge, count) for edge, count in zip(edges, np.split(self.counts, self._ends[:-1]), strict=True)]

    @cached_property
    def _ends(self) -> Integers:
        return np.cumsum(self.sizes)

    @cached_property
    def _column(self) -> Integers:
        """The column of every cell."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def coarse(self) -> Integers:
        """Return the cells of quartiles that are wide against the distance of the quartiles; rising."""
        upto = np.cumsum(self.counts)
        before = np.concatenate([[0], upto])[self._ends - self.sizes]
        totals = upto[self._ends - 1] - before
        full = np.flatnonzero(totals > 0)
        quarters = (totals[full] - 1) * np.array([[1], [2], [3]]) // 4
        found = np.searchsorted(upto, before[full] + quarters, side="right")
        inside = before[full] + quarters - (upto[found] - self.counts[found])
        low, high = self.edges[found + full], self.edges[found + full + 1]
        with np.errstate(over="ignore"):
            fine = (numbers(high) - numbers(low)) * FINE <= _interpolated(self, found, inside, full)
        wide = (high - low > 1) & ~fine
        return np.unique(found[wide])

    def open_columns(self) -> Integers:
        """Return the columns that have coarse cells; rising."""
        return np.unique(self._column[self.coarse()])

    def split(self, budget: int) -> Finer:
        """Return finer cells for all coarse ones, at most `budget` for a column."""
        replaced = self.coarse()
        column = self._column[replaced]
        own, many = np.unique(column, return_counts=True)
        low, high = self.edges[replaced + column], self.edges[replaced + column + 1]
        pieces = np.minimum(np.repeat(budget // np.maximum(many, 1), many), high - low)
        each, rest = np.divmod(high - low, pieces)
        ends = np.cumsum(pieces)
        place = np.arange(pieces.sum()) - np.repeat(ends - pieces, pieces)
        starts = np.repeat(low, pieces)
        starts += np.repeat(each, pieces) * place
        starts += np.repeat(rest, pieces) * place // np.repeat(pieces, pieces)
        stops = np.append(starts[1:], 0)
        stops[ends - 1] = high
        first = np.searchsorted(column, own)
        sizes = np.add.reduceat(pieces, first) if len(own) else pieces
        return Finer(replaced, pieces, own, sizes, np.stack([starts, stops], axis=1))

    def refined(self, finer: Finer, counts: Integers) -> Columns:
        """Return the columns in which finer cells stand for those that they replace; `counts` are theirs."""
        many = np.ones(len(self.counts), dtype=np.int64)
        many[finer.replaced] = finer.pieces
        kept = np.ones(len(many), dtype=bool)
        kept[finer.replaced] = False
        cells = np.arange(len(many))
        old = np.zeros(many.sum(), dtype=bool)
        old[(np.cumsum(many) - many)[kept]] = True
        heads, counted = np.empty((2, len(old)), dtype=np.int64)
        heads[old], heads[~old] = self.edges[(cells + self._column)[kept]], finer.edges[:, 0]
        counted[old], counted[~old] = self.counts[kept], counts
        sizes = np.add.reduceat(many, self._ends - self.sizes)
        columns = np.arange(len(sizes))
        edges = np.empty(len(heads) + len(sizes), dtype=np.int64)
        edges[np.arange(len(heads)) + np.repeat(columns, sizes)] = heads
        edges[np.cumsum(sizes) + columns] = self.edges[self._ends + columns]
        return Columns(sizes, edges, counted)


def _interpolated(columns: Columns, found: Integers, inside: Integers, full: Integers) -> Floats:
    """Return the distance of the outer quartiles of every column that has readings."""
    ends = []
    for cells, rank in zip(found[[0, 2]], inside[[0, 2]], strict=True):
        low, high = columns.edges[cells + full].tolist(), columns.edges[cells + full + 1].tolist()
        count = columns.counts[cells].tolist()
        # Python's integers: the product may need more than 63 bits. As `Cells.locate` has it.
        keys = [
            head + (tail - head) * (2 * at + 1) // (2 * many)
            for head, tail, at, many in zip(low, high, rank.tolist(), count, strict=True)
        ]
        ends.append(numbers(np.array(keys, dtype=np.int64)))
    return ends[1] - ends[0]
