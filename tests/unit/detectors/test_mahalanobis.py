# ruff: noqa: N806 - X is what scikit-learn calls the rows

import sys

import numpy as np
import pytest

from fedanomaly.detectors import Mahalanobis
from fedanomaly.detectors.contract import history
from fedanomaly.errors import DataError
from fedanomaly.types import State


def test_score_is_the_textbook_distance_of_scaled_rows():
    X = np.random.default_rng(0).normal(size=(4000, 3)) @ np.array([[1, 0.6, 0], [0, 1, 0.3], [0, 0, 1]])
    scores = Mahalanobis(ridge=1e-6).fit(X).anomaly_scores(X)
    near = np.abs(X / X.std(axis=0)).max(axis=1) < 4.5  # beyond 5 widths distances are damped
    off = X - X.mean(axis=0)
    expected = (off @ np.linalg.inv(np.cov(X.T, bias=True)) * off).sum(axis=1)
    assert np.allclose(scores[near], expected[near], rtol=0.02, atol=0.05)


def test_copies_of_a_column_do_not_break_it():
    X = np.random.default_rng(1).normal(size=(300, 2))
    doubled = np.hstack([X, X, X[:, :1] * 3 - 1, np.ones((300, 1))])
    scores = Mahalanobis(ridge=1e-6).fit(doubled).anomaly_scores(doubled)
    assert np.isfinite(scores).all()
    assert np.corrcoef(scores, Mahalanobis().fit(X).anomaly_scores(X))[0, 1] > 0.9


def test_broken_correlation_is_seen_and_blamed_on_its_features():
    rng = np.random.default_rng(2)
    first = rng.normal(size=1000)
    X = np.column_stack([first, first + 0.1 * rng.normal(size=1000), rng.normal(size=1000)])
    detector = Mahalanobis(contamination=0.01, ridge=0.01).fit(X)
    odd = np.array([[2.0, -2.0, 0.0]])
    assert detector.predict(odd)[0] == -1
    assert np.abs(detector.explain(odd)[0, :2]).min() > 100 * abs(detector.explain(odd)[0, 2])


def test_moments_of_no_data_are_refused():
    X = np.random.default_rng(4).normal(size=(50, 2))
    *_, (_, _, state) = history(Mahalanobis(), [X])
    products = state["moments/products"].copy()
    products[1] = 10 * products[0]  # a correlation of ten
    lie = State(state.detector, state.version, state.params, {**state.arrays, "moments/products": products})
    with pytest.raises(DataError, match="of no data"):
        Mahalanobis().derive(lie)


def test_scoring_is_vectorised():
    X = np.random.default_rng(3).normal(size=(100_000, 30))
    detector, calls = Mahalanobis().fit(X[:5000]), 0

    def count(*_):
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        detector.anomaly_scores(X)
    finally:
        sys.setprofile(None)
    assert calls < len(X) / 10
