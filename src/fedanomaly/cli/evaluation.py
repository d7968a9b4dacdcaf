"""How well scores rank rows whose labels are a column of a table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fedanomaly.detectors.quality import quality_of
from fedanomaly.errors import DataError
from fedanomaly.node.evaluator import labels_of
from fedanomaly.types import Floats


def evaluate(scores: Floats, labels: pa.Array | pa.ChunkedArray) -> dict[str, float]:
    """Return quality figures of scores.

    Parameters
    ----------
    scores : float64 array of shape (n_rows,)
        High is anomalous.
    labels : Arrow array
        Numbers or booleans; anything but zero is an anomaly.

    Returns
    -------
    dict
        ``auroc``, ``average_precision``, ``precision_at_budget``,
        ``recall_at_budget``, ``budget``, ``rows`` and ``anomalies``.

    Raises
    ------
    DataError
        If the labels are no numbers, some are missing, or all are the same.
    """
    truth = labels_of(labels)
    if np.isnan(truth).any():
        raise DataError("some labels are missing")
    found = quality_of(scores, (truth != 0).astype(np.int64))
    if found.auroc is None or found.average_precision is None or found.precision is None or found.recall is None:
        raise DataError("the labels hold one class only")
    return {
        "auroc": found.auroc.value,
        "average_precision": found.average_precision.value,
        "precision_at_budget": found.precision.value,
        "recall_at_budget": found.recall.value,
        "budget": found.budget,
        "rows": found.rows,
        "anomalies": found.anomalies,
    }
