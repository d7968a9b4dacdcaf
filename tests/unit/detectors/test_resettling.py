"""One training, many settings: which parameters are free, and that no other is."""

import inspect
from functools import lru_cache

import numpy as np
import pytest

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import marks, sample, taught
from fedanomaly.errors import ConfigError

SMALL = {
    "gradient_boosting": {"n_trees": 2, "depth": 2},
    "random_trees": {"n_trees": 8},
    "loda": {"n_projections": 8},
    "kernel_mean": {"n_cosines": 16},
    "ensemble": {"detectors": ("hbos", "mahalanobis")},
    "autoencoder": {"n_epochs": 1, "n_hidden": 3},
    "gaussian_mixture": {"n_rounds": 2},
    "kmeans": {"n_rounds": 2, "n_clusters": 8},
}
"""Parameters with which a training is quick."""
OTHERS = {
    "polynomial": True,
    "contamination": 0.05,
    "ridge": 0.7,
    "reach": 2.0,
    "n_components": 2,
    "distance": "whitened",
    "alpha": 0.3,
    "measure": "distance",
    "min_share": 0.05,
    "support": 0.6,
    "covariance": "diagonal",
    "n_rounds": 3,
    "n_clusters": 2,
    "n_hidden": 2,
    "n_epochs": 2,
    "l2": 50.0,
    "learning_rate": 0.5,
    "n_trees": 3,
    "depth": 1,
    "min_weight": 90.0,
    "max_bins": 3,
    "n_projections": 5,
    "n_cosines": 32,
    "random_state": 9,
    "order": 1,
    "table_bits": 9,
    "lags": 3,
    "detectors": ("hbos",),
}
"""Another value of every parameter."""
EVERY = [(name, param) for name, kind in registry().items() for param in sorted(inspect.signature(kind).parameters)]


@lru_cache
def trained(name, **params):
    return taught(from_params(name, {**SMALL.get(name, {}), **params}), sample())


def sums_of(detector):
    """Return what was opened but for the threshold, and what the threshold is not part of."""
    return {key: array.tolist() for key, array in detector.state_.arrays.items() if not key.startswith("score/")}


@pytest.mark.parametrize(("name", "param"), [case for case in EVERY if case[1] in registry()[case[0]].free])
def test_a_free_parameter_changes_without_new_sums_what_a_training_would(name, param):
    rows = sample()

    found = trained(name).resettled(rows, **{param: OTHERS[param]})

    wanted = trained(name, **{param: OTHERS[param]})
    assert found.state_.to_bytes() == wanted.state_.to_bytes()
    assert np.array_equal(found.anomaly_scores(rows), wanted.anomaly_scores(rows))
    assert found.offset_ == wanted.offset_


@pytest.mark.parametrize(("name", "param"), [case for case in EVERY if case[1] not in registry()[case[0]].free])
def test_a_parameter_that_says_what_is_summed_is_not_free(name, param):
    detector = trained(name)

    with pytest.raises(ConfigError, match=f"{param} of {name} says what is summed"):
        detector.resettled(sample(), **{param: OTHERS[param]})
    if (name, param) not in SAME_SUMS:
        assert sums_of(detector) != sums_of(trained(name, **{param: OTHERS[param]}))


SAME_SUMS = {
    ("vector_autoregression", "lags"),  # says what the columns are, which another value does not change
    ("robust_mahalanobis", "ridge"),  # says which rows are far away, and so which are summed: not on every data
}


def test_a_value_that_is_not_allowed_and_no_rows_are_refused():
    detector = trained("mahalanobis")

    with pytest.raises(ConfigError, match="ridge"):
        detector.resettled(sample(), ridge=7)
    with pytest.raises(ConfigError, match="needs rows"):
        detector.resettled(sample()[:0], ridge=0.5)


def test_names_of_columns_stay():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(sample(), columns=list("abcdefgh"))

    detector = from_params("pca").fit(frame).resettled(frame, distance="whitened")

    assert detector.feature_names_in_.tolist() == list("abcdefgh")
    assert marks(sample()).shape == detector.anomaly_scores(frame).shape
