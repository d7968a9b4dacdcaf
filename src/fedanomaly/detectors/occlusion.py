"""Shares of a score that no formula divides: what one feature alone takes away or brings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedanomaly.types import Floats

READINGS = 1 << 20
"""Readings in the rows that are scored at a time."""


def occluded(scores: Callable[[Floats], Floats], rows: Floats) -> Floats:
    """Return what every feature adds to the score of every row; each row sums to its score.

    A feature weighs what the score loses when this reading alone is set to the
    median, plus what a row of medians gains by it. The first says nothing about
    a row so far off that one feature less does not help; the second says nothing
    about readings that are odd only together.

    Parameters
    ----------
    scores : callable
        Takes scaled rows of shape (n, n_features), gives n scores, at least 0.
    rows : float64 array of shape (n_samples, n_features)
        Scaled rows: 0 is the median.

    Returns
    -------
    float64 array of shape (n_samples, n_features)
        Never negative. Equal shares where no feature weighs anything.

    Notes
    -----
    Costs two scores for every reading that is not the median.
    """
    whole = scores(rows)
    plain = scores(np.zeros((1, rows.shape[1])))[0]
    weight = np.zeros(rows.shape)
    row, feature = np.nonzero(rows)
    many = max(READINGS // rows.shape[1], 1)
    for start in range(0, len(row), many):
        at, which = row[start : start + many], feature[start : start + many]
        each = np.arange(len(at))
        without = rows[at]
        without[each, which] = 0.0
        alone = np.zeros(without.shape)
        alone[each, which] = rows[at, which]
        weight[at, which] = np.maximum(whole[at] - scores(without), 0.0) + np.maximum(scores(alone) - plain, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    known = total > 0
    return whole[:, None] * np.where(known, weight / np.where(known, total, 1.0), 1.0 / rows.shape[1])
