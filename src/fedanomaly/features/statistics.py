"""Statistics of windows over rows that are sorted by entity and time: no loop over rows.

Every statistic is made of whole numbers, or is one of the values, so that it
does not depend on where a table was divided into batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.features.window import DISTINCT, Window
from fedanomaly.types import Floats, Integers

MOST_VALUE = 2.0**60
"""A value beyond is taken for this."""
_HIGH = 2.0**16
_LOW = 2.0**20
_LOW_BITS = 36
"""A value is high 2^16 + low 2^-20 with 36 bits of low: sums of each stay exact for 2^27 rows."""
NOTHING = np.iinfo(np.int64).min
"""The code of a missing text."""


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Rows in the order of their entity and, within one, as they came.

    Parameters
    ----------
    entities : int64 array of shape (n_rows,)
        0, 0, …, 1, …
    times : int64 array of shape (n_rows,)
        In microseconds; rising within an entity.
    values : float64 array of shape (n_rows,)
        NaN where missing.
    codes : int64 array of shape (n_columns, n_rows)
        Of the texts to count; `NOTHING` where missing.
    """

    entities: Integers
    times: Integers
    values: Floats
    codes: Integers


def statistics_of(window: Window, rows: Sorted, asked: Integers) -> Floats:
    """Return the features of some rows.

    Parameters
    ----------
    window : Window
        Which.
    rows : Sorted
        All rows that any of these windows sees.
    asked : int64 array of shape (n_asked,)
        Places of the rows that features are wanted of, rising.

    Returns
    -------
    float64 array of shape (n_asked, n_features)
        In the order of ``window.feature_names``.
    """
    values = np.clip(rows.values, -MOST_VALUE, MOST_VALUE)
    sums = _Sums(values) if window.value is not None else None
    # Different texts are counted along all rows, everything else where it is asked.
    bounds = _bounds(window, rows, np.arange(len(values)) if window.others else asked)
    out = np.empty((len(asked), len(window.measures)))
    for column, (statistic, span) in enumerate(window.measures):
        first, end = bounds[span]
        if statistic.startswith(DISTINCT):
            codes = rows.codes[window.others.index(statistic.removeprefix(DISTINCT))]
            out[:, column] = _distinct(rows.entities, codes, first, end)[asked]
            continue
        if window.others:
            first, end = first[asked], end[asked]
        if statistic == "count":
            out[:, column] = end - first
        elif statistic == "since_last":
            last = end - 1 if window.delay_us else end - 2
            since = (rows.times[asked] - rows.times[np.maximum(last, 0)]) / 1e6
            out[:, column] = np.where(last >= first, since, np.nan)
        elif statistic == "max":
            out[:, column] = _largest(values, first, end)
        elif sums is not None:
            out[:, column] = sums.of(statistic, values[asked], first, end)
    return out


def _bounds(window: Window, rows: Sorted, at: Integers) -> list[tuple[Integers, Integers]]:
    """Return the first place of the window of each row at `at`, and the one behind its last, for every span."""
    # A time is replaced by its rank among all: entity and rank fit one sortable number.
    ranks = np.sort(rows.times)
    offsets = rows.entities * (len(ranks) + 1)
    keys = offsets + np.searchsorted(ranks, rows.times)
    offsets, times = offsets[at], rows.times[at]

    def places(back_us: int) -> Integers:
        """Return the first place of the entity with a time later than so long ago."""
        return np.searchsorted(keys, offsets + np.searchsorted(ranks, times - back_us, side="right"))

    end = places(window.delay_us) if window.delay_us else at + 1
    return [(places(window.delay_us + span), end) for span in window.spans_us]


class _Sums:
    """Sums of any range of values, exact in units of 2^-20."""

    def __init__(self, values: Floats) -> None:
        there = ~np.isnan(values)
        known = np.where(there, values, 0.0)
        high = np.floor(known / _HIGH)
        low = np.rint((known - high * _HIGH) * _LOW)
        self._count, self._high, self._low = (_running(part) for part in (there, high, low))

    def of(self, statistic: str, values: Floats, first: Integers, end: Integers) -> Floats:
        """Return the sum, mean or ratio of every range; NaN if it has no value, or the mean is 0."""
        low = self._low[end] - self._low[first]
        high = self._high[end] - self._high[first] + (low >> _LOW_BITS)
        total = high * _HIGH + (low & ((1 << _LOW_BITS) - 1)) / _LOW
        if statistic == "sum":
            return total
        count = self._count[end] - self._count[first]
        mean = _quotient(total, count)
        return mean if statistic == "mean" else _quotient(values, mean)


def _running(values: npt.NDArray[np.generic]) -> Integers:
    # Whole numbers of 64 bits wrap, and a difference is right as long as the sum of its range fits.
    return np.concatenate([[0], np.cumsum(values.astype(np.int64))])


def _quotient(above: Floats, below: npt.NDArray[np.generic]) -> Floats:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


def _largest(values: Floats, first: Integers, end: Integers) -> Floats:
    """Return the largest value of every range; NaN if it has none.

    Two ranges of a power of two cover each range; one power after the other.
    """
    best = np.where(np.isnan(values), -np.inf, values)
    out = np.full(len(first), -np.inf)
    lengths = end - first
    power = 1
    while True:
        mine = np.flatnonzero((lengths >= power) & (lengths < 2 * power))
        out[mine] = np.maximum(best[first[mine]], best[end[mine] - power])
        if not (lengths >= 2 * power).any():
            return np.where(np.isinf(out), np.nan, out)
        best = np.maximum(best[:-power], best[power:])
        power *= 2


def _distinct(entities: Integers, codes: Integers, first: Integers, end: Integers) -> Floats:
    """Return the number of different codes in every range.

    Ranges move on from row to row, so a place counts for the rows from where it
    enters to where it leaves, or to where the same code enters again.
    """
    n = len(codes)
    places = np.arange(n)
    enters = np.append(np.searchsorted(end, places, side="right"), n)
    leaves = np.searchsorted(first, places, side="right")
    order = np.lexsort((places, codes, entities))
    same = (np.diff(codes[order]) == 0) & (np.diff(entities[order]) == 0)
    again = np.full(n, n)
    again[order[:-1][same]] = order[1:][same]
    until = np.minimum(leaves, enters[again])
    counts = (codes != NOTHING) & (enters[:-1] < until)
    steps = np.bincount(enters[:-1][counts], minlength=n + 1) - np.bincount(until[counts], minlength=n + 1)
    return np.cumsum(steps)[:n].astype(np.float64)
