"""What scoring on ciphertexts costs is told by doing it once."""

import numpy as np
import pytest

from fedanomaly.detectors import HBOS, Autoencoder, GaussianMixture, Loda, Mahalanobis
from fedanomaly.errors import CapacityError, ConfigError
from fedanomaly.scoring.rehearsal import rehearse

ROWS = np.random.default_rng(0).normal(size=(500, 5))


def test_sizes_and_errors_are_those_of_the_model():
    told = rehearse(GaussianMixture(n_components=2, n_rounds=2, min_share=0.0).fit(ROWS))
    assert (told.kind, told.features, told.forms, told.outputs) == ("quadratic", 5, 10, 2)
    assert told.bytes_up_per_event == 60
    assert told.bytes_down_per_event == 84
    assert 0 < told.max_relative_error < 5e-4
    assert min(told.service_events_per_s, told.tenant_events_per_s) > 0


def test_a_polynomial_is_rehearsed_and_tells_what_it_approximates():
    loda, network = (rehearse(kind(polynomial=True).fit(ROWS)) for kind in (Loda, Autoencoder))
    assert (loda.kind, loda.features, loda.forms, loda.outputs) == ("polynomial", 5, 100, 1)
    assert network.bytes_up_per_event == pytest.approx(5 * 48, rel=1e-3)
    assert network.bytes_down_per_event == pytest.approx(192, rel=1e-3)
    assert max(loda.max_relative_error, network.max_relative_error) < 3e-3
    assert 0 < loda.approximation_error < 1
    assert network.approximation_error is None


def test_a_model_whose_normal_scores_are_large_is_rehearsed_with_smaller_events():
    steep = Mahalanobis(ridge=1e-6).fit(np.c_[ROWS[:, 0], ROWS[:, 0] + 1e-3 * ROWS[:, 1]])
    assert rehearse(steep).range > 0


def test_what_cannot_be_computed_says_why():
    with pytest.raises(ConfigError, match="histograms"):
        rehearse(HBOS().fit(ROWS))
    steepest = Mahalanobis(ridge=1e-6).fit(np.repeat(ROWS[:, :1], 5, axis=1) + 1e-9 * ROWS)
    scorer = steepest._scorer
    object.__setattr__(scorer, "unit", scorer.unit * 1e6)
    with pytest.raises(CapacityError):
        rehearse(steepest)
