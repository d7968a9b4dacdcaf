# ruff: noqa: N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest

from fedanomaly.detectors import VectorAutoregression, windows
from fedanomaly.errors import ConfigError, DataError, ShapeError


def series(count=6000, channels=2):
    """Return a stable autoregression of order one."""
    rng = np.random.default_rng(0)
    pull = 0.5 * np.eye(channels) + 0.2 * np.eye(channels, k=1)
    out = np.zeros((count, channels))
    for at in range(1, count):
        out[at] = out[at - 1] @ pull + rng.normal(size=channels)
    return out


@pytest.mark.parametrize(("channels", "lags"), [(1, 1), (2, 1), (2, 3)])
def test_score_is_the_distance_of_the_residual_of_the_regression(channels, lags):
    X = windows(series(channels=channels), lags)
    scores = VectorAutoregression(lags=lags, ridge=1e-6).fit(X).anomaly_scores(X)
    off = X - X.mean(axis=0)
    present, past = off[:, :channels], off[:, channels:]
    residual = present - past @ np.linalg.lstsq(past, present, rcond=None)[0]
    expected = (residual @ np.linalg.inv(residual.T @ residual / len(X)) * residual).sum(axis=1)
    near = np.abs(X / X.std(axis=0)).max(axis=1) < 4.5  # beyond 5 widths distances are damped
    assert np.allclose(scores[near], expected[near], rtol=0.02, atol=0.06)


def test_an_unusual_past_is_no_anomaly_where_the_present_follows_from_it():
    X = windows(series())
    detector = VectorAutoregression(ridge=1e-3).fit(X)
    far = np.array([[1.75, 3.35, 3.5, 5.3]])  # the second reading is what the first foretells
    broken = np.array([[-1.75, 3.35, 3.5, 5.3]])
    assert detector.anomaly_scores(far)[0] < detector.anomaly_scores(broken)[0] / 4
    assert detector.predict(broken) == [-1]


def test_one_column_has_no_past():
    X = np.random.default_rng(1).normal(size=(2000, 1))
    scores = VectorAutoregression(lags=4).fit(X).anomaly_scores(X)
    assert scores.mean() == pytest.approx(1.0, rel=0.05)


def test_windows_hold_the_newest_reading_first():
    rows = windows(np.array([[1, 10], [2, 20], [3, 30], [4, 40]]), lags=2)
    assert rows.tolist() == [[3, 30, 2, 20, 1, 10], [4, 40, 3, 30, 2, 20]]


@pytest.mark.parametrize("lags", [1, 2, 5])
def test_windows_never_reach_across_a_break(lags):
    parts = [np.arange(start, start + count, dtype=float)[:, None] for start, count in ((0, 7), (100, 1), (200, 4))]
    whole = windows(np.concatenate(parts), lags, starts=[7, 8])
    assert np.array_equal(whole, np.concatenate([windows(part, lags) for part in parts]))


def test_a_series_shorter_than_a_window_has_none():
    assert windows(np.zeros((2, 3)), lags=2).shape == (0, 9)
    assert windows(np.zeros((0, 3)), lags=2).shape == (0, 9)


def test_what_is_no_series_is_refused():
    with pytest.raises(ShapeError):
        windows([1.0, 2.0])
    with pytest.raises(ConfigError):
        windows([[1.0], [2.0]], lags=0)
    for start in (-1, 2):
        with pytest.raises(DataError):
            windows([[1.0], [2.0]], starts=[start])
