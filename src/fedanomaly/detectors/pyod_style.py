"""A detector in the interface of PyOD, for code that was written for it."""

# ruff: noqa: N803 - X is what PyOD calls the rows

from __future__ import annotations

from typing import Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.mahalanobis import Mahalanobis
from fedanomaly.types import Floats, Integers


class PyODStyle(BaseEstimator):
    """Wraps a detector so that it stands where a PyOD detector does; PyOD itself is not needed.

    High scores are anomalous, `predict` gives 1 for outliers and 0 for the rest.

    Parameters
    ----------
    detector : Detector, optional
        Untrained: `fit` trains a copy. Trained, by a federation or otherwise:
        `fit` leaves it as it is and only scores the rows that it is given, so
        that a detector of many organisations serves code that knows only one.
        Default: `Mahalanobis`.
    contamination : float in (0, 0.5], default=0.1
        Share of the rows given to `fit` that score above `threshold_`.

    Attributes
    ----------
    detector_ : Detector
        The trained detector.
    decision_scores_ : float64 array of shape (n_samples,)
        Scores of the rows given to `fit`.
    threshold_ : float
        The score above which a row is an outlier.
    labels_ : int64 array of shape (n_samples,)
        1 for the outliers among the rows given to `fit`, else 0.

    References
    ----------
    Y. Zhao, Z. Nasrullah and Z. Li, "PyOD: a Python toolbox for scalable outlier
    detection", JMLR 20, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import Loda, PyODStyle
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> wrapped = PyODStyle(Loda(random_state=0), contamination=0.02).fit(X)
    >>> int(wrapped.labels_.sum())
    10
    >>> wrapped.predict([[0.0, 0.0], [6.0, -6.0]])
    array([0, 1])
    """

    def __init__(self, detector: Detector | None = None, contamination: float = 0.1) -> None:
        self.detector = detector
        self.contamination = contamination

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Train, unless the detector is trained already, and score the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), optional
            Labels, for detectors that learn from them.
        """
        given = Mahalanobis() if self.detector is None else self.detector
        # scikit-learn's clone is typed for anything that it may be given
        trained = given if hasattr(given, "state_") else cast("Detector", clone(given)).fit(X, y)
        self.detector_: Detector = trained
        self.n_features_in_ = self.detector_.n_features_in_
        self.decision_scores_ = self.decision_function(X)
        self.threshold_ = float(np.quantile(self.decision_scores_, 1 - self.contamination))
        self.labels_ = self._above(self.decision_scores_)
        return self

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Return scores; high is anomalous.

        Returns
        -------
        float64 array of shape (n_samples,)
        """
        check_is_fitted(self, "detector_")
        return self.detector_.anomaly_scores(X)

    def predict(self, X: npt.ArrayLike) -> Integers:
        """Return 1 for outliers and 0 for all other rows."""
        return self._above(self.decision_function(X))

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return [1 - p, p] of every row, p its score between the least and the largest in training.

        Returns
        -------
        float64 array of shape (n_samples, 2)
        """
        low, high = float(self.decision_scores_.min()), float(self.decision_scores_.max())
        p = np.clip((self.decision_function(X) - low) / (high - low if high > low else 1.0), 0.0, 1.0)
        return np.stack([1.0 - p, p], axis=1)

    def fit_predict(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Integers:
        """Train and return `labels_`."""
        return self.fit(X, y).labels_

    def _above(self, scores: Floats) -> Integers:
        return (scores > self.threshold_).astype(np.int64)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "labels_")
