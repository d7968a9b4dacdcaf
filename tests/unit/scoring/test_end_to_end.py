"""A tenant's events through a real service give the scores that they have in the clear."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fedanomaly.detectors import PCA, Mahalanobis
from fedanomaly.errors import FedAnomalyError
from fedanomaly.scoring import EncryptedScorer, HttpExchange
from tests.unit.scoring.conftest import MODEL, batch_id, circuit, readings, serve

TOLERANCE = 5e-4


@pytest.mark.parametrize("events", [1, 7, 4096])
def test_scores_are_those_of_the_circuit(standing, events):
    exchange, x = standing.exchange(), readings(events)
    tenant = standing.tenant(MODEL, exchange=exchange)
    batch, key = tenant.encrypt(x)
    scores = key.decrypt(exchange.answer(MODEL.digest, batch, batch_id()))
    np.testing.assert_allclose(scores, MODEL.evaluate(x), rtol=TOLERANCE, atol=1e-3)


@pytest.mark.parametrize("detector", [PCA(n_components=2), Mahalanobis()], ids=["PCA", "Mahalanobis"])
def test_a_detector_scores_remotely_as_locally(served, detector):
    x = np.random.default_rng(1).normal(size=(500, 4)) @ np.random.default_rng(2).normal(size=(4, 4))
    detector.fit(x)
    model, prepared = detector.circuit(), detector._scorer.readings(x)
    exchange = served.exchange()
    exchange.upload(model)
    batch, key = served.tenant(model, exchange=exchange).encrypt(prepared)
    got = key.decrypt(exchange.answer(model.digest, batch, batch_id()))
    scores = detector._scorer.combined(got, prepared)
    np.testing.assert_allclose(scores, detector.anomaly_scores(x), rtol=5e-3, atol=5e-3)


def test_a_scorer_uses_the_model_that_was_released(service, monkeypatch):
    x = np.random.default_rng(1).normal(size=(9_000, 4))
    detector = Mahalanobis().fit(x)
    service.release(detector.circuit().balanced()[0])
    monkeypatch.setattr(HttpExchange, "upload", None)
    with serve(service):
        scored = EncryptedScorer(detector, service.exchange()).score(x)
    np.testing.assert_allclose(scored.scores, detector.anomaly_scores(x), rtol=TOLERANCE, atol=TOLERANCE)
    assert (scored.batches, scored.local) == (3, 0)


def test_two_tenants_and_many_threads_get_their_own_scores(standing):
    failures = []

    def work(identity, n):
        try:
            exchange, x = standing.exchange(identity), readings(50 + n)
            tenant = standing.tenant(MODEL, identity, exchange)
            for _ in range(5):
                batch, key = tenant.encrypt(x)
                scores = key.decrypt(exchange.answer(MODEL.digest, batch, batch_id()))
                np.testing.assert_allclose(scores, MODEL.evaluate(x), rtol=TOLERANCE, atol=1e-3)
        except (AssertionError, FedAnomalyError) as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(identity, n))
        for n, identity in enumerate([standing.north, standing.south] * 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_the_list_tells_what_a_tenant_needs(standing):
    (view,) = standing.exchange().models()
    shape = standing.exchange().offer(MODEL.digest).shape
    assert (view.name, view.version, view.digest, view.private) == ("payments", 1, MODEL.digest.hex(), False)
    assert (view.kind, view.features, view.outputs, view.weight_bits) == ("quadratic", 3, 1, shape.weight_bits)
    assert (view.batch_bytes, view.answer_bytes) == (shape.batch_bytes, shape.answer_bytes)


def test_a_batch_of_megabytes(served):
    model, x = circuit(6, features=100, forms=20), readings(4096, 100)
    exchange = served.exchange()
    exchange.upload(model)
    batch, key = served.tenant(model, exchange=exchange).encrypt(x)
    scores = key.decrypt(exchange.answer(model.digest, batch, batch_id()))
    np.testing.assert_allclose(scores, model.evaluate(x), rtol=TOLERANCE, atol=1e-3)


def test_a_linear_model_with_several_outputs(served):
    model = circuit(5, features=4, forms=3, kind="linear")
    served.release(model, name="linear")
    exchange = served.exchange()
    exchange.upload(model)
    x = readings(100, 4)
    batch, key = served.tenant(model, exchange=exchange).encrypt(x)
    scores = key.decrypt(exchange.answer(model.digest, batch, batch_id()))
    np.testing.assert_allclose(scores, model.evaluate(x), rtol=TOLERANCE, atol=1e-3)
