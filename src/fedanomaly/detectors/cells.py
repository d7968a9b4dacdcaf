"""Quantiles from sums: histograms over the order of floating-point numbers.

The bits of a float64, read as a signed integer, sort like the number itself
(IEEE 754, section 5.10). So a partition of that integer line needs no declared
range: a first histogram of a few hundred cells covers every finite number, and
the cells that hold a wanted quantile are split again, round after round.
Everything here is integer arithmetic, hence the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.types import Floats, Integers

FLIP = np.int64(0x7FFF_FFFF_FFFF_FFFF)
BINADE = 1 << 52
"""Keys between one power of two and the next."""


def keys(values: Floats) -> Integers:
    """Return integers that sort like `values`; minus zero counts as zero.

    Parameters
    ----------
    values : float64 array of any shape
        Finite numbers.
    """
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64)
    return bits ^ ((bits >> np.int64(63)) & FLIP)


def numbers(keys: Integers) -> Floats:
    """Return the numbers of `keys`: the inverse of `keys`."""
    wanted = np.asarray(keys, dtype=np.int64)
    return (wanted ^ ((wanted >> np.int64(63)) & FLIP)).view(np.float64)


def key(value: float) -> int:
    """Return the key of one number."""
    return int(keys(np.array([value]))[0])


def number(wanted: int) -> float:
    """Return the number of one key."""
    return float(numbers(np.array([wanted], dtype=np.int64))[0])


def _everywhere() -> Integers:
    far = [-1022, -512, -256, -128, -64, -40, *range(44, 64, 4), 64, 128, 256, 512, 1023]
    edges = {key(float(np.finfo(np.float64).max)) + 1, *(key(2.0**exponent) for exponent in far)}
    for exponent in range(-24, 41):
        for mantissa in (1.0, 1.5):
            at = key(mantissa * 2.0**exponent)
            edges.add(at)
            if 0 <= exponent <= 20:
                edges.add(at + 1)
    # The key of -x is -1 - key(x), so the cell [a, b) mirrors to [-b, -a).
    return np.array(sorted({0, 1} | edges | {-edge for edge in edges}), dtype=np.int64)


EVERYWHERE = _everywhere()
"""Edges of the first histogram: half binades, and cells that hold one number
only for zero and for small whole numbers, on which real columns pile up."""


@dataclass(frozen=True, eq=False)
class Cells:
    """One column's histogram on a partition of the key line.

    Parameters
    ----------
    edges : int64 array of shape (n_cells + 1,)
        Rising keys; cell i is ``edges[i] <= key < edges[i + 1]``.
    counts : int64 array of shape (n_cells,)
        Readings in every cell, summed over the members.
    """

    edges: Integers
    counts: Integers

    @property
    def total(self) -> int:
        """Number of readings."""
        return int(self.counts.sum())

    def locate(self, rank: int) -> tuple[int, int]:
        """Return the cell of the reading at `rank` (from 0) and its key, interpolated."""
        upto = np.cumsum(self.counts)
        cell = int(np.searchsorted(upto, rank, side="right"))
        count = int(self.counts[cell])
        inside = rank - (int(upto[cell]) - count)
        low, high = int(self.edges[cell]), int(self.edges[cell + 1])
        return cell, low + (high - low) * (2 * inside + 1) // (2 * count)

    def width(self, cell: int) -> float:
        """Return the width of a cell in the unit of the column."""
        with np.errstate(over="ignore"):
            low, high = numbers(self.edges[cell : cell + 2])
            return float(high - low)

    def is_point(self, cell: int) -> bool:
        """Whether a cell holds one number only."""
        return int(self.edges[cell + 1]) - int(self.edges[cell]) <= 1

    def split(self, cells: Sequence[int], budget: int) -> Integers:
        """Return the edges of the finer cells that replace `cells`, one list after the other.

        Parameters
        ----------
        cells : sequence of int
            Distinct cells, rising; none is a point.
        budget : int
            Most finer cells, over all of `cells`.

        Returns
        -------
        int64 array of shape (n_finer, 2)
            Lower and upper edge of every finer cell.
        """
        finer = []
        for cell in cells:
            low, high = int(self.edges[cell]), int(self.edges[cell + 1])
            pieces = min(budget // len(cells), high - low)
            each, rest = divmod(high - low, pieces)
            place = np.arange(pieces + 1)
            finer.append(np.stack(_neighbours(low + each * place + rest * place // pieces), axis=1))
        return np.concatenate(finer)

    def refined(self, finer: Integers, counts: Integers) -> Cells:
        """Return the partition in which the finer cells stand for those that they cover."""
        heads, counted = self.edges[:-1], self.counts
        kept = ~np.isin(heads, finer[:, 0])
        starts = np.concatenate([heads[kept], finer[:, 0]])
        order = np.argsort(starts)
        edges = np.append(starts[order], self.edges[-1])
        return Cells(edges, np.concatenate([counted[kept], counts])[order])


def _neighbours(edges: Integers) -> tuple[Integers, Integers]:
    return edges[:-1], edges[1:]


def histogram(values: Integers, edges: Integers) -> Integers:
    """Return how many keys lie in each cell ``edges[i] <= key < edges[i + 1]``."""
    cell = np.searchsorted(edges, values, side="right")
    return np.bincount(cell, minlength=len(edges) + 1)[1:-1].astype(np.int64)


def histograms(values: Integers) -> Integers:
    """Return how many keys of every row lie in each cell of `EVERYWHERE`.

    Parameters
    ----------
    values : int64 array of shape (n_rows, n_values)
        Keys; those of no finite number are not counted.

    Returns
    -------
    int64 array of shape (n_rows, n_cells)
    """
    # Edges lie a half binade apart, but for one more between some of them: the
    # half binade of a key leaves one comparison, where bisection takes nine.
    half = values >> _HALF_BITS
    half += _HALVES // 2
    cell = np.take(_BELOW, half)
    cell += values >= np.take(_INNER, half)
    cell += (np.arange(len(values)) * (len(EVERYWHERE) + 1))[:, None]
    counts = np.bincount(cell.ravel(), minlength=len(values) * (len(EVERYWHERE) + 1))
    return counts.reshape(len(values), -1)[:, 1:-1].astype(np.int64)


def histogram_of(values: Integers, finer: Integers) -> Integers:
    """Return how many keys lie in each of the cells that `Cells.split` named."""
    counts = np.zeros(len(finer), dtype=np.int64)
    gaps = np.flatnonzero(finer[1:, 0] != finer[:-1, 1]) + 1
    # Most keys lie in no run of finer cells: bisection is for the others.
    for at, run in zip([0, *gaps], np.split(finer, gaps), strict=True):
        inside = values[(values >= run[0, 0]) & (values < run[-1, 1])]
        cell = np.searchsorted(run[:, 0], inside, side="right") - 1
        counts[at : at + len(run)] = np.bincount(cell, minlength=len(run))
    return counts


_HALF_BITS = 51
_HALVES = 1 << (64 - _HALF_BITS)


def _guide() -> tuple[Integers, Integers]:
    """Return for every half binade how many edges are at or below its first key, and the edge inside, if any."""
    first = np.arange(-_HALVES // 2, _HALVES // 2) << _HALF_BITS
    below = np.searchsorted(EVERYWHERE, first, side="right")
    return below, np.append(EVERYWHERE, np.iinfo(np.int64).max)[below]


_BELOW, _INNER = _guide()
