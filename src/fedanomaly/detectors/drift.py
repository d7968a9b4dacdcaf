"""How far two sets of rows differ, from their histograms: between organisations, or over time.

A member compares its own histogram with the opened sum less its own, at home:
nothing leaves that a round has not opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from fedanomaly.errors import ShapeError
from fedanomaly.types import Floats, Integers

BANDS = 10
SHIFTED = 0.25
"""The population stability index from which on a shift is usually called significant."""
CHANCE = 0.001
"""How often a shift may be called where there is none."""
STABLE, SHIFT, UNKNOWN = "stable", "shifted", "no rows"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far one histogram is from another.

    Parameters
    ----------
    name : str
        Of what: a feature, or the score.
    psi : float
        Population stability index, at least 0; without unit. NaN without rows.
    wasserstein : float
        Wasserstein-1 distance, in the unit of the edges. NaN without rows.
    word : str
        ``"stable"``, ``"shifted"`` or ``"no rows"``.
    """

    name: str
    psi: float
    wasserstein: float
    word: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; None stands for a figure that there is not."""
        return {key: None if value != value else value for key, value in asdict(self).items()}  # noqa: PLR0124 - NaN


def psi(counts_a: Integers, counts_b: Integers, *, bands: int = BANDS) -> float:
    """Return the population stability index: the sum of ``(p - q) ln(p / q)`` over the bands.

    Parameters
    ----------
    counts_a, counts_b : int64 arrays of shape (n_cells,)
        Rows in every cell of the same edges.
    bands : int, default=10
        Neighbouring cells are taken together into so many bands of about equal
        weight: the index of many thin cells measures chance only.

    Returns
    -------
    float
        At least 0, the same for both orders; NaN if one side has no rows.

    Notes
    -----
    Half a row is added to every band, so that empty ones do not make it infinite.

    Examples
    --------
    >>> psi(np.array([50, 50]), np.array([50, 50]))
    0.0
    >>> round(psi(np.array([50, 50]), np.array([90, 10])), 2)
    0.85
    """
    if counts_a.shape != counts_b.shape or counts_a.ndim != 1:
        raise ShapeError("two histograms to compare have the same cells")
    if not (counts_a.sum() and counts_b.sum()):
        return float("nan")
    both = counts_a / counts_a.sum() + counts_b / counts_b.sum()
    # The middle of a cell's weight says where it belongs, so a heavy cell is a band of its own.
    middle = (np.cumsum(both) - both / 2) / both.sum()
    band = np.minimum((middle * bands).astype(np.int64), bands - 1)
    _, band = np.unique(band, return_inverse=True)
    p, q = (_smoothed(np.bincount(band, weights=counts)) for counts in (counts_a, counts_b))
    return float(((p - q) * np.log(p / q)).sum())


def wasserstein(edges: Floats, a: Integers, b: Integers) -> float:
    """Return the Wasserstein-1 distance: how far the rows of one side must move, on average.

    Parameters
    ----------
    edges : float64 array of shape (n_cells + 1,)
        Rising and finite.
    a, b : int64 arrays of shape (n_cells,)
        Rows in every cell.

    Returns
    -------
    float
        In the unit of `edges`, every row taken to lie in the middle of its cell;
        so off by one width of a cell at most. NaN if one side has no rows.

    Examples
    --------
    >>> wasserstein(np.array([0.0, 1.0, 2.0, 3.0]), np.array([4, 0, 0]), np.array([0, 0, 7]))
    2.0
    """
    if a.shape != b.shape or edges.shape != (len(a) + 1,):
        raise ShapeError("two histograms to compare have the same cells")
    if not (a.sum() and b.sum()):
        return float("nan")
    middle = edges[:-1] / 2 + edges[1:] / 2
    apart = np.abs(np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum())[:-1]
    return float((apart * np.diff(middle)).sum())


def drift(names: Sequence[str], edges: Floats, a: Integers, b: Integers) -> list[Drift]:
    """Return the table of how far two sets of rows differ, feature by feature.

    Parameters
    ----------
    names : sequence of str
        Of the features.
    edges : float64 array of shape (n_cells + 1,)
        The same for all features.
    a, b : int64 arrays of shape (n_features, n_cells)
        Histograms: one's own and the others', or before and now.

    Returns
    -------
    list of Drift
        One for every feature, in their order. A feature is ``"shifted"`` where the
        index is at least 0.25 and more than chance explains.
    """
    if a.shape != b.shape or len(a) != len(names):
        raise ShapeError("there is not one histogram for every name on both sides")
    return [
        _told(name, psi(left, right), wasserstein(edges, left, right), left, right)
        for name, left, right in zip(names, a, b, strict=True)
    ]


def _told(name: str, index: float, distance: float, a: Integers, b: Integers) -> Drift:
    word = UNKNOWN
    if a.sum() and b.sum():
        # Without a shift the index is about chi-squared over the harmonic size of the sides (Yurdakul 2018).
        chance = float(chi2.ppf(1 - CHANCE, BANDS - 1)) * (1 / int(a.sum()) + 1 / int(b.sum()))
        word = SHIFT if index >= max(SHIFTED, chance) else STABLE
    return Drift(name=name, psi=index, wasserstein=distance, word=word)


def _smoothed(counts: npt.NDArray[np.number]) -> Floats:
    more = counts.astype(np.float64) + 0.5
    return more / more.sum()
