"""A scorer that hides its model: the scores are the detector's, and a service that lies ends the model's secrets."""

import hashlib

import numpy as np
import pytest
import structlog

from fedanomaly.detectors import HBOS, PCA, GaussianMixture, LogisticRegression, Mahalanobis
from fedanomaly.errors import (
    CapacityError,
    ConfigError,
    CryptoError,
    DataError,
    MessageError,
    NotFoundError,
    UnavailableError,
    WrongAnswerError,
)
from fedanomaly.fhe.hidden import HiddenShape
from fedanomaly.fhe.model_key import encrypt_model
from fedanomaly.fhe.tenant import BatchKey
from fedanomaly.scoring import EncryptedScorer, InProcess
from fedanomaly.scoring.hidden import HiddenModel
from fedanomaly.types import Circuit
from tests.unit.scoring.conftest import circuit, home_in, readings, serve
from tests.unit.scoring.test_refusals import code_of, put

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(9_000, 4)) @ RNG.normal(size=(4, 4))
DETECTOR = Mahalanobis().fit(ROWS)


class Cheat(InProcess):
    """A service that does something else with answers."""

    def __init__(self, does):
        super().__init__()
        self.does = does

    def answer(self, digest, batch, batch_id, meanwhile):
        return self.does(super().answer(digest, batch, batch_id, meanwhile))


