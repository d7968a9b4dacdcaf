"""Scores of any number of events, by a service that sees ciphertexts only."""

import copy
import dataclasses
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fedanomaly.detectors import HBOS, GaussianMixture, Mahalanobis, from_params, registry
from fedanomaly.detectors.rehearsal import sample, taught
from fedanomaly.errors import ConfigError, DataError, NotFoundError, UnavailableError, WrongAnswerError
from fedanomaly.fhe.tenant import BatchKey
from fedanomaly.scoring import EncryptedScorer, InProcess
from fedanomaly.scoring.canaries import drawn
from fedanomaly.scoring.wire import Offer

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(9_000, 4)) @ RNG.normal(size=(4, 4))
DETECTOR = Mahalanobis().fit(ROWS)
POLYNOMIAL = ("autoencoder", "loda")


def near_copies(width):
    """Rows of six columns, and of the same once more, up to a width: a small difference is a large score."""
    generator = np.random.default_rng(9)
    columns, noise = generator.normal(size=(2, 9_000, 6))
    return np.hstack([columns, columns + width * noise])


@cache
def of_degree_4(name):
    return from_params(name, {"polynomial": True}).fit(ROWS)


class Cheat(InProcess):
    """A service that does something else with batches or answers."""

    def __init__(self, does):
        super().__init__()
        self.does = does

    def answer(self, digest, batch, batch_id, meanwhile):
        return self.does(super().answer(digest, batch, batch_id, meanwhile))


