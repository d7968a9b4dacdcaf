"""Labels of training rows: what a detector can learn from, and what makes them other labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedanomaly.node.row_digest import RowDigest

Truth = npt.NDArray[np.bool_]


class TrainingLabels:
    """Collects the labels of the training rows, batch by batch, as long as a detector can learn from them.

    That is: the file has the column, it holds numbers or truth values, and none
    is missing. Otherwise the data set serves detectors without labels only.
    """

    def __init__(self) -> None:
        self._anomalies: RowDigest | None = RowDigest()

    @property
    def digest(self) -> bytes | None:
        """Digest of the anomalies among the rows, which tells labels apart over the same rows; None: no labels."""
        return None if self._anomalies is None else self._anomalies.digest

    def add(self, hashes: list[bytes], column: pa.Array | None) -> Truth | None:
        """Return which rows are anomalies, or None once the labels are of no use.

        Parameters
        ----------
        hashes : list of bytes
            Of the rows, their labels left out.
        column : Arrow array or None
            Their labels: 0 is normal, anything else an anomaly.
        """
        truth = None if column is None or self._anomalies is None else _truth(column)
        if truth is None:
            self._anomalies = None
        elif self._anomalies is not None:
            self._anomalies.add([value for value, odd in zip(hashes, truth, strict=True) if odd])
        return truth


def _truth(column: pa.Array) -> Truth | None:
    kind = column.type
    if column.null_count or not (
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or len(column) == 0
    ):
        return None
    values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return None if np.isnan(values).any() else values != 0
