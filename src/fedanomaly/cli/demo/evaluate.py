"""What a user wants to see: my own model, the federation's, and pooled plaintext."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.types import Floats, Integers

ALERT_BUDGET = 0.005
"""Share of the test events that a desk can look at."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well scores find the labelled anomalies of one organisation's test events.

    Parameters
    ----------
    auroc : float or None
        Area under the ROC curve; None if the test events have one class only.
    ap : float or None
        Average precision.
    recall : float or None
        Share of the anomalies among the highest-scored `ALERT_BUDGET` of events.
    """

    auroc: float | None
    ap: float | None
    recall: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return plain values for JSON."""
        return asdict(self)


def quality(scores: Floats, labels: Integers) -> Quality:
    """Return how well anomaly scores rank the labelled anomalies.

    Parameters
    ----------
    scores : float64 array of shape (n_samples,)
        High is anomalous.
    labels : int64 array of shape (n_samples,)
        1 for an anomaly, else 0.
    """
    anomalies = int(labels.sum())
    if not 0 < anomalies < len(labels):
        return Quality(auroc=None, ap=None, recall=None)
    alerts = math.ceil(ALERT_BUDGET * len(labels))
    first = np.argsort(-scores, kind="stable")[:alerts]
    return Quality(
        auroc=float(roc_auc_score(labels, scores)),
        ap=float(average_precision_score(labels, scores)),
        recall=float(labels[first].sum() / anomalies),
    )


def furthest(federated: list[Quality], pooled: list[Quality]) -> float:
    """Return the largest difference between federated and pooled, over all figures that exist."""
    gaps = [
        abs(mine - theirs)
        for left, right in zip(federated, pooled, strict=True)
        for mine, theirs in zip(left.as_dict().values(), right.as_dict().values(), strict=True)
        if mine is not None and theirs is not None
    ]
    return max(gaps, default=0.0)
