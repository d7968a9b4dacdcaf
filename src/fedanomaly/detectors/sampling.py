"""Some rows out of many: the same ones whenever the same rows come, in whatever order.

Two sums over different samples of the same rows would subtract to the rows in
between. So which rows are taken follows from the rows alone, and from nothing
that can be drawn anew.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors.draw import Draw
from fedanomaly.errors import DataError
from fedanomaly.types import Floats, Integers

CHUNK_CELLS = 1 << 20
_MISSING = np.float64(np.nan).view(np.uint64)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Multipliers of splitmix64 (Steele, Lea and Flood 2014)."""


def sample(rows: Floats, most: int) -> Integers:
    """Return which rows to take, in their order.

    Parameters
    ----------
    rows : float64 array of shape (n_samples, n_features)
        NaN is a missing reading.
    most : int
        How many, at least 1; all, if there are not more.

    Returns
    -------
    int64 array of shape (min(n_samples, most),)
        Rising. Every row has the same chance; copies of a row have one chance together.

    Raises
    ------
    DataError
        If `most` is below 1.
    """
    if most < 1:
        raise DataError(f"a sample of {most} rows is none", hint="choose at least 1")
    return first_by(places_of(rows), most)


def first_by(places: npt.NDArray[np.uint64], most: int) -> Integers:
    """Return, rising, which rows have the least places; all, if there are not more than `most`."""
    if len(places) <= most:
        return np.arange(len(places))
    # Of equal rows it does not matter which one is taken.
    return np.sort(np.argsort(places, kind="stable")[:most])


def places_of(rows: Floats, seed: int = 0) -> npt.NDArray[np.uint64]:
    """Return a word for every row, as if drawn at random; equal rows have equal words."""
    keys = np.frombuffer(Draw("sampled rows", seed).bytes(8 * rows.shape[1]), "<u8")
    out = np.empty(len(rows), dtype=np.uint64)
    size = max(CHUNK_CELLS // max(rows.shape[1], 1), 1)
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size] + 0.0  # -0.0 becomes 0.0
        words = np.where(np.isnan(chunk), _MISSING, chunk.view(np.uint64))
        out[start : start + size] = _mixed(_mixed(words + keys).sum(axis=1, dtype=np.uint64))
    return out


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for shift, factor in zip((30, 27), _MIX, strict=True):
        words = (words ^ (words >> np.uint64(shift))) * factor
    return words ^ (words >> np.uint64(31))
