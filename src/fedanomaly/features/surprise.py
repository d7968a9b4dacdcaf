"""How surprising a level is, given the rows before: a causal count in bounded memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fedanomaly.features.kinds import buckets_of
from fedanomaly.types import Floats, Integers


class Surprise:
    """Counts levels as rows come, in a table of hashed counters.

    The surprise at a row is -log((c + 1) / (n + buckets)): n rows with a level
    came before it, c of them with a level of the same bucket. Two levels that
    share a bucket count together, so a rare one may look less rare, never rarer.

    Parameters
    ----------
    buckets : int
        Number of counters.
    """

    def __init__(self, buckets: int) -> None:
        self._counts = np.zeros(buckets, dtype=np.int64)

    def encode(self, levels: pa.Array) -> Floats:
        """Return the surprise at every row in nats, high = rare; NaN where the level is missing, and count the rows.

        Parameters
        ----------
        levels : Arrow array of text
            Levels, in the order in which rows came.

        Returns
        -------
        float64 array of shape (n_rows,)
            At least 0.
        """
        buckets = buckets_of(levels, len(self._counts))
        there = buckets >= 0
        known = buckets[there]
        before = int(self._counts.sum()) + np.arange(len(known))
        odds = (before + len(self._counts)) / (self._counts[known] + _earlier(known) + 1)
        out = np.full(len(buckets), np.nan)
        out[there] = np.log(odds)
        self._counts += np.bincount(known, minlength=len(self._counts))
        return out


def _earlier(values: Integers) -> Integers:
    """Return how often each value stands before its own place."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered)
    out = np.empty(len(values), dtype=np.int64)
    out[order] = np.arange(len(values)) - first
    return out
