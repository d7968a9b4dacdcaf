"""How surprising the present of a time series is, given its past."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.mahalanobis import MOST_FEATURES, Covariance, Metric, Moments, opened_moments
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.errors import ConfigError, DataError, ShapeError
from fedanomaly.types import Floats, State


class VectorAutoregression(Detector):
    """Squared distance of the present of a multivariate series from what its past foretells.

    The idea: rows are windows, the newest readings first (see `windows`). The
    present is foretold linearly from the past; what is left over is measured in
    the metric of what is usually left over. The moments of the windows are the
    series' moments at every lag, so one sum of products gives it all.

    It fails where an anomaly sets in slowly and keeps the usual relation of each
    reading to the one before, and where the series is far from linear.

    Cost: one job of about 6 rounds, d (d + 3) / 2 numbers in the widest model
    step, d being channels times ``lags + 1``, 12,000 counters in the widest other
    one; scoring takes d^2 / (lags + 1) multiplications an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    lags : int in [1, 1000], default=1
        How many readings the past has: the first ``ceil(d / (lags + 1))`` columns
        of a row are the present, the others the past.
    ridge : float in [1e-6, 1], default=0.1
        How far the correlations are drawn to zero: the past foretells less then.

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.

    Notes
    -----
    With R = (1 - ridge) corr + ridge I, D the standard deviations and W the
    inverse of the Cholesky factor of D R D, past first and present last, the
    score is the sum of the squares of the last rows of ``W z``, which equals the
    squared Mahalanobis distance of the residual of the regression. Feature j adds
    ``z_j (W' W z)_j``, the past's features as well: a term can be negative where a
    reading excuses another.

    References
    ----------
    H. Luetkepohl, "New introduction to multiple time series analysis", 2005,
    chapter 2 (the model) and section 4.6 (normality of its residuals).

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import VectorAutoregression, windows
    >>> time = np.arange(2000)
    >>> series = np.column_stack([np.sin(time / 20), np.cos(time / 20)])
    >>> series += 0.05 * np.random.default_rng(0).normal(size=series.shape)
    >>> detector = VectorAutoregression(lags=2).fit(windows(series, lags=2))
    >>> series[1000, 0] = 0.0  # usual by itself, not at that moment
    >>> int(np.argmax(detector.anomaly_scores(windows(series, lags=2)))) + 2
    1000
    """

    name = "vector_autoregression"
    version = 1
    why_no_circuit = ""
    most_features = MOST_FEATURES
    free = Detector.free | {"ridge"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "lags": [Interval(Integral, 1, 1000, closed="both")],
        "ridge": [Interval(Real, 1e-6, 1, closed="both")],
    }

    def __init__(self, *, contamination: float = 0.01, lags: int = 1, ridge: float = 0.1) -> None:
        super().__init__(contamination=contamination)
        self.lags = lags
        self.ridge = ridge

    def stages(self) -> tuple[Moments, ...]:
        """Return the one stage: first and second moments of the windows."""
        return (Moments(),)

    def derive(self, state: State) -> Metric:
        """Return the metric of the present's residuals."""
        moments = opened_moments(state)
        d = len(moments.mean)
        present = -(-d // (int(state.params["lags"]) + 1))
        order = np.roll(np.arange(d), -present)
        reordered = Covariance(
            moments.mean[order], moments.deviation[order], moments.correlation[np.ix_(order, order)]
        ).whitening(float(state.params["ridge"]))
        forms = np.empty((present, d))
        forms[:, order] = reordered[d - present :]
        return Metric.of(scale_of(state), moments.mean, forms)


def windows(series: npt.ArrayLike, lags: int = 1, *, starts: Sequence[int] = ()) -> Floats:
    """Return rows for `VectorAutoregression`: every reading that has a past, beside that past.

    Parameters
    ----------
    series : array-like of shape (n_times, n_channels)
        Readings in order of time and at equal distances; NaN is a missing one.
    lags : int, default=1
        How many readings the past has.
    starts : sequence of int, optional
        Indices of readings with which the series starts anew, after a gap for
        example: no window reaches across.

    Returns
    -------
    float64 array of shape (n_windows, n_channels * (lags + 1))
        The present, then the reading before it, and so on. The first `lags`
        readings of the series, and from every start on, have no window.

    Raises
    ------
    ConfigError
        If `lags` is less than 1.
    DataError
        If a start lies outside the series.
    ShapeError
        If the series is not a table.

    Examples
    --------
    >>> from fedanomaly.detectors import windows
    >>> windows([[1.0], [2.0], [3.0], [7.0], [8.0]], lags=1, starts=[3])
    array([[2., 1.],
           [3., 2.],
           [8., 7.]])
    """
    readings = np.asarray(series, dtype=np.float64)
    if readings.ndim != 2:
        raise ShapeError(f"a series has times and channels, not shape {readings.shape}")
    if lags < 1:
        raise ConfigError("a window needs a past", hint="choose lags of at least 1")
    if any(not 0 <= start < len(readings) for start in starts):
        raise DataError(f"a start lies outside the {len(readings)} readings")
    present = np.arange(lags, len(readings))
    begun = np.zeros(len(readings) + 1, dtype=np.int64)
    begun[np.asarray(starts, dtype=np.int64) + 1] = 1
    upto = np.cumsum(begun)
    # A start after the oldest reading of a window, up to its present, is a break in it.
    whole = present[upto[present + 1] == upto[present - lags + 1]]
    return np.hstack([readings[whole - lag] for lag in range(lags + 1)])
