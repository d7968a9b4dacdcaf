"""From a table to the matrix that detectors see: the same, in one piece or row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedanomaly.features.history import EntityWindow
from fedanomaly.features.kinds import encode_cells
from fedanomaly.features.reading import read
from fedanomaly.features.schema import Schema
from fedanomaly.features.surprise import Surprise
from fedanomaly.types import Floats


class Encoder:
    """Turns the rows of a stream into numbers; remembers what later rows need.

    However a table is divided into batches, its rows get the very same numbers.
    After an error nothing was counted.

    Parameters
    ----------
    schema : Schema
        What the columns mean.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from fedanomaly.features import Column
    >>> encoder = Encoder(Schema((Column(name="shop", kind="categorical", encode="frequency", buckets=16),)))
    >>> encoder.encode(pa.table({"shop": ["bar", "bar"]})).round(2).tolist()
    [[2.77], [2.14]]
    >>> encoder.encode(pa.table({"shop": ["bar", "cinema"]})).round(2).tolist()
    [[1.79], [2.94]]
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._surprises = {
            field.name: Surprise(field.buckets)
            for field in schema.fields
            if field.encode == "frequency" and field.buckets is not None
        }
        self._windows = [EntityWindow(window) for window in schema.windows]

    def encode(self, frame: Any) -> Floats:  # noqa: ANN401 - whatever narwhals knows
        """Return the next rows as numbers.

        Parameters
        ----------
        frame : pandas, polars or pyarrow table
            In the order of time, if there are windows. Columns that the schema
            does not name are left alone.

        Returns
        -------
        float64 array of shape (n_rows, n_features)
            In the order of ``schema.feature_names``. A missing number, truth
            value, time or frequency is NaN; a missing or unknown level is 0 in
            all of its features.

        Raises
        ------
        SchemaError
            With every column that does not fit, and why; or if a row comes too
            late for a window.
        """
        reading = read(self.schema, frame)
        reading.refuse()
        events = [window.events(reading) for window in self._windows]
        out = np.zeros((reading.n_rows, self.schema.n_features))
        at = 0
        for field in self.schema.fields:
            block = out[:, at : (at := at + len(field.feature_names))]
            if field.name in self._surprises:
                block[:, 0] = self._surprises[field.name].encode(reading.columns[field.name])
            else:
                encode_cells(field, reading.columns[field.name], block)
        for window, rows in zip(self._windows, events, strict=True):
            window.encode(reading, rows, out[:, at : (at := at + len(window.window.feature_names))])
        return out


def encode(schema: Schema, frame: Any, history: Any = None) -> Floats:  # noqa: ANN401 - whatever narwhals knows
    """Return the rows of a whole table as numbers: an `Encoder` that has seen nothing, or `history`, before.

    Parameters
    ----------
    schema : Schema
        What the columns mean.
    frame : pandas, polars or pyarrow table
        As for `Encoder.encode`.
    history : pandas, polars or pyarrow table, optional
        Rows that came before, for windows and frequencies.

    Returns
    -------
    float64 array of shape (n_rows, n_features)

    Raises
    ------
    SchemaError
        As `Encoder.encode`.
    """
    encoder = Encoder(schema)
    if history is not None:
        encoder.encode(history)
    return encoder.encode(frame)
