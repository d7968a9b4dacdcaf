# ruff: noqa: N806 - X is what scikit-learn calls the rows

import math

import numpy as np
import pytest

from fedanomaly.detectors import TextSurprise
from fedanomaly.detectors.text_surprise import LENGTHS
from fedanomaly.types import State

WIDTH = 24


def rows(*texts):
    X = np.full((len(texts), WIDTH), np.nan)
    for at, text in enumerate(texts):
        letters = list(text.encode())
        X[at, : len(letters)] = letters
    return X


USUAL = rows(*[f"user={number:03d} page={number % 7}" for number in range(700)])


@pytest.fixture(scope="module")
def detector():
    return TextSurprise().fit(USUAL)


@pytest.mark.parametrize("odd", ["user=117' or '1'='1", "user=117 page=ü", "=user117 =page3", "page=3 user=117"])
def test_texts_that_are_written_otherwise_score_high(detector, odd):
    assert detector.anomaly_scores(rows(odd))[0] > detector.anomaly_scores(USUAL).max()


def test_the_letter_that_is_odd_has_the_largest_share(detector):
    shares = detector.explain(rows("user=1%7 page=3"))[0]
    assert shares.argmax() == 6
    assert np.all(shares[15:] == 0)


def test_a_length_that_nobody_has_seen_is_odd_though_the_letters_are_usual():
    X = rows(*["ab" * 4] * 300, *["ab" * 5] * 300, "", "ab", "ab" * 11)
    scores = TextSurprise().fit(X[:-3]).anomaly_scores(X)
    assert scores[-3:].min() > scores[:-3].max() + 1


def test_the_score_is_the_root_of_the_mean_square_and_half_the_lengths_surprise():
    # After the start a or b, each as likely; all else is certain.
    X = rows(*["axyz", "bxyz"] * 2000)
    score = TextSurprise().fit(X).anomaly_scores(X[:1])[0]
    beside = (4000 / 2 + 0.5) / (4000 + len(LENGTHS) / 2)
    assert score == pytest.approx(math.sqrt(math.log(2) ** 2 / 5) - 0.5 * math.log(beside), rel=0.01)


def test_cells_of_lengths_rise_four_to_an_octave():
    assert LENGTHS[:9].tolist() == [1, 2, 3, 4, 5, 6, 8, 9, 11]
    assert LENGTHS[-1] == 1 << 20
    assert LENGTHS[-5] == 1 << 19


def test_an_empty_text_scores_and_its_shares_add_up(detector):
    X = rows("", "user=117 page=3")
    scores, shares = detector.anomaly_scores(X), detector.explain(X)
    assert scores[0] > scores[1]
    assert shares.sum(axis=1) == pytest.approx(scores)
    assert shares[0, 0] == pytest.approx(scores[0])


def test_totals_of_a_liar_end_in_finite_scores():
    honest = TextSurprise(table_bits=8).fit(USUAL).state_
    rng = np.random.default_rng(0)
    for least, most in ((0, 1), (-(1 << 50), 1 - (1 << 50)), (1 << 50, (1 << 50) + 1), (-9, 9), (-(1 << 50), 1 << 50)):
        lies = {name: rng.integers(least, most, size=array.shape) for name, array in honest.arrays.items()}
        kept = {name: array for name, array in honest.arrays.items() if not name.startswith("text/")}
        state = State(honest.detector, honest.version, honest.params, {**lies, **kept})
        detector = TextSurprise(table_bits=8).with_state(state)
        scores = detector.anomaly_scores(USUAL)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert detector.explain(USUAL).sum(axis=1) == pytest.approx(scores)
