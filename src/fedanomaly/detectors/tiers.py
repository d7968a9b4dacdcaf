"""Labelled rows in the order of their scores: tiers of equal score, and resamplings of the rows.

Every figure follows from the tiers, the highest first, each with so many
anomalies and normal rows. Exact scores make tiers of one score; a histogram
makes tiers of one cell, in which the order is not known, and every figure then
lies between what the worst and the best order would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from fedanomaly.errors import ShapeError
from fedanomaly.types import Floats, Integers

CHUNK = 1 << 21
"""Entries of one array of weights."""


@dataclass(frozen=True, eq=False)
class Tiers:
    """Rows by score, the highest tier first; a second axis holds resamplings of the rows.

    Parameters
    ----------
    anomalies, normal : float64 arrays of shape (n_tiers, ...)
        Rows in every tier; tiers without an anomaly may be left out.
    anomalies_above, normal_above : float64 arrays of the same shape
        Rows in all higher tiers.
    all_anomalies, all_normal : float or float64 array
        Rows altogether.
    """

    anomalies: Floats
    normal: Floats
    anomalies_above: Floats
    normal_above: Floats
    all_anomalies: float
    all_normal: float

    @classmethod
    def of_counts(cls, anomalies: Integers, normal: Integers) -> Tiers:
        """Return the tiers of two histograms on the same cells, the lowest cell first."""
        of_anomalies, of_normal = (counts[::-1].astype(np.float64) for counts in (anomalies, normal))
        return cls(
            of_anomalies,
            of_normal,
            np.cumsum(of_anomalies) - of_anomalies,
            np.cumsum(of_normal) - of_normal,
            float(of_anomalies.sum()),
            float(of_normal.sum()),
        )

    def auroc(self, ties: float = 0.5) -> Floats:
        """Return the area under the ROC curve; `ties` is what a pair of one tier counts."""
        below = self.all_normal - self.normal_above - self.normal
        return (self.anomalies * (below + ties * self.normal)).sum(axis=0) / (self.all_anomalies * self.all_normal)

    def average_precision(self) -> Floats:
        """Return the average precision; rows of one tier are taken together, as scikit-learn does."""
        anomalies = self.anomalies_above + self.anomalies
        taken = anomalies + self.normal_above + self.normal
        return _sum_of(self.anomalies, anomalies, taken) / self.all_anomalies

    def average_precision_bounds(self) -> tuple[Floats, Floats]:
        """Return the least and the greatest average precision that any order within the tiers gives.

        At worst the normal rows of a tier come first, and then one anomaly after
        the other: a sum of ``1 - m / (m + i)`` over the anomalies i so far, m being
        the normal rows so far, which the digamma function has in closed form. At
        best all its anomalies come first and together.
        """
        first, last = self.anomalies_above, self.anomalies_above + self.anomalies
        before, after = self.normal_above, self.normal_above + self.normal
        lost = np.where(self.anomalies > 0, after * (digamma(last + after + 1.0) - digamma(first + after + 1.0)), 0.0)
        worst = np.maximum(self.anomalies - lost, 0.0).sum(axis=0)
        return worst / self.all_anomalies, _sum_of(self.anomalies, last, last + before) / self.all_anomalies

    def caught(self, alerts: float) -> Floats:
        """Return the expected number of anomalies among so many alerts, rows of one tier drawn by lot."""
        size = self.anomalies + self.normal
        left = np.clip(alerts - self.anomalies_above - self.normal_above, 0.0, size)
        return _sum_of(self.anomalies, left, size)

    def caught_bounds(self, alerts: float) -> tuple[Floats, Floats]:
        """Return the fewest and the most anomalies that so many alerts may hold."""
        left = np.clip(alerts - self.anomalies_above - self.normal_above, 0.0, self.anomalies + self.normal)
        fewest = np.maximum(left - self.normal, 0.0)
        return fewest.sum(axis=0), np.minimum(left, self.anomalies).sum(axis=0)


class Ranking:
    """The order of labelled rows under one detector's scores.

    Parameters
    ----------
    scores : float64 array of shape (n_samples,)
        High is anomalous.
    labels : int64 array of shape (n_samples,)
        0 is normal, anything else an anomaly.

    Raises
    ------
    ShapeError
        If there is not one label for every score.
    """

    def __init__(self, scores: Floats, labels: Integers) -> None:
        if scores.shape != labels.shape or scores.ndim != 1:
            raise ShapeError(f"{labels.size} labels for {scores.size} scores")
        truth = labels != 0
        self._anomalies, self._normal = (
            np.flatnonzero(wanted)[np.argsort(-scores[wanted], kind="stable")] for wanted in (truth, ~truth)
        )
        falling = -scores[self._anomalies]
        _, starts = np.unique(falling, return_index=True)
        self._starts = starts
        normal = -scores[self._normal]
        self._above = np.searchsorted(normal, falling[starts], side="left")
        self._upto = np.searchsorted(normal, falling[starts], side="right")

    def tiers(self, weights: Floats) -> Tiers:
        """Return the tiers that hold anomalies, each row counted as often as its weight says.

        Parameters
        ----------
        weights : float64 array of shape (n_samples, n_resamplings)
            How often every row was drawn; the sum over each class is the same in every column.
        """
        of_anomalies = weights[self._anomalies]
        counted = np.add.reduceat(of_anomalies, self._starts, axis=0)
        normal = np.zeros((len(self._normal) + 1, weights.shape[1]))
        np.cumsum(weights[self._normal], axis=0, out=normal[1:])
        above = normal[self._above]
        return Tiers(
            counted,
            normal[self._upto] - above,
            np.cumsum(counted, axis=0) - counted,
            above,
            float(counted[:, 0].sum()),
            float(normal[-1, 0]),
        )

    def figures(self, weights: Floats, alerts: int) -> Floats:
        """Return AUROC, average precision, precision and recall of every resampling.

        Returns
        -------
        float64 array of shape (4, n_resamplings)
        """
        tiers = self.tiers(weights)
        caught = tiers.caught(alerts)
        return np.stack([tiers.auroc(), tiers.average_precision(), caught / alerts, caught / tiers.all_anomalies])


def resamplings(labels: Integers, count: int, seed: int) -> Iterator[Floats]:
    """Yield stratified bootstrap weights, as many columns at a time as fit a bounded memory.

    Parameters
    ----------
    labels : int64 array of shape (n_samples,)
        Rows of each class are drawn, with replacement, from that class.
    count : int
        Resamplings altogether.
    seed : int
        The same seed gives the same weights.

    Yields
    ------
    float64 array of shape (n_samples, n_columns)
    """
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels != 0), np.flatnonzero(labels == 0)]
    most = max(1, CHUNK // max(1, len(labels)))
    for start in range(0, count, most):
        columns = min(most, count - start)
        weights = np.zeros((len(labels), columns))
        for rows in classes:
            drawn = rng.integers(len(rows), size=(len(rows), columns)) * columns + np.arange(columns)
            times = np.bincount(drawn.ravel(), minlength=len(rows) * columns)
            weights[rows] = times.reshape(len(rows), columns)
        yield weights


def _sum_of(weights: Floats, part: Floats, whole: Floats) -> Floats:
    """Return the sum of ``weights * part / whole``; a tier without rows adds nothing."""
    return (weights * np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)).sum(axis=0)
