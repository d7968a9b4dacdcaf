"""Polynomials of degree 4 that follow learnt densities and are never negative: sums of squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fedanomaly.types import Floats
from fedanomaly.types.circuit import LAYER_BITS, MIX_BITS, rounded

PLACES = 17
"""Where polynomials may touch 0: so many places over the range."""
MOST_TURNS = 30
BELOW = 0.1
"""What all places together weigh where the polynomial is too low, against all rows."""
ANYWHERE = 1e-9
"""What all places together weigh in any case, so that the polynomial is determined."""
SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class Quartic:
    """Some polynomials ``(a y^2 + b y + c)^2 + (d y + e)^2 + f``.

    Parameters
    ----------
    upper : float64 array of shape (n_polynomials, 3)
        a, b and c.
    lower : float64 array of shape (n_polynomials, 2)
        d and e.
    constant : float64 array of shape (n_polynomials,)
        f, at least 0.
    """

    upper: Floats
    lower: Floats
    constant: Floats

    def __call__(self, y: Floats) -> Floats:
        """Return the values, shape (n_samples, n_polynomials), at places of that shape."""
        (a, b, c), (d, e) = self.upper.T, self.lower.T
        # Each element by itself, so that a row has the same score among others.
        return np.square((a * y + b) * y + c) + np.square(d * y + e) + self.constant


def fitted(values: Floats, counts: Floats, reach: float) -> Quartic:
    """Return the polynomials that are nearest to some tables.

    Near means: in the mean square over the counted rows. Where hardly a row lies a
    polynomial may be too high, and is pulled up where it is too low, because
    otherwise it would fall again beyond the last rows.

    Parameters
    ----------
    values : float64 array of shape (n_polynomials, n_places)
        What to follow, at the middles of bins of equal width; at least 0.
    counts : float64 array of the same shape
        How many rows lie in each bin.
    reach : float
        The bins are those of ``[-reach, reach]``.

    Notes
    -----
    Polynomials of degree 4 in one variable that are never negative are sums of
    squares (Hilbert 1888): the cone over ``(v - s)^2 (v - t)^2``, ``(v - t)^2`` and
    1. It is searched with s and t on a grid, by non-negative least squares; the
    squares are then gathered into three by Cholesky's method.
    """
    bins = values.shape[1]
    middle = (2.0 * np.arange(bins) + 1.0) / bins - 1.0
    powers = np.vander(middle, 5)
    roots = _generators()
    cone = _products(roots)
    grams = []
    for value, count in zip(values, counts, strict=True):
        share = _share(value, count / max(count.sum(), 1.0), powers, cone)
        grams.append((roots * share) @ roots.T)
    upper, lower, constant = (np.array(part) for part in zip(*map(_squares, grams), strict=True))
    upper /= [reach**2, reach, 1.0]
    # As a service computes with them: what it rounds is no error then.
    upper[:, 0], upper[:, 1] = rounded(upper[:, 0], MIX_BITS), rounded(upper[:, 1], LAYER_BITS)
    return Quartic(upper, lower / [reach, 1.0], constant)


def _share(value: Floats, weight: Floats, powers: Floats, cone: Floats) -> Floats:
    """Return how much of every generator the nearest polynomial has."""
    low = np.ones(len(value), dtype=bool)
    share = np.zeros(cone.shape[1])
    for _ in range(MOST_TURNS):
        by = np.sqrt(weight + (BELOW * low + ANYWHERE) / len(value))
        orthonormal, triangle = np.linalg.qr(powers * by[:, None])
        columns = triangle @ cone
        length = np.linalg.norm(columns, axis=0)
        share = nnls(columns / length, orthonormal.T @ (value * by))[0] / length
        before, low = low, powers @ (cone @ share) < value
        if np.array_equal(before, low):
            break
    return share


def _generators() -> Floats:
    """Return coefficients of v^2, v and 1 of what is squared, shape (3, n_generators)."""
    even = np.linspace(-1.0, 1.0, PLACES)
    places = even * np.abs(even)  # denser where most rows lie
    first, second = np.triu_indices(PLACES)
    s, t = places[first], places[second]
    quadratic = np.stack([np.ones(len(s)), -(s + t), s * t])
    linear = np.stack([np.zeros(PLACES), np.ones(PLACES), -places])
    return np.hstack([quadratic, linear, [[0.0], [0.0], [1.0]]])


def _products(roots: Floats) -> Floats:
    """Return the coefficients of the squares, highest first, shape (5, n_generators)."""
    a, b, c = roots
    return np.stack([a * a, 2 * a * b, b * b + 2 * a * c, 2 * b * c, c * c])


def _squares(gram: Floats) -> tuple[Floats, Floats, float]:
    """Return the three squares that ``[v^2 v 1] gram [v^2 v 1]'`` is the sum of."""
    left, rows = gram.copy(), np.zeros((3, 3))
    least = SMALLEST * max(float(np.trace(gram)), SMALLEST)
    for at in range(3):
        if left[at, at] > least:
            rows[at] = left[at] / np.sqrt(left[at, at])
            left -= np.outer(rows[at], rows[at])
    return rows[0], rows[1, 1:], float(rows[2, 2] ** 2)
