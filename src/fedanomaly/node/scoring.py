"""Scores of rows in their own columns: a feature schema and a trained detector together."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedanomaly.detectors import Detector, from_params
from fedanomaly.features import Schema, encode
from fedanomaly.scoring import Scored
from fedanomaly.types import Floats, Integers, State


class Scorer:
    """Scores tables with a trained detector.

    Parameters
    ----------
    schema : Schema
        Encodes the rows.
    detector : Detector
        Fitted.
    """

    def __init__(self, schema: Schema, detector: Detector) -> None:
        self.schema = schema
        self.detector = detector

    @classmethod
    def of(cls, schema: str, state: State) -> Scorer:
        """Return the scorer of a trained state and its schema as JSON.

        Raises
        ------
        VersionError
            If the detector has another version here.
        SchemaError
            If the schema is none.
        """
        return cls(Schema.from_json(schema), from_params(state.detector, state.params).with_state(state))

    @property
    def threshold(self) -> float:
        """The score above which a row is an outlier."""
        return float(-self.detector.offset_)

    def scores(self, frame: Any, history: Any = None) -> Floats:  # noqa: ANN401 - whatever narwhals knows
        """Return the anomaly score of every row; high is anomalous.

        Parameters
        ----------
        frame : pandas, polars or pyarrow table
            Rows, columns as in the schema; further ones are left alone.
        history : pandas, polars or pyarrow table, optional
            Rows that came before, for windows and frequencies.

        Returns
        -------
        float64 array of shape (n_rows,)

        Raises
        ------
        SchemaError
            If the rows do not fit the schema.
        """
        return self.detector.anomaly_scores(self.encode(frame, history))

    def encode(self, frame: Any, history: Any = None) -> Floats:  # noqa: ANN401 - whatever narwhals knows
        """Return what the detector takes, shape (n_rows, n_features); arguments and errors as for `scores`."""
        return encode(self.schema, frame, history)

    def scored_here(self, rows: Floats) -> Scored:
        """Return the scores of encoded rows as a scoring service's are returned; these are exact."""
        scores = self.detector.anomaly_scores(rows)
        return Scored(
            scores=scores,
            lower=scores,
            upper=scores,
            threshold=self.threshold,
            batches=0,
            local=len(scores),
            bytes_up=0,
            bytes_down=0,
        )

    def predictions(self, scores: Floats) -> Integers:
        """Return -1 for scores of outliers and +1 for all others."""
        return np.where(scores > self.threshold, -1, 1)
