"""Equal events have equal scores, whatever noise their ciphertexts carry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import LogisticRegression, Mahalanobis
from fedanomaly.errors import WrongAnswerError
from fedanomaly.fhe.tenant import BatchKey
from fedanomaly.scoring import EncryptedScorer, InProcess
from fedanomaly.scoring.alike import Keys, levelled
from fedanomaly.scoring.scored import Scored

RNG = np.random.default_rng(8)
ROWS = RNG.normal(size=(3_000, 4)) @ RNG.normal(size=(4, 4))
DETECTOR = Mahalanobis().fit(ROWS)
NOISE = 0.5


def scored_of(truth, rng):
    scores = truth + rng.uniform(-NOISE, NOISE, len(truth))
    return Scored(scores, scores - NOISE, scores + NOISE, 1.0, batches=3, local=1, bytes_up=10, bytes_down=2)


@given(st.lists(st.integers(0, 12), max_size=40), st.booleans(), st.integers(0, 2**32 - 1))
def test_those_that_are_alike_are_levelled_and_no_others(kinds, first_keys_coincide, random_state):
    rng = np.random.default_rng(random_state)
    kinds = np.array(kinds, dtype=np.int64)
    keys = Keys(np.ones(2), 8).of(np.stack([kinds % 4, kinds // 4], axis=1).astype(np.float64))
    keys[0] *= not first_keys_coincide
    scored = scored_of(1.0 * kinds, rng)
    out = levelled(scored, keys)
    for score in set(out.scores.tolist()):
        those = out.scores == score
        assert len(set(kinds[those].tolist())) == 1
        lower, upper = scored.lower[those].max(), scored.upper[those].min()
        assert (out.lower[those] == lower).all()
        assert (out.upper[those] == upper).all()
        assert np.allclose(score, np.clip(scored.scores[those].mean(), lower, upper))
    assert len(set(out.scores.tolist())) == len(set(kinds.tolist()))
    assert ((out.lower <= kinds) & (kinds <= out.upper)).all()
    assert ((out.lower <= out.scores) & (out.scores <= out.upper)).all()
    assert (out.threshold, out.batches, out.local, out.bytes_up, out.bytes_down) == (1.0, 3, 1, 10, 2)


@given(st.integers(1, 2_000), st.integers(0, 2**32 - 1))
def test_the_keys_of_an_event_do_not_depend_on_its_place(features, random_state):
    rng = np.random.default_rng(random_state)
    divisors = 2.0 ** rng.integers(-3, 7, features)
    steps = rng.integers(-(1 << 14), (1 << 14) + 1, (33, features))
    steps[:2] = 1 << 14
    readings = steps / 256 / divisors
    keys = Keys(256 * divisors, 1 << 14)
    together = keys.of(readings)
    assert np.array_equal(together[:, 1:], keys.of(readings[1:]))
    assert np.array_equal(together, np.hstack([keys.of(readings[at : at + 1]) for at in range(33)]))
    assert len(np.unique(together, axis=1).T) == len(np.unique(steps, axis=0))


def test_every_scorer_has_keys_of_its_own_that_tell_64_bits():
    some, other = Keys(np.full(30, 256.0), 1 << 14), Keys(np.full(30, 256.0), 1 << 14)
    readings = np.ones((1, 30)) / 256
    assert (some.of(readings) != other.of(readings)).all()
    # Their weights are uniform, so one difference is met with 2^-bits by each key.
    bits = [np.log2(np.max(keys._weights / 256)) for keys in (some, other)]
    assert min(bits) > 32.5
    assert some.count == 2


def test_no_events_are_level():
    assert len(EncryptedScorer(DETECTOR, InProcess()).score(ROWS[:0])) == 0


@pytest.mark.parametrize("hide_model", [False, True])
def test_equal_events_have_one_score_in_all_batches(hide_model):
    kinds = RNG.integers(0, 300, 9_000)
    rows = ROWS[kinds]
    rows += 1e-9 * RNG.normal(size=rows.shape)  # far below a step of what is encrypted
    scored = EncryptedScorer(DETECTOR, InProcess(), hide_model=hide_model, workers=2).score(rows)
    local = DETECTOR.anomaly_scores(rows)
    assert len(np.unique(scored.scores)) == len(np.unique(local)) <= 300
    assert ((scored.lower <= local) & (local <= scored.upper)).all()
    labels = kinds % 7 == 0
    assert roc_auc_score(labels, scored.scores) == pytest.approx(roc_auc_score(labels, local), abs=5e-5)


def test_linear_scores_are_level_too():
    detector = LogisticRegression().fit(ROWS, ROWS[:, 0] > 1)
    scored = EncryptedScorer(detector, InProcess()).score(np.repeat(ROWS[:20], 30, axis=0))
    assert (scored.scores.reshape(20, 30) == scored.scores[::30, None]).all()


@pytest.mark.parametrize("hide_model", [False, True])
def test_a_service_that_bends_one_of_equal_events_is_found_out_without_a_canary(monkeypatch, hide_model):
    honest, bend = BatchKey.decrypt, [True]

    def bent(key, answer):
        outputs = honest(key, answer).copy()
        outputs[5] += bend[0]
        return outputs

    monkeypatch.setattr(BatchKey, "decrypt", bent)
    for module in ("scorer", "hidden"):
        monkeypatch.setattr(f"fedanomaly.scoring.{module}.drawn", lambda *_: np.array([0]))
    rows = np.repeat(ROWS[:1], 10, axis=0)
    scorer = EncryptedScorer(DETECTOR, InProcess(), hide_model=hide_model)
    with pytest.raises(WrongAnswerError, match="spent" if hide_model else "equal events"):
        scorer.score(rows)
    bend[0] = False
    if hide_model:
        with pytest.raises(WrongAnswerError, match="spent"):
            scorer.score(rows)
    else:
        assert len(set(scorer.score(rows).scores)) == 1