@pytest.mark.parametrize("events", [0, 1, 4096, 9_000])
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_events_scores_like_the_detector(events, workers):
    scored = EncryptedScorer(DETECTOR, InProcess(), workers=workers, hide_model=True).score(ROWS[:events])
    wanted = DETECTOR.anomaly_scores(ROWS[:events])
    assert np.allclose(scored.scores, wanted, rtol=5e-4, atol=5e-4)
    assert ((scored.lower <= wanted) & (wanted <= scored.upper)).all()
    assert (scored.batches, scored.local) == (-(-events // 4096), 0)
    shape = HiddenShape(4, 4)
    assert scored.bytes_up == scored.batches * shape.batch_bytes
    assert scored.bytes_down == scored.batches * shape.answer_bytes


def test_events_that_no_batch_of_squares_holds_are_scored_on_ciphertexts():
    """Forms do not leave their range: nothing is scored here, and nothing is sent twice."""
    tight = RNG.normal(size=(2_000, 2)) / 100
    detector = GaussianMixture(n_components=2).fit(np.vstack([tight - 3, tight + 3]))
    rows = np.vstack([tight[:5] - 3, tight[:5] + 3, [[0.0, 0.0]]])
    scored, local = EncryptedScorer(detector, InProcess(), hide_model=True).score(rows), detector.anomaly_scores(rows)
    assert (scored.batches, scored.local) == (1, 0)
    assert ((scored.lower <= local) & (local <= scored.upper)).all()
    far = np.full((4096, 4), 1e30)
    scored = EncryptedScorer(DETECTOR, InProcess(), hide_model=True).score(far)
    assert (scored.batches, scored.local) == (1, 0)
    assert np.allclose(scored.scores, DETECTOR.anomaly_scores(far), rtol=5e-4)


def test_linear_circuits_are_hidden_too():
    labels = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)
    detector = LogisticRegression().fit(ROWS, labels)
    scored, wanted = EncryptedScorer(detector, InProcess(), hide_model=True).score(ROWS), detector.anomaly_scores(ROWS)
    assert np.allclose(scored.scores, wanted, rtol=5e-4, atol=5e-4)
    assert ((scored.lower <= wanted) & (wanted <= scored.upper)).all()


def test_the_bounds_of_forms_hold_and_are_not_much_wider_than_the_noise():
    """Also for an event whose partner in the slot is far away, whose readings its noise meets."""
    model = circuit(3, features=20, forms=5)
    hidden = HiddenModel(model, InProcess(), 8)
    x = np.random.default_rng(1).normal(size=(4096, 20))
    x[2048:2148] = 64.0  # partners of the first hundred
    wanted = x @ model.weights.T
    bounds = hidden._noise.bounds(x)
    worst = 0.0
    for _ in range(5):
        forms = hidden._answered(x, int)
        worst = np.maximum(worst, np.abs(forms - wanted) / bounds)
    assert worst.max() < 0.9
    assert worst[:100].max() > 0.25
    assert worst[200:2048].max() > 0.25
    assert bounds[:100].min() > 5 * bounds[200:2048].max()


def double(answer):
    words = np.frombuffer(answer, dtype="<u4").astype(np.uint64).reshape(-1, 2, 4096)
    primes = np.array([1073692673, 1073668097], dtype=np.uint64)[:, None]
    return (2 * words % primes).astype("<u4").tobytes()


def probe(answer):
    """Change the polynomial that meets the secrets of the weights, by as little as can be."""
    words = np.frombuffer(answer, dtype="<u4").copy().reshape(-1, 2, 4096)
    words[-1] ^= 1
    return words.tobytes()


class Replaying:
    """Answers every batch after the first with the first one's answer."""

    def __init__(self):
        self.first = None

    def __call__(self, answer):
        self.first = self.first or answer
        return self.first


@pytest.mark.parametrize(
    "does", [lambda answer: bytes(len(answer)), double, probe, Replaying()], ids=["zeros", "scaled", "probe", "stale"]
)
def test_a_service_that_answers_something_else_is_found_out_and_gets_no_second_try(does):
    sent = []
    scorer = EncryptedScorer(DETECTOR, Cheat(lambda answer: sent.append(1) or does(answer)), workers=1, hide_model=True)
    with pytest.raises(WrongAnswerError):
        scorer.score(ROWS)
    asked = len(sent)
    with pytest.raises(WrongAnswerError, match="spent"):
        scorer.score(ROWS)
    assert len(sent) == asked


def test_forms_that_are_bent_within_their_range_end_the_secrets_as_well(monkeypatch):
    honest = BatchKey.decrypt
    monkeypatch.setattr(BatchKey, "decrypt", lambda key, answer: honest(key, answer) + 0.01)
    scorer = EncryptedScorer(DETECTOR, InProcess(), workers=2, hide_model=True)
    with pytest.raises(WrongAnswerError):
        scorer.score(ROWS)
    monkeypatch.undo()
    with pytest.raises(WrongAnswerError):
        scorer.score(ROWS)


def test_the_secrets_of_the_model_end_with_the_scorer():
    with EncryptedScorer(DETECTOR, InProcess(), hide_model=True) as scorer:
        assert len(scorer.score(ROWS[:10])) == 10
    with pytest.raises(CryptoError):
        scorer._hidden._key.encrypt(ROWS[:10])
    with pytest.raises(UnavailableError):
        scorer.score(ROWS[:10])


def test_a_service_that_forgot_the_model_gets_the_same_bytes_again_and_a_fresh_batch():
    uploads, batches = [], []

    class Forgetful(InProcess):
        def upload(self, circuit):
            uploads.append(circuit.to_bytes())
            super().upload(circuit)

        def answer(self, digest, batch, batch_id, meanwhile):
            batches.append(bytes(batch))
            if len(batches) == 1:
                self._prepared.clear()
            return super().answer(digest, batch, batch_id, meanwhile)

    scored = EncryptedScorer(DETECTOR, Forgetful(), hide_model=True).score(ROWS[:10])
    assert np.allclose(scored.scores, DETECTOR.anomaly_scores(ROWS[:10]), rtol=5e-4, atol=5e-4)
    assert len(uploads) == 2
    assert len(set(uploads)) == 1
    assert len(set(batches)) == 2


def test_an_error_of_the_service_reaches_the_caller_and_the_secrets_live_on():
    down = [True]

    def sometimes(answer):
        if down[0]:
            raise MessageError("cut off")
        return answer

    scorer = EncryptedScorer(DETECTOR, Cheat(sometimes), hide_model=True)
    with pytest.raises(MessageError):
        scorer.score(ROWS)
    down[0] = False
    assert len(scorer.score(ROWS).scores) == len(ROWS)


def test_nothing_of_the_circuit_reaches_the_service():
    told = []

    class Curious(InProcess):
        def offer(self, digest):
            told.append(digest)
            return super().offer(digest)

        def upload(self, circuit):
            told.append(circuit.to_bytes())
            super().upload(circuit)

        def answer(self, digest, batch, batch_id, meanwhile):
            told.append(digest)
            return super().answer(digest, batch, batch_id, meanwhile)

    EncryptedScorer(DETECTOR, Curious(), hide_model=True).score(ROWS[:10])
    model = DETECTOR.circuit().balanced()[0]
    everything = b"".join(told)
    assert len(told) == 2
    for number in (*model.weights.ravel(), *model.bias):
        assert number.tobytes() not in everything
    assert model.digest not in everything


@pytest.mark.parametrize("size", [0.0, 1e-200, 1e-6, 1.0, 1e7])
def test_weights_of_any_size_are_hidden_as_finely(size):
    model = Circuit("linear", (1, 1), np.array([[size, -size], [1.0, 2.0]]), np.zeros(2))
    x = np.random.default_rng(1).normal(size=(100, 2))
    outputs, errors = HiddenModel(model, InProcess(), 8).score(x)
    assert (np.abs(outputs - model.evaluate(x)) <= errors).all()
    assert np.abs(outputs - model.evaluate(x))[:, 0].max() <= (1e-3 * size if size > 1e-100 else 1e-4)


def test_what_cannot_be_hidden_says_why():
    with pytest.raises(ConfigError, match="hbos"):
        EncryptedScorer(HBOS().fit(ROWS), InProcess(), hide_model=True)
    other = Circuit("linear", (1,), np.ones((1, 2)), np.zeros(1))
    object.__setattr__(other, "kind", "cubic")
    with pytest.raises(ConfigError, match="cubic"):
        HiddenModel(other, InProcess(), 8)


def test_rows_that_cannot_be_scored_are_refused_and_end_nothing():
    scorer = EncryptedScorer(DETECTOR, InProcess(), hide_model=True)
    rows = ROWS[:5].copy()
    rows[2, 2] = np.inf
    with pytest.raises(DataError):
        scorer.score(rows)
    assert len(scorer.score(ROWS[:5]).scores) == 5


# --- over HTTP -----------------------------------------------------------------


def test_a_hidden_model_scores_remotely_as_locally(standing):
    detector = PCA(n_components=2).fit(ROWS)
    exchange = standing.exchange()
    with structlog.testing.capture_logs() as lines:
        scored = EncryptedScorer(detector, exchange, hide_model=True).score(ROWS)
    assert np.allclose(scored.scores, detector.anomaly_scores(ROWS), rtol=5e-4, atol=5e-4)
    view = [view for view in exchange.models() if view.kind == "encrypted"][-1]
    shape = HiddenShape(4, len(detector.circuit().bias))
    assert (view.private, view.name, view.features, view.outputs, view.weight_bits) == (True, "", 4, shape.forms, 0)
    assert (view.batch_bytes, view.answer_bytes) == (shape.batch_bytes, shape.answer_bytes)
    assert "error" not in repr(lines)


@pytest.mark.parametrize("settings", [{"max_uploads_per_tenant": 0}, {"max_upload_mib": 1}])
def test_a_service_that_does_not_take_a_hidden_model_is_told_of_with_what_to_change(tmp_path, settings):
    refused = pytest.raises(CapacityError, match=r"does not take this encrypted model of 1\.2 MiB")
    with home_in(tmp_path, **settings) as service, serve(service), refused as caught:
        HiddenModel(circuit(features=8, forms=5), service.exchange(), 8)
    assert "max_upload_mib and max_uploads_per_tenant" in caught.value.hint


def test_a_hidden_model_is_its_senders_alone(standing):
    model, key = encrypt_model(circuit().weights)
    standing.exchange().upload(model)
    batch, _ = key.encrypt(readings(3))
    with pytest.raises(NotFoundError):
        standing.exchange(standing.south).answer(model.digest, batch, bytes(16))
    assert not [view for view in standing.exchange(standing.south).models() if view.digest == model.digest.hex()]


def test_a_hidden_model_has_no_constants(standing):
    model, _ = encrypt_model(circuit().weights)
    for exchange in (standing.exchange(), InProcess()):
        exchange.upload(model)
        with pytest.raises(MessageError):
            exchange.offer(model.digest)


def test_an_upload_that_is_no_encrypted_model(standing):
    model, _ = encrypt_model(circuit().weights)
    whole = model.to_bytes()
    for body in (whole[:-1], whole + b"x", whole[:-4] + b"\xff" * 4, whole[:40]):
        assert put(standing, hashlib.sha256(body).digest(), body) == (422, "FA301")
    changed = whole[:-4] + bytes(4)
    assert put(standing, model.digest, changed) == (422, "FA301")


def test_a_hidden_model_beyond_the_limit_is_refused(standing):
    model, _ = encrypt_model(np.ones((20, 30)))  # 19 MiB of 16
    with pytest.raises(CapacityError):
        standing.exchange().upload(model)


def test_hidden_models_count_with_their_size(standing):
    exchange, models = standing.exchange(standing.south), [encrypt_model(np.ones((10, 30)))[0] for _ in range(2)]
    for model in models:  # 9.4 MiB each, of 16
        exchange.upload(model)
    assert [view.digest for view in exchange.models() if view.private] == [models[1].digest.hex()]


def test_an_answer_of_a_hidden_model_wants_its_batch(standing):
    model, _ = encrypt_model(circuit().weights)
    standing.exchange().upload(model)
    path = f"/v1/models/{model.digest.hex()}/batches"
    assert code_of(standing.ask(standing.signed("POST", path, bytes(100)))) == (422, "FA301")
