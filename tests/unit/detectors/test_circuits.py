"""Every detector says what of it is computed on ciphertexts, or why nothing is."""

import json

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.rehearsal import sample, taught
from fedanomaly.errors import ConfigError
from fedanomaly.fhe.scoring import PreparedCircuit, seed
from fedanomaly.fhe.tenant import Tenant

WITH = ("gaussian_mixture", "kmeans", "logistic_regression", "mahalanobis", "pca", "robust_mahalanobis")
SETTINGS = [
    *((name, {}) for name in (*WITH, "vector_autoregression")),
    ("kmeans", {"measure": "distance"}),
    ("gaussian_mixture", {"covariance": "diagonal"}),
    ("pca", {"distance": "whitened"}),
    ("pca", {"distance": "reconstruction", "n_components": 2}),
    ("autoencoder", {"polynomial": True}),
    ("autoencoder", {"polynomial": True, "n_hidden": 1, "n_epochs": 0}),
    ("loda", {"polynomial": True}),
    ("loda", {"polynomial": True, "n_projections": 1}),
]


@pytest.mark.parametrize("name", registry())
def test_a_detector_has_a_circuit_or_a_reason(name):
    detector = taught(from_params(name), sample())
    circuit = detector.circuit()
    assert (circuit is None) == bool(detector.why_no_circuit)
    if circuit is not None:
        assert circuit.features == detector.n_features_in_


@pytest.mark.parametrize("name", [name for name, kind in registry().items() if kind.circuit_with])
def test_a_setting_that_brings_a_circuit_brings_it_and_an_error_names_it(name):
    kind = registry()[name]
    setting, value = kind.circuit_with.split("=")
    assert taught(from_params(name, {setting: json.loads(value)}), sample()).circuit() is not None
    with pytest.raises(ConfigError, match=f"only with {kind.circuit_with}; else its score") as caught:
        taught(from_params(name), sample()).encryptable()
    assert f"--param {kind.circuit_with}" in caught.value.hint


@pytest.mark.parametrize("name", WITH)
def test_an_unfitted_detector_has_no_circuit(name):
    with pytest.raises(NotFittedError):
        from_params(name).circuit()


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_circuit_and_what_stays_outside_give_the_score(name, settings):
    rows = sample()
    detector = taught(from_params(name, settings), rows)
    scorer, circuit = detector._scorer, detector.circuit()
    readings = scorer.readings(rows)
    assert np.abs(readings).max() <= 64
    outputs = circuit.evaluate(readings)
    scores = scorer.combined(outputs, readings)
    assert np.array_equal(scores, scorer.combined(outputs, readings + 1.0)) == scorer.outputs_suffice
    # An autoencoder rounds the squares of its projections, so that sums of them are exact: far below any noise.
    assert np.allclose(scores, detector.anomaly_scores(rows), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_the_score_rises_with_every_output(name, settings):
    rows = sample()[:50]
    detector = taught(from_params(name, settings), sample())
    scorer = detector._scorer
    readings = scorer.readings(rows)
    outputs = detector.circuit().evaluate(readings)
    before = scorer.combined(outputs, readings)
    for output in range(outputs.shape[1]):
        raised = outputs.copy()
        raised[:, output] += 0.5
        assert (scorer.combined(raised, readings) >= before - 1e-12).all()


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_encrypted_scores_are_the_local_ones(name, settings):
    rows = sample()
    detector = taught(from_params(name, settings), rows)
    scorer, circuit = detector._scorer, detector.circuit()
    service = PreparedCircuit(circuit, seed(b"f", circuit.digest, b"t"))
    tenant = Tenant(service.shape, seed(b"f", circuit.digest, b"t"), service.constants())
    readings = scorer.readings(rows)
    batch, key = tenant.encrypt(readings)
    scores, wanted = scorer.combined(key.decrypt(service.score(batch)), readings), detector.anomaly_scores(rows)
    assert np.max(np.abs(scores - wanted) / np.maximum(1.0, wanted)) <= (3e-3 if circuit.kind == "polynomial" else 5e-4)
