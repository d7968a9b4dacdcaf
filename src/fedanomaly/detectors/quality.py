"""How well scores find labelled anomalies: figures, each with how far it may be off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fedanomaly.detectors.tiers import Tiers
from fedanomaly.errors import DataError, ShapeError
from fedanomaly.types import Floats, Integers

ALERT_BUDGET = 0.005
"""Share of the rows that somebody can look at, unless told otherwise."""
BANDS = (0.5, 0.9, 0.99, 0.995, 0.999)
"""Where the bands of the calibration table meet: shares of the rows that score lower."""


@dataclass(frozen=True)
class Figure:
    """A number that may be known to within a bound only.

    Parameters
    ----------
    value : float
        The middle of what is possible.
    bound : float, default=0.0
        The exact figure is at most that far from `value`.
    """

    value: float
    bound: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Band:
    """One line of a calibration table: rows between two quantiles of the score.

    Parameters
    ----------
    above, upto : float
        Shares of all labelled rows that score lower, where the band begins and ends.
    rows : int
        Labelled rows in the band.
    share : Figure
        Share of them that are anomalies.
    """

    above: float
    upto: float
    rows: int
    share: Figure


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well scores find labelled anomalies; None where one class is missing.

    Parameters
    ----------
    auroc : Figure or None
        Area under the ROC curve: how often an anomaly scores above a normal row.
    average_precision : Figure or None
        Precision, averaged over the anomalies; chance gives their share.
    precision, recall : Figure or None
        Among the `alerts` highest rows: share that are anomalies, and share of
        all anomalies that are there.
    budget : float
        Share of the rows that are alerts.
    alerts, rows, anomalies : int
        Alerts, labelled rows, anomalies among them.
    calibration : tuple of Band
        Share of anomalies by quantile of the score, lowest first.
    """

    auroc: Figure | None
    average_precision: Figure | None
    precision: Figure | None
    recall: Figure | None
    budget: float
    alerts: int
    rows: int
    anomalies: int
    calibration: tuple[Band, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "calibration": [asdict(band) for band in self.calibration]}


def quality_of(scores: Floats, labels: Integers, *, budget: float = ALERT_BUDGET) -> Quality:
    """Return the exact figures of scores.

    Parameters
    ----------
    scores : float64 array of shape (n_samples,)
        High is anomalous.
    labels : int64 array of shape (n_samples,)
        0 is normal, anything else an anomaly.
    budget : float, default=0.005
        Share of the rows that somebody can look at.
    """
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ShapeError(f"{labels.size} labels for {scores.size} scores")
    _, tier = np.unique(scores, return_inverse=True)
    cells = int(tier.max(initial=-1)) + 1
    truth = labels != 0
    anomalies, normal = (np.bincount(tier[wanted], minlength=cells) for wanted in (truth, ~truth))
    return _quality(Tiers.of_counts(anomalies, normal), budget, exact=True)


def quality_of_counts(anomalies: Integers, normal: Integers, *, budget: float = ALERT_BUDGET) -> Quality:
    """Return the figures of two score histograms, with the bound that the cells cause.

    Parameters
    ----------
    anomalies, normal : int64 arrays of shape (n_cells,)
        Rows in every cell of the same edges, the lowest cell first.
    budget : float, default=0.005
        Share of the rows that somebody can look at.

    Examples
    --------
    >>> found = quality_of_counts(np.array([0, 1, 3]), np.array([90, 5, 1]), budget=0.04)
    >>> round(found.auroc.value, 3), round(found.auroc.bound, 3)
    (0.987, 0.01)
    """
    return _quality(Tiers.of_counts(anomalies, normal), budget, exact=False)


def alerts_of(budget: float, rows: int) -> int:
    """Return how many of so many rows an alert budget lets somebody look at; one at least."""
    if not 0.0 < budget <= 1.0:
        raise DataError("an alert budget is a share of the rows, in (0, 1]")
    return max(1, round(budget * rows))


def _quality(tiers: Tiers, budget: float, *, exact: bool) -> Quality:
    rows, anomalies = int(tiers.all_anomalies + tiers.all_normal), int(tiers.all_anomalies)
    alerts = alerts_of(budget, rows)
    told: dict[str, Figure | None] = dict.fromkeys(("auroc", "average_precision", "precision", "recall"))
    if 0 < anomalies < rows:
        least, most = tiers.average_precision_bounds()
        precise = Figure(float(tiers.average_precision())) if exact else _between(least, most)
        caught = tiers.caught(alerts)
        fewest, highest = (caught, caught) if exact else tiers.caught_bounds(alerts)
        told = {
            "auroc": Figure(float(tiers.auroc())) if exact else _between(tiers.auroc(0.0), tiers.auroc(1.0)),
            "average_precision": precise,
            "precision": _between(fewest / alerts, highest / alerts),
            "recall": _between(fewest / anomalies, highest / anomalies),
        }
    return Quality(
        **told,
        budget=budget,
        alerts=alerts,
        rows=rows,
        anomalies=anomalies,
        calibration=tuple(_bands(tiers, rows, exact=exact)),
    )


def _bands(tiers: Tiers, rows: int, *, exact: bool) -> Iterator[Band]:
    above, more = 0.0, rows
    for upto in (*BANDS, 1.0):
        fewer = rows - math.floor(upto * rows)
        if more == fewer:  # too few rows for this band: they go with those above
            continue
        if exact:
            share = Figure(float(tiers.caught(more) - tiers.caught(fewer)) / (more - fewer))
        else:
            least, most = tiers.caught_bounds(more), tiers.caught_bounds(fewer)
            low, high = max(float(least[0] - most[1]), 0.0), min(float(least[1] - most[0]), more - fewer)
            share = _between(low / (more - fewer), high / (more - fewer))
        yield Band(above=above, upto=upto, rows=more - fewer, share=share)
        above, more = upto, fewer


def _between(low: float | Floats, high: float | Floats) -> Figure:
    return Figure(float(low + high) / 2, float(high - low) / 2)
