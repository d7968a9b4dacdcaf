"""The contract of scikit-learn for what scores: from a learnt scorer to scores, shares, reasons and predictions."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from fedanomaly.detectors.reasons import sentences
from fedanomaly.detectors.stages import Scorer
from fedanomaly.errors import DataError, ShapeError
from fedanomaly.types import Floats, Integers, State


class Scoring(OutlierMixin, BaseEstimator):
    """What a detector does once it is fitted.

    Attributes
    ----------
    state_ : State
        What was learnt.
    offset_ : float
        Minus the threshold.
    n_features_in_ : int
        Columns seen in training.
    """

    learns_from_labels: ClassVar[bool]
    state_: State
    offset_: float
    n_features_in_: int
    feature_names_in_: npt.NDArray[np.object_]
    _scorer: Scorer
    _knows_names = True

    def anomaly_scores(self, X: npt.ArrayLike) -> Floats:
        """Return scores, at least 0; high is anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, none is fine; NaN is a missing reading.

        Returns
        -------
        float64 array of shape (n_samples,)
        """
        rows = self.checked(X)
        return self._scorer.scores(rows)

    def explain(self, X: npt.ArrayLike) -> Floats:
        """Return what every feature adds to the score.

        Returns
        -------
        float64 array of shape (n_samples, n_features)
            Rows add up to `anomaly_scores`, but for rounding.
        """
        rows = self.checked(X)
        return self._scorer.shares(rows)

    def reasons(
        self,
        X: npt.ArrayLike,
        feature_names: Sequence[str] | None = None,
        most: int = 3,
        logged: Collection[str] = (),
    ) -> list[list[str]]:
        """Return short sentences on what is unusual in every row, the largest share first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, none is fine; NaN is a missing reading.
        feature_names : sequence of str, optional
            Names of the columns; without, those that `fit` has seen, else x0, x1, …
        most : int, default=3
            Most sentences for a row.
        logged : collection of str, default=()
            Columns that hold sign(x) log(1 + |x|) of a reading x; x is what is told.

        Returns
        -------
        list of list of str
            Readings are in the unit of their column, next to the median of all
            members' rows. Empty for a row to which no feature adds anything.

        Raises
        ------
        ShapeError
            If there is not one name for every column.
        """
        rows = self.checked(X)
        names = getattr(self, "feature_names_in_", None) if feature_names is None else feature_names
        return sentences(self.state_, rows, self._scorer.shares(rows), names, most=most, logged=logged)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this fitted detector to a file: opened integers and JSON, no pickle.

        Parameters
        ----------
        path : path
            `fedanomaly.detectors.load` reads it again.

        Raises
        ------
        DataError
            If the detector is not fitted, or the file cannot be written.
        """
        from fedanomaly.detectors.saved import save  # noqa: PLC0415 - which needs the registry, and that this module

        save(cast("Any", self), path)

    def score_samples(self, X: npt.ArrayLike) -> Floats:
        """Return minus `anomaly_scores`: low is anomalous, as scikit-learn has it."""
        return -self.anomaly_scores(X)

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Return `score_samples` above the threshold: negative is an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: npt.ArrayLike) -> Integers:
        """Return -1 for outliers and +1 for inliers."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def checked(self, X: npt.ArrayLike) -> Floats:
        """Return rows as an array, if they are ones that this detector scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, none is fine; NaN is a missing reading.

        Raises
        ------
        ShapeError
            If they have other columns than those that it learnt.
        DataError
            If a reading is infinite.
        """
        check_is_fitted(self, "state_")
        names = hasattr(self, "feature_names_in_")
        if not names and type(X) is np.ndarray and X.dtype == np.float64 and X.shape[1:] == (self.n_features_in_,):
            check_no_infinity(X)  # and nothing else is left to check
            return X
        if self._knows_names or (names and hasattr(X, "__dataframe__")):
            return self._validated(X, reset=False, ensure_min_samples=0)
        # Trained from sums: rows come encoded by a schema, and so without names, which is no reason to warn.
        how: Any = {"dtype": np.float64, "ensure_all_finite": False, "ensure_min_samples": 0}
        rows = check_array(X, estimator=self, **how)
        check_no_infinity(rows)
        if rows.shape[1] != self.n_features_in_:
            raise ShapeError(f"X has {rows.shape[1]} features, but {type(self).__name__} learnt {self.n_features_in_}")
        return cast("Floats", rows)

    def _validated(self, X: Any, **how: Any) -> Floats:  # noqa: ANN401 - passed on
        rows = cast("Floats", validate_data(self, X, dtype=np.float64, ensure_all_finite=False, **how))
        check_no_infinity(rows)
        return rows

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = self.learns_from_labels
        return tags


def check_no_infinity(rows: Floats) -> None:
    """Refuse infinite readings; missing ones are fine.

    Raises
    ------
    DataError
        If there is one; the error tells its column.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass that needs no memory settles it for almost all rows.
        if np.isfinite(rows.sum()):
            return
    infinite = np.isinf(rows).any(axis=0)
    if infinite.any():
        columns = np.flatnonzero(infinite).tolist()
        raise DataError(f"infinite readings in columns {columns}", hint="use NaN for a missing reading")
