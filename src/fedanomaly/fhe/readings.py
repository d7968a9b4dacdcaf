"""Readings before they are encrypted: scaled as a detector scales them, in one pass of the engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import ShapeError
from fedanomaly.fhe._engine import call, ffi
from fedanomaly.types import Floats


class Standardiser:
    """Scales rows: whole steps of ``width / grid`` from the centre, as multiples of ``divisors`` widths.

    Parameters
    ----------
    center, width : float64 array of shape (n_features,)
        A width of 0 marks a feature without weight, which becomes 0.
    grid : int
        Steps to one width.
    usual : float
        Rows with a reading farther from the centre, in widths, are left to the caller.
    divisors : float64 array of shape (n_features,)
        Powers of two.
    """

    def __init__(self, center: Floats, width: Floats, *, grid: int, usual: float, divisors: Floats) -> None:
        self._center = np.ascontiguousarray(center, dtype=np.float64)
        self._width = np.where(width > 0, width, np.inf)
        self._unit = 1.0 / (grid * divisors)
        self._grid, self._usual = float(grid), usual

    def __call__(self, rows: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Scale rows.

        Parameters
        ----------
        rows : float64 array of shape (n_events, n_features)
            At least one; NaN is a missing reading.

        Returns
        -------
        float64 array of shape (n_events, n_features)
            The scaled rows; without meaning where the next is true.
        bool array of shape (n_events,)
            Rows of which a reading is missing, or farther than `usual`.
        """
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(self._center):
            raise ShapeError(f"rows of {len(self._center)} readings are scaled, not an array of shape {rows.shape}")
        scaled, far = np.empty(rows.shape), np.empty(len(rows), dtype=np.bool_)
        call(
            "fa_standardise",
            ffi.from_buffer("double[]", rows.data),
            rows.size,
            *(ffi.from_buffer("double[]", each.data) for each in (self._center, self._width, self._unit)),
            len(self._center),
            self._grid,
            self._usual,
            ffi.from_buffer("double[]", scaled.data),
            scaled.size,
            ffi.from_buffer("uint8_t[]", far.data),
            len(far),
        )
        return scaled, far
