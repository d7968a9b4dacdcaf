"""A trained model, on this side of the API."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from fedanomaly.types import Floats, Integers, State

if TYPE_CHECKING:
    from fedanomaly.detectors import Detector
    from fedanomaly.node.scoring import Scorer


class Model:
    """A model of a node: where it came from, and the fitted detector.

    Parameters
    ----------
    lineage : dict
        The record `ModelView` of the node's API.
    state : bytes
        Canonical bytes of its state.
    """

    def __init__(self, lineage: dict[str, Any], state: bytes) -> None:
        self.lineage = lineage
        self.state = State.from_bytes(state)

    @cached_property
    def _scorer(self) -> Scorer:
        from fedanomaly.node.scoring import Scorer  # noqa: PLC0415 - scikit-learn only when it scores

        return Scorer.of(self.lineage["feature_schema"], self.state)

    @property
    def detector(self) -> Detector:
        """The fitted detector, a scikit-learn estimator; it takes encoded rows."""
        return self._scorer.detector

    @property
    def threshold(self) -> float:
        """The score above which a row is an outlier."""
        return self._scorer.threshold

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the encoded features, in the order of the detector's columns."""
        return self._scorer.schema.feature_names

    def encode(self, frame: Any, history: Any = None) -> Floats:  # noqa: ANN401 - whatever narwhals knows
        """Return what the detector takes: one column per feature, NaN where a reading is missing.

        Parameters
        ----------
        frame : pandas, polars or pyarrow table
            Rows in their own columns; further columns are left alone.
        history : pandas, polars or pyarrow table, optional
            Rows that came before, for features that look back in time; without,
            every entity is new.

        Returns
        -------
        float64 array of shape (n_rows, n_features)
        """
        from fedanomaly.features import encode  # noqa: PLC0415 - as the scorer

        return encode(self._scorer.schema, frame, history)

    def explain(self, frame: Any, history: Any = None) -> Floats:  # noqa: ANN401 - whatever narwhals knows
        """Return what each feature adds to the score of every row; a row adds up to its score.

        Parameters
        ----------
        frame, history : pandas, polars or pyarrow table
            As for `encode`.

        Returns
        -------
        float64 array of shape (n_rows, n_features)
            Columns are `features`.
        """
        return self.detector.explain(self.encode(frame, history))

    def reasons(self, frame: Any, most: int = 3, history: Any = None) -> list[list[str]]:  # noqa: ANN401 - as encode
        """Return short sentences on what is unusual in every row, in the units of its columns.

        Parameters
        ----------
        frame, history : pandas, polars or pyarrow table
            As for `encode`.
        most : int, default=3
            Most sentences for a row.
        """
        return self.reasons_of(self.encode(frame, history), most)

    def reasons_of(self, rows: Floats, most: int = 3) -> list[list[str]]:
        """Return the same for rows that are encoded already.

        Parameters
        ----------
        rows : float64 array of shape (n_rows, n_features)
            What `encode` returns; columns are `features`.
        most : int, default=3
            Most sentences for a row.
        """
        return self.detector.reasons(rows, self.features, most, self._scorer.schema.logged)

    def score(self, frame: Any, history: Any = None) -> Floats:  # noqa: ANN401 - whatever narwhals knows
        """Return the anomaly score of every row; high is anomalous.

        Parameters
        ----------
        frame, history : pandas, polars or pyarrow table
            As for `encode`.

        Returns
        -------
        float64 array of shape (n_rows,)
        """
        return self._scorer.scores(frame, history)

    def predict(self, frame: Any, history: Any = None) -> Integers:  # noqa: ANN401 - whatever narwhals knows
        """Return -1 for outliers and +1 for all other rows."""
        return self._scorer.predictions(self.score(frame, history))

    def __repr__(self) -> str:
        return f"<Model {self.lineage['name']} version {self.lineage['version']}>"
