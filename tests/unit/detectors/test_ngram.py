# ruff: noqa: N803, N806 - X is what scikit-learn calls the rows

import math

import numpy as np
import pytest

from fedanomaly.detectors import NGram
from fedanomaly.detectors.contract import federated
from fedanomaly.detectors.hashing import CHUNK, Language, gram_cells, mix, sequences
from fedanomaly.types import State

GAP = np.nan


def rows(*sessions):
    X = np.full((len(sessions), max(map(len, sessions))), GAP)
    for at, session in enumerate(sessions):
        X[at, : len(session)] = session
    return X


def lines(X, seed=0):
    return list(sequences(X, "test", seed))


USUAL = rows(*[[1, 2, 3, 2, 3]] * 60, *[[1, 2, 3]] * 60)


def test_the_hash_is_that_of_splitmix64():
    # First numbers of the generator with seed 1234567, as its author's program prints them.
    state, out = np.array([1234567], dtype=np.uint64), []
    for _ in range(3):
        out.append(int(mix(state)[0]))
        state = state + np.uint64(0x9E37_79B9_7F4A_7C15)
    assert out == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_gaps_are_skipped_wherever_they_stand():
    (tight,), (loose,) = lines(rows([1, 2, 3])), lines(np.array([[1, GAP, 2, 3, GAP]]))
    assert np.array_equal(tight.codes, loose.codes)
    assert tight.columns.tolist() == [0, 0, 1, 2, 2]
    assert loose.columns.tolist() == [0, 0, 2, 3, 3]
    assert loose.inner().tolist() == [1, 2, 3]


def test_codes_are_bits_but_for_the_sign_of_zero():
    (line,) = lines(np.array([[0.0, -0.0, 1.0, np.nextafter(1.0, 2.0), 1e308]]))
    assert len(set(line.codes.tolist())) == 4 + 2
    assert line.codes[1] == line.codes[2]


def test_a_run_of_codes_does_not_reach_into_the_row_before():
    (both,), (alone,) = lines(rows([7, 8], [1, 2])), lines(rows([1, 2]))
    for whole, part in zip(both.grams(4), alone.grams(4), strict=True):
        assert np.array_equal(whole[4:], part)


def test_runs_of_codes_are_told_apart_by_their_order():
    (line,) = lines(rows([1, 2, 1, 2, 2, 1]))
    pairs = line.grams(2)[1][1:]
    # 1 after the start, 12, 21, 12, 22, 21, the end: of seven pairs two are there twice.
    assert len(set(pairs.tolist())) == 5


def test_probabilities_are_those_of_the_formula_and_sum_to_one():
    X = rows([1, 2], [1, 2], [1, 3])
    (line,) = lines(X)
    table = np.zeros(1 << 20)
    for where in gram_cells(line, 2, 20):
        np.add.at(table, where, 1)
    p = Language(table, 9.0, 2).probabilities(line)
    unseen = 1 / (np.count_nonzero(table) + 1)
    one, two, three = ((count + unseen) / 10 for count in (3, 2, 1))
    # Places: start, 1, 2, end.
    assert p[:3] == pytest.approx([1, (3 + one) / 4, (2 + two) / 4], rel=3e-4)
    assert p[10] == pytest.approx((1 + three) / 4, rel=3e-4)


def test_an_odd_row_before_changes_nothing():
    X = rows([1, 2], [1, 2], [1, 3])
    table = np.zeros(1 << 20)
    for where in gram_cells(lines(X)[0], 5, 20):
        np.add.at(table, where, 1)
    language = Language(table, 9.0, 5)
    (alone,), (behind,) = lines(X[:1]), lines(rows([8, 9], [1, 2]))
    assert np.array_equal(language.probabilities(behind)[4:], language.probabilities(alone))


def test_a_collision_is_no_evidence_where_a_shorter_run_is_new():
    # Cells of all pairs are full, as if by others; nobody has seen 2.
    (line,) = lines(rows([1, 2, 1]))
    full = np.full(1 << 20, 100.0)
    full[gram_cells(line, 1, 20)[0][2]] = 0.0
    _, _, new, after_new, _ = Language(full, 1000.0, 2).probabilities(line)
    unseen = 1 / np.count_nonzero(full) / 1001
    assert new == pytest.approx(unseen / 101, rel=0.01)
    assert after_new == pytest.approx(100 / 1001, rel=0.01)