@pytest.mark.parametrize("events", [0, 1, 7, 4096, 4097, 9_000])
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_events_scores_like_the_detector(events, workers):
    scored = EncryptedScorer(DETECTOR, InProcess(), workers=workers).score(ROWS[:events])
    wanted = DETECTOR.anomaly_scores(ROWS[:events])
    assert np.allclose(scored.scores, wanted, rtol=5e-4, atol=5e-4)
    assert ((scored.lower <= wanted) & (wanted <= scored.upper)).all()
    assert scored.batches == -(-events // 4096)
    assert scored.local == 0


@pytest.mark.parametrize("name", ["gaussian_mixture", "kmeans", "logistic_regression", "pca", "autoencoder", "loda"])
def test_the_true_score_lies_between_the_bounds(name):
    rows = sample()
    detector = taught(from_params(name, {"polynomial": True} if name in POLYNOMIAL else {}), rows)
    scored, wanted = EncryptedScorer(detector, InProcess()).score(rows), detector.anomaly_scores(rows)
    assert ((scored.lower <= wanted) & (wanted <= scored.upper)).all()
    assert ((scored.lower <= scored.scores) & (scored.scores <= scored.upper)).all()
    certain = ~scored.uncertain
    assert np.array_equal(scored.outliers[certain], (detector.predict(rows) == -1)[certain])


def test_a_scorer_is_usable_after_a_failure_and_has_left_nothing_under_way():
    under_way, failing = [], [True]

    def does(answer):
        under_way.append(answer)
        try:
            if failing:
                raise UnavailableError("away")
            return answer
        finally:
            under_way.remove(answer)

    scorer = EncryptedScorer(DETECTOR, Cheat(does), workers=2)
    with pytest.raises(UnavailableError, match="away"):
        scorer.score(ROWS)
    assert not under_way
    failing.clear()
    assert np.allclose(scorer.score(ROWS).scores, DETECTOR.anomaly_scores(ROWS), rtol=5e-4, atol=5e-4)


@pytest.mark.parametrize(
    "name", sorted({*(name for name in registry() if not from_params(name).why_no_circuit), *POLYNOMIAL})
)
def test_what_is_encrypted_are_the_readings_of_the_detector(name):
    rows = np.vstack([sample(), 30.0 * sample()])
    detector = taught(from_params(name, {"polynomial": True} if name in POLYNOMIAL else {}), rows)
    scorer = EncryptedScorer(detector, InProcess())
    readings = scorer._readings(detector.checked(rows)) * scorer._divisors
    assert np.array_equal(readings, detector.encryptable().readings(rows))


@pytest.mark.parametrize("name", POLYNOMIAL)
@pytest.mark.parametrize("events", [1, 4095, 4096, 9_000])
def test_any_number_of_events_is_scored_by_a_polynomial(name, events):
    scored = EncryptedScorer(of_degree_4(name), InProcess(), workers=2).score(ROWS[:events])
    wanted = of_degree_4(name).anomaly_scores(ROWS[:events])
    assert np.allclose(scored.scores, wanted, rtol=3e-3, atol=3e-3)
    assert ((scored.lower <= wanted) & (wanted <= scored.upper)).all()
    assert (scored.batches, scored.local) == (-(-events // 4095), 0)


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_events_that_leave_the_range_of_a_polynomial_are_scored_in_smaller_batches(name):
    detector = copy.copy(of_degree_4(name))
    detector._scorer = Far(detector._scorer)
    readings = detector._scorer.readings(ROWS[:4095])
    wanted = detector._scorer.combined(detector._scorer.circuit().evaluate(readings), readings)
    scored = EncryptedScorer(detector, InProcess()).score(ROWS[:4095])
    assert ((scored.lower <= wanted * (1 + 1e-9)) & (wanted * (1 - 1e-9) <= scored.upper)).all()
    assert np.allclose(scored.scores, wanted, rtol=3e-3)
    assert scored.batches > 1


class Far:
    """A scorer of large scores, whose events all lie where they are largest."""

    def __init__(self, scorer):
        self._scorer = scorer

    def circuit(self):
        own = self._scorer.circuit()
        rows = {name: 4.0 * getattr(own.layer, name) for name in ("mix", "direct", "shift")}
        return dataclasses.replace(own, layer=dataclasses.replace(own.layer, **rows))

    def readings(self, rows):
        reach = self._scorer.circuit().reach
        return np.clip(40.0 * self._scorer.readings(rows), -reach, reach)

    @property
    def scale(self):
        own = self._scorer.scale
        usual = -1.0  # so no row is
        return SimpleNamespace(center=own.center, width=own.width, grid=own.grid, limit=own.limit, usual=usual)

    def __getattr__(self, name):
        return getattr(self._scorer, name)


@pytest.mark.parametrize("name", POLYNOMIAL)
@pytest.mark.parametrize("does", ["zeros", "stale", "noise"])
def test_a_service_that_answers_something_else_than_a_polynomial_is_found_out(name, does):
    stale = Replaying()
    bent = {
        "zeros": lambda answer: bytes(len(answer)),
        "stale": stale,
        "noise": lambda answer: RNG.integers(0, 1 << 29, len(answer) // 4, dtype=np.uint32).tobytes(),
    }[does]
    with pytest.raises(WrongAnswerError):
        EncryptedScorer(of_degree_4(name), Cheat(bent), workers=1).score(ROWS)


def test_an_event_on_the_threshold_is_uncertain_and_few_others_are():
    scored = EncryptedScorer(DETECTOR, InProcess()).score(ROWS)
    nearest = np.abs(scored.scores - scored.threshold).argmin()
    near = copy.copy(DETECTOR)
    near.offset_ = -DETECTOR.anomaly_scores(ROWS[nearest : nearest + 1])[0]
    again = EncryptedScorer(near, InProcess()).score(ROWS)
    assert again.uncertain[nearest]
    assert again.uncertain.mean() < 0.01


def test_scores_are_taken_for_an_array():
    scored = EncryptedScorer(DETECTOR, InProcess()).score(ROWS[:10])
    assert np.array_equal(np.asarray(scored), scored.scores)
    assert np.asarray(scored, dtype=np.float32).dtype == np.float32


def test_frames_and_missing_readings_are_scored_like_locally():
    rows = ROWS[:50].copy()
    rows[3, 1] = np.nan
    frame = pd.DataFrame(rows, columns=list("abcd"))
    detector = Mahalanobis().fit(pd.DataFrame(ROWS, columns=list("abcd")))
    scored = EncryptedScorer(detector, InProcess()).score(frame)
    assert np.allclose(scored.scores, detector.anomaly_scores(frame), rtol=5e-4, atol=5e-4)


def test_rows_that_cannot_be_scored_are_refused_before_anything_is_sent():
    sent = []
    scorer = EncryptedScorer(DETECTOR, Cheat(lambda answer: sent.append(answer) or answer))
    with pytest.raises(ValueError, match="3 features"):
        scorer.score(ROWS[:, :3])
    rows = ROWS[:5].copy()
    rows[2, 2] = np.inf
    with pytest.raises(DataError, match=r"columns \[2\]"):
        scorer.score(rows)
    assert sent == []


def test_a_detector_without_a_circuit_says_why():
    with pytest.raises(ConfigError, match="hbos does not score on ciphertexts: its score looks up"):
        EncryptedScorer(HBOS().fit(ROWS), InProcess())


def test_progress_counts_every_event():
    done = []
    EncryptedScorer(DETECTOR, InProcess()).score(ROWS, progress=done.append)
    assert done == [4096, 4096, 808]


def test_sizes_are_those_that_travelled():
    travelled = {"up": 0, "down": 0}

    class Counting(InProcess):
        def answer(self, digest, batch, batch_id, meanwhile):
            answer = super().answer(digest, batch, batch_id, meanwhile)
            travelled["up"] += len(batch)
            travelled["down"] += len(answer)
            return answer

    scored = EncryptedScorer(DETECTOR, Counting()).score(ROWS)
    assert (scored.bytes_up, scored.bytes_down) == (travelled["up"], travelled["down"])


def test_a_model_is_uploaded_only_where_it_is_missing():
    service = InProcess()
    with pytest.raises(NotFoundError):
        service.offer(DETECTOR.circuit().digest)
    EncryptedScorer(DETECTOR, service)
    service.upload = None
    EncryptedScorer(DETECTOR, service)


def far(events, where, reading=1e30):
    rows = ROWS[:events].copy()
    rows[where] = reading
    return rows


@pytest.mark.parametrize("events", [1, 2, 4096])
def test_what_no_batch_can_hold_is_scored_in_smaller_ones_or_here(events):
    detector = Mahalanobis(ridge=1e-6).fit(near_copies(1e-4))
    rows = near_copies(0.0)[:events]
    rows[:1, 6:] *= -1e30
    scored, wanted = EncryptedScorer(detector, InProcess()).score(rows), detector.anomaly_scores(rows)
    assert ((scored.lower <= wanted * (1 + 1e-9)) & (wanted <= scored.upper * (1 + 1e-9))).all()
    assert scored.local <= 1
    assert scored.batches > (events > 1)


def test_a_model_whose_empty_places_are_out_of_range_is_scored_here():
    """Tight components far apart: the origin, and each component's events for the other, are far out of range."""
    tight = RNG.normal(size=(2_000, 2)) / 100
    detector = GaussianMixture(n_components=2).fit(np.vstack([tight - 3, tight + 3]))
    rows = np.vstack([tight[:5] - 3, tight[:5] + 3, [[0.0, 0.0]]])
    scored, local = EncryptedScorer(detector, InProcess()).score(rows), detector.anomaly_scores(rows)
    assert scored.local == len(rows)
    assert np.allclose(scored.scores, local, rtol=1e-9)


@pytest.mark.parametrize("bend", ["weight_bits", "constants"])
def test_a_service_that_describes_the_model_otherwise_is_refused(bend):
    class Vague(InProcess):
        def offer(self, digest):
            offer = super().offer(digest)
            if bend == "constants":
                return Offer(offer.shape, bytes(len(offer.constants)))
            return Offer(dataclasses.replace(offer.shape, weight_bits=4), offer.constants)

    with pytest.raises(WrongAnswerError):
        EncryptedScorer(DETECTOR, Vague())


def test_an_attack_on_all_events_of_a_batch_is_scored():
    rows = far(4096, slice(None))
    scored = EncryptedScorer(DETECTOR, InProcess()).score(rows)
    assert np.allclose(scored.scores, DETECTOR.anomaly_scores(rows), rtol=5e-4)
    assert scored.outliers.all()


def turned(answer):
    return bytes(len(answer))


def doubled(answer):
    words = np.frombuffer(answer, dtype="<u4").astype(np.uint64)
    limbs = np.array([1073692673, 1073668097, 1073651713], dtype=np.uint64)
    parts = [words[at * 12288 : (at + 1) * 12288].reshape(3, -1) for at in range(3)]
    parts.append(words[3 * 12288 :].reshape(3, -1))
    return np.concatenate([(2 * part % limbs[:, None]).ravel() for part in parts]).astype("<u4").tobytes()


class Replaying:
    """Answers every batch after the first with the first one's answer."""

    def __init__(self):
        self.first = None

    def __call__(self, answer):
        self.first = self.first or answer
        return self.first


@pytest.mark.parametrize("does", [turned, doubled, Replaying()], ids=["zeros", "scaled", "stale"])
def test_a_service_that_answers_something_else_is_found_out(does):
    scorer = EncryptedScorer(DETECTOR, Cheat(does), workers=1)
    with pytest.raises(WrongAnswerError):
        scorer.score(ROWS)


def test_an_error_of_the_service_reaches_the_caller_and_leaves_no_key(monkeypatch):
    keys = []
    decrypt = BatchKey.close
    monkeypatch.setattr(BatchKey, "close", lambda key: keys.append(key) or decrypt(key))

    def fails(_answer):
        raise NotFoundError("gone")

    with pytest.raises(NotFoundError):
        EncryptedScorer(DETECTOR, Cheat(fails), workers=2).score(ROWS)
    assert keys
    assert not any(key._finalizer.alive for key in keys)


@pytest.mark.parametrize(("events", "falsified"), [(100, 10), (40, 5)])
def test_falsified_events_are_caught_as_often_as_stated(monkeypatch, events, falsified):
    """Whatever way a service finds to bend the scores of some events, it does not know which are looked at."""
    honest, caught, turns = BatchKey.decrypt, 0, 300
    rng = np.random.default_rng(events)

    def bent(key, answer):
        outputs = honest(key, answer).copy()
        outputs[rng.choice(events, falsified, replace=False)] += 1.0
        return outputs

    monkeypatch.setattr(BatchKey, "decrypt", bent)
    scorer = EncryptedScorer(DETECTOR, InProcess(), n_canaries=3, workers=1)
    for _ in range(turns):
        try:
            scorer.score(ROWS[:events])
        except WrongAnswerError:
            caught += 1
    missed = np.prod([(events - falsified - at) / (events - at) for at in range(3)])
    deviation = np.sqrt(turns * missed * (1 - missed))
    assert abs(caught - turns * (1 - missed)) < 5 * deviation


def test_canaries_are_distinct_events_drawn_afresh():
    places = [tuple(drawn(4096, 8, 2048)) for _ in range(20)]
    assert all(len(set(each)) == 8 for each in places)
    assert all(min(each) < 2048 <= max(each) for each in places)
    assert len(set(places)) == 20
    assert sorted(drawn(3, 8, 2048)) == [0, 1, 2]
    assert len(drawn(4096, 1, 2048)) == 1


def test_scores_that_all_leave_the_range_by_as_much_are_not_taken_for_others():
    """All events of a half beyond the range, so that none turns negative when they wrap."""
    detector = Mahalanobis(ridge=1e-6).fit(near_copies(0.05))
    rows = np.c_[np.zeros((4096, 6)), np.repeat(np.linspace(2.0, 3.0, 4096)[:, None], 6, axis=1)]
    rows[2048:] *= RNG.random(2048)[:, None] / 100
    local = detector.anomaly_scores(rows)
    assert local[:2048].min() > 2 * 1920
    scored = EncryptedScorer(detector, InProcess()).score(rows)
    assert ((scored.lower <= local * (1 + 1e-9)) & (local <= scored.upper * (1 + 1e-9))).all()
    assert scored.batches > 1


def test_a_service_that_forgot_the_model_gets_it_again_and_a_fresh_batch():
    sent = []

    class Forgetful(InProcess):
        def answer(self, digest, batch, batch_id, meanwhile):
            sent.append(bytes(batch))
            if len(sent) == 1:
                self._prepared.clear()
            return super().answer(digest, batch, batch_id, meanwhile)

    scored = EncryptedScorer(DETECTOR, Forgetful()).score(ROWS[:10])
    assert np.allclose(scored.scores, DETECTOR.anomaly_scores(ROWS[:10]), rtol=5e-4, atol=5e-4)
    assert len(set(sent)) == 2
