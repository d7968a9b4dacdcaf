"""What a user wants to see: my own model, the federation's, and pooled plaintext."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fedanomaly.detectors.quality import quality_of
from fedanomaly.types import Floats, Integers


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
        Share of the anomalies among the highest-scored events that fit the alert budget.
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
    found = quality_of(scores, labels)
    told = (found.auroc, found.average_precision, found.recall)
    auroc, ap, recall = (figure.value if figure else None for figure in told)
    return Quality(auroc=auroc, ap=ap, recall=recall)


def furthest(federated: list[Quality], pooled: list[Quality]) -> float:
    """Return the largest difference between federated and pooled, over all figures that exist."""
    gaps = [
        abs(mine - theirs)
        for left, right in zip(federated, pooled, strict=True)
        for mine, theirs in zip(left.as_dict().values(), right.as_dict().values(), strict=True)
        if mine is not None and theirs is not None
    ]
    return max(gaps, default=0.0)
