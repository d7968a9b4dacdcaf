"""What scoring on ciphertexts costs is told by doing it once."""

import numpy as np
import pytest

from fedanomaly.detectors import HBOS, Autoencoder, GaussianMixture, KMeans, Loda, Mahalanobis
from fedanomaly.errors import CapacityError, ConfigError
from fedanomaly.fhe.tenant import Tenant
from fedanomaly.scoring import rehearsal
from fedanomaly.scoring.rehearsal import rehearse, rehearse_hidden
from fedanomaly.types import Circuit

ROWS = np.random.default_rng(0).normal(size=(500, 5))


def steepest():
    """Return a detector whose weights are too large to be computed exactly."""
    detector = Mahalanobis(ridge=1e-6).fit(np.repeat(ROWS[:, :1], 5, axis=1) + 1e-9 * ROWS)
    object.__setattr__(detector._scorer, "unit", detector._scorer.unit * 1e6)
    return detector


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
    assert max(loda.max_relative_error, network.max_relative_error) < 5e-4
    assert 0 < loda.approximation_error < 1
    assert network.approximation_error is None


def test_made_up_events_are_divided_as_those_of_a_tenant_are(monkeypatch):
    encrypted, encrypt = [], Tenant.encrypt
    monkeypatch.setattr(Tenant, "encrypt", lambda tenant, *rows: encrypted.append(rows[0]) or encrypt(tenant, *rows))
    network = Autoencoder(polynomial=True).fit(ROWS)
    rehearse(network)
    assert network.circuit().balanced()[1].tolist() == [1 / 8] * 5
    assert encrypted[0].std() == pytest.approx(8.0, rel=0.02)


def test_a_model_whose_normal_scores_are_large_is_rehearsed_with_smaller_events():
    steep = Mahalanobis(ridge=1e-6).fit(np.c_[ROWS[:, 0], ROWS[:, 0] + 1e-3 * ROWS[:, 1]])
    assert rehearse(steep).range > 0


def test_a_hidden_model_is_rehearsed_too():
    mixture = GaussianMixture(n_components=2, n_rounds=2, min_share=0.0).fit(ROWS)
    told = rehearse_hidden(mixture)
    assert (told.forms, told.measured_forms) == (10, 10)
    assert told.model_bytes == 5 * 10 * 32 * 1024
    assert (told.bytes_up_per_event, told.bytes_down_per_event) == (5 * 8, (10 + 1) * 8)
    assert 0 < told.max_relative_error < 5e-4
    assert min(told.model_s, told.service_events_per_s, told.owner_events_per_s) > 0


@pytest.mark.parametrize("detector", [KMeans(n_clusters=7), GaussianMixture(n_components=2, min_share=0.0)])
def test_a_large_hidden_model_is_measured_on_some_forms_and_told_of_as_a_whole(monkeypatch, detector):
    detector.fit(ROWS)
    whole = rehearse_hidden(detector)
    monkeypatch.setattr(rehearsal, "HIDDEN_WEIGHTS", 4 * 5)
    told = rehearse_hidden(detector)
    assert told.measured_forms == 4 < told.forms == whole.forms == whole.measured_forms
    assert told.model_bytes == whole.model_bytes
    assert told.bytes_down_per_event == whole.bytes_down_per_event
    assert 0 < told.max_relative_error < 5e-4


class Clock:
    """Every look at it finds one second gone."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1.0
        return self.now


def test_times_of_some_forms_are_scaled_up_to_all(monkeypatch):
    monkeypatch.setattr(rehearsal, "time", Clock())
    monkeypatch.setattr(rehearsal, "HIDDEN_WEIGHTS", 3 * 5)
    told = rehearse_hidden(KMeans(n_clusters=7).fit(ROWS))
    assert told.model_s == pytest.approx(told.forms / 3)
    assert 4096 / told.service_events_per_s == pytest.approx((told.forms + 1) / 4)
    assert 4096 / told.owner_events_per_s == pytest.approx(1 + told.forms / 3)


def test_what_cannot_be_hidden_says_why_without_encrypting_anything(monkeypatch):
    monkeypatch.setattr(rehearsal, "HiddenModel", None)
    with pytest.raises(ConfigError, match="histograms"):
        rehearse_hidden(HBOS().fit(ROWS))
    with pytest.raises(ConfigError, match="a polynomial circuit cannot be hidden"):
        rehearse_hidden(Autoencoder(polynomial=True).fit(ROWS))
    huge = Circuit("quadratic", (200,), np.ones((200, 200)), np.zeros(200))
    detector = Mahalanobis().fit(ROWS)
    object.__setattr__(detector._scorer, "circuit", lambda: huge)
    with pytest.raises(CapacityError, match="200 forms of 200 weights"):
        rehearse_hidden(detector)


def test_a_model_that_is_too_steep_in_the_clear_may_be_hidden():
    told = rehearse_hidden(steepest())
    assert told.max_relative_error < 5e-3


def test_what_cannot_be_computed_says_why():
    with pytest.raises(ConfigError, match="histograms"):
        rehearse(HBOS().fit(ROWS))
    with pytest.raises(CapacityError):
        rehearse(steepest())
