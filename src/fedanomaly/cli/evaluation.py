"""How well scores rank labelled rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.errors import DataError
from fedanomaly.types import Floats

ALERT_BUDGET = 0.005


def evaluate(scores: Floats, labels: pa.Array | pa.ChunkedArray, *, budget: float = ALERT_BUDGET) -> dict[str, float]:
    """Return quality figures of scores.

    Parameters
    ----------
    scores : float64 array of shape (n_rows,)
        High is anomalous.
    labels : Arrow array
        Numbers or booleans; anything but zero is an anomaly.
    budget : float, default=0.005
        Share of the rows that somebody can look at.

    Returns
    -------
    dict
        ``auroc``, ``average_precision``, ``recall_at_budget``, ``budget``,
        ``rows`` and ``anomalies``.

    Raises
    ------
    DataError
        If the labels are no numbers, or all the same.
    """
    truth = _truth(labels)
    if not 0 < truth.sum() < len(truth):
        raise DataError("the labels hold one class only")
    alerts = max(1, round(budget * len(scores)))
    # A stable order: rows with equal scores are taken as they come.
    caught = truth[np.argsort(-scores, kind="stable")[:alerts]].sum()
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "average_precision": float(average_precision_score(truth, scores)),
        "recall_at_budget": float(caught / truth.sum()),
        "budget": budget,
        "rows": len(truth),
        "anomalies": int(truth.sum()),
    }


def _truth(labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
    kind = labels.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"labels of type {kind} are no numbers", hint="use 0 for normal and 1 for anomalous rows")
    if labels.null_count:
        raise DataError("some labels are missing")
    return np.asarray(labels.cast(pa.float64())) != 0.0