def test_a_number_of_events_is_no_more_usual_than_the_event():
    X = rows(*[[1, 2]] * 119, [1, 9])
    honest = NGram(table_bits=8).fit(X).state_
    full = {name: array * 0 + 1000 if name == "ngram/counts" else array for name, array in honest.arrays.items()}
    detector = NGram(table_bits=8).with_state(State(honest.detector, honest.version, honest.params, full))
    assert detector.explain(X[-1:])[0, 1] > math.log(40)


def test_memory_stays_flat_and_chunks_change_nothing():
    X = np.random.default_rng(0).integers(0, 9, size=(3, CHUNK // 2)).astype(float)
    assert len(lines(X)) == 3
    wide, one = lines(np.hstack([X[:, :50], np.full((3, CHUNK // 2), GAP)])), lines(X[:, :50])
    assert np.array_equal(np.concatenate([line.codes for line in wide]), one[0].codes)


@pytest.mark.parametrize(
    ("odd", "culprit"),
    [
        ([1, 2, 9, 2, 3], 2),  # an event that nobody has seen
        ([1, 3, 2, 2, 3], 1),  # the usual ones in another order
        ([1, 2, 3, 2, GAP], 3),  # an end too early
    ],
)
def test_an_odd_session_scores_high_and_blames_what_is_odd(odd, culprit):
    detector = NGram().fit(USUAL)
    X = np.array([odd], dtype=float)
    assert detector.anomaly_scores(X)[0] > detector.anomaly_scores(USUAL).max() + 2
    assert detector.explain(X)[0].argmax() == culprit


def test_an_event_too_often_or_not_at_all_is_noticed_though_every_turn_is_usual():
    X = rows(*[[1, *[2, 3] * (1 + at % 2)] for at in range(400)], *[[1, 2, 2, 3]] * 100, [1, *[2, 3] * 8])
    detector = NGram(order=1).fit(X[:-1])
    usual = detector.anomaly_scores(X[:-1]).max()
    without = rows([1, 2, 2, *[GAP] * 14])
    assert detector.anomaly_scores(X[-1:])[0] > usual + 1
    assert detector.anomaly_scores(without)[0] > usual + 1


def test_a_certain_session_scores_almost_nothing():
    X = np.tile([1.0, 2.0, 3.0], (5000, 1))
    assert NGram().fit(X).anomaly_scores(X)[0] == pytest.approx(0, abs=0.01)


def test_one_thing_of_probability_p_scores_minus_its_logarithm():
    X = np.tile([1.0, 2.0, 3.0], (5000, 1))
    X[:50, 2] = 4.0
    # The event at its turn, that it occurs at all, and that the other does not: three times 1 / 100.
    wanted = math.log(3 * 100)
    assert NGram().fit(X).anomaly_scores(X[:1])[0] == pytest.approx(wanted, rel=0.02)


def test_a_session_without_events_scores_too_and_shares_add_up():
    X = np.vstack([USUAL, np.full((1, USUAL.shape[1]), GAP)])
    detector = NGram().fit(X)
    scores, shares = detector.anomaly_scores(X), detector.explain(X)
    assert scores[-1] > scores[:-1].max()
    assert shares.sum(axis=1) == pytest.approx(scores)
    assert np.array_equal(shares[-1] != 0, [True, False, False, False, False])


def test_seeds_hash_otherwise():
    states = [federated(NGram(random_state=seed), [USUAL]).state_ for seed in (1, 1, 2)]
    assert np.array_equal(states[0]["ngram/counts"], states[1]["ngram/counts"])
    assert not np.array_equal(states[0]["ngram/counts"], states[2]["ngram/counts"])
    (one,), (other,) = lines(USUAL, seed=1), lines(USUAL, seed=2)
    assert not set(one.codes.tolist()) & set(other.codes.tolist())


def test_totals_of_a_liar_end_in_finite_scores():
    honest = NGram(table_bits=8).fit(USUAL).state_
    rng = np.random.default_rng(0)
    for least, most in (
        (0, 1),
        (-(1 << 50), 1 - (1 << 50)),
        (1 << 50, (1 << 50) + 1),
        (-1, 0),
        (-9, 9),
        (-(1 << 50), 1 << 50),
    ):
        lies = {name: rng.integers(least, most, size=array.shape) for name, array in honest.arrays.items()}
        kept = {name: array for name, array in honest.arrays.items() if not name.startswith("ngram/")}
        state = State(honest.detector, honest.version, honest.params, {**lies, **kept})
        detector = NGram(table_bits=8).with_state(state)
        scores = detector.anomaly_scores(USUAL)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert detector.explain(USUAL).sum(axis=1) == pytest.approx(scores)
