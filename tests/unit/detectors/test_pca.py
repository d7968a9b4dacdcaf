# ruff: noqa: N803, N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest

from fedanomaly.detectors import PCA, from_params
from fedanomaly.detectors.contract import history
from fedanomaly.errors import ConfigError, DataError
from fedanomaly.types import State

MIX = np.array([[2.0, 0.2, 0.1], [1.9, -0.2, 0.1], [-2.1, 0.0, 0.2]])
"""Three features that mostly move together."""


def rows(count=4000):
    return np.random.default_rng(0).normal(size=(count, 3)) @ MIX.T


def textbook(X, components):
    """Return squared distances inside the plane and from it, on standardised rows, and the variances outside."""
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    variances, vectors = np.linalg.eigh(np.corrcoef(X.T))
    along = np.square(z @ vectors[:, ::-1])
    outside = along[:, components:]
    return (along / variances[::-1])[:, :components].sum(axis=1), outside.sum(axis=1), variances[::-1][components:]


@pytest.mark.parametrize("components", [1, 2])
def test_scores_are_the_textbook_distances_of_scaled_rows(components):
    X = rows()
    near = np.abs(X / X.std(axis=0)).max(axis=1) < 4.5  # beyond 5 widths distances are damped
    inside, outside, variances = textbook(X, components)
    expected = {
        "whitened": inside,
        "reconstruction": outside,
        "both": inside + outside / max(variances.mean(), 0.01),
    }
    for distance, wanted in expected.items():
        scores = PCA(n_components=components, distance=distance).fit(X).anomaly_scores(X)
        assert np.allclose(scores[near], wanted[near], rtol=0.02, atol=0.05), distance


def test_the_fewest_components_that_explain_the_share_are_taken():
    X = rows()
    found = {
        share: len(PCA(n_components=share, distance="whitened").fit(X)._scorer.weights) for share in (0.5, 0.99, 0.9999)
    }
    assert found == {0.5: 1, 0.99: 2, 0.9999: 3}
    assert len(PCA(n_components=7, distance="whitened").fit(X)._scorer.weights) == 3


def test_what_leaves_the_plane_is_anomalous_and_what_lies_far_out_in_it():
    X = rows()
    broken, far = np.array([[2.0, 2.0, 2.0]]), np.array([[9.0, 9.0, -9.0]])
    assert PCA(n_components=1, distance="reconstruction").fit(X).predict(broken) == [-1]
    assert PCA(n_components=1, distance="whitened").fit(X).predict(broken) == [1]
    assert PCA(n_components=1, distance="whitened").fit(X).predict(far) == [-1]
    assert PCA(n_components=1).fit(X).predict(np.vstack([broken, far])).tolist() == [-1, -1]


@pytest.mark.parametrize("distance", ["both", "reconstruction", "whitened"])
def test_copies_and_constants_do_not_break_it(distance):
    X = rows(300)
    doubled = np.hstack([X, X * 3 - 1, np.ones((300, 2))])
    scores = PCA(distance=distance).fit(doubled).anomaly_scores(doubled)
    assert np.isfinite(scores).all()
    assert np.corrcoef(scores, PCA(distance=distance).fit(X).anomaly_scores(X))[0, 1] > 0.9


def test_parameters_out_of_range_are_refused():
    for params in ({"n_components": 0}, {"n_components": 1.0}, {"n_components": None}, {"distance": "other"}):
        with pytest.raises(ConfigError):
            from_params("pca", params)


def test_moments_of_no_data_are_refused():
    *_, (_, _, state) = history(PCA(), [rows(50)])
    products = state["moments/products"].copy()
    products[1] = 10 * products[0]  # a correlation of ten
    lie = State(state.detector, state.version, state.params, {**state.arrays, "moments/products": products})
    with pytest.raises(DataError, match="of no data"):
        PCA().derive(lie)
