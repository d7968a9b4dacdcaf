# ruff: noqa: N806 - X is what scikit-learn calls the rows

import hashlib

import numpy as np
import pytest

from fedanomaly.detectors import Loda
from fedanomaly.detectors.contract import CHECKS
from fedanomaly.detectors.draw import Draw
from fedanomaly.errors import ConfigError


def test_the_stream_stays_what_it_is():
    # Written down once; the formula: SHAKE-256 over version, label, seed and block.
    assert Draw("loda projections", 0).bytes(16).hex() == "865ef84932f4c15ed5dd10063b90a1b4"
    assert Draw("loda projections", 7).choose(5, 30) == [1, 5, 12, 17, 25]
    assert Draw("loda projections", 7).normals(4).tolist() == [662, -186, -531, -181]


def test_the_stream_is_shake_256_of_labelled_items():
    def labelled(label, value):
        return bytes([len(label)]) + label + len(value).to_bytes(4, "little") + value

    head = labelled(b"version", b"fedanomaly/1") + labelled(b"label", b"some purpose")
    head += labelled(b"seed", (9).to_bytes(8, "little"))
    blocks = b"".join(
        hashlib.shake_256(head + labelled(b"block", number.to_bytes(8, "little"))).digest(8192) for number in range(2)
    )
    draw = Draw("some purpose", 9)
    assert draw.bytes(5) + draw.bytes(9000) == blocks[:9005]


def test_numbers_below_a_bound_are_uniform_and_choices_differ():
    draw = Draw("test", 1)
    counts = np.bincount([draw.below(7) for _ in range(7000)], minlength=7)
    assert np.abs(counts - 1000).max() < 150
    for _ in range(50):
        chosen = draw.choose(4, 9)
        assert chosen == sorted(set(chosen))
        assert len(chosen) == 4


def test_words_that_would_favour_small_numbers_are_drawn_again():
    # Folding the last quarter of all words would bring half of them below 2^30.
    draw = Draw("test", 5)
    low = np.mean([draw.below(3 << 30) < 1 << 30 for _ in range(2000)])
    assert low == pytest.approx(1 / 3, abs=0.05)


def test_normals_have_mean_0_and_the_stated_deviation():
    drawn = Draw("test", 2).normals(20_000)
    assert abs(drawn.mean()) < 10
    assert drawn.std() == pytest.approx(295.6, rel=0.02)


def test_seeds_give_other_directions_and_the_same_seed_the_same():
    X = np.random.default_rng(0).normal(size=(300, 6))
    scores = [Loda(random_state=seed).fit(X).anomaly_scores(X) for seed in (1, 1, 2)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_columns_that_do_not_vary_take_no_part():
    X = np.random.default_rng(0).normal(size=(300, 3))
    padded = np.hstack([np.zeros((300, 40)), X])
    assert np.array_equal(Loda().fit(padded).anomaly_scores(padded), Loda().fit(X).anomaly_scores(X))


def test_far_rows_score_high_and_blame_the_odd_feature():
    X = np.random.default_rng(1).normal(size=(2000, 9))
    detector = Loda().fit(X)
    odd = np.zeros((1, 9))
    odd[0, 4] = 9.0
    assert detector.anomaly_scores(odd)[0] > detector.anomaly_scores(X).mean()
    shares = detector.explain(odd)[0]
    assert shares.argmax() == 4


POLYNOMIAL = Loda(polynomial=True, n_projections=20, contamination=0.02)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_polynomials_keep_the_contract(check):
    check(POLYNOMIAL)


def test_a_trained_detector_turns_to_polynomials_without_new_sums():
    X = np.random.default_rng(1).normal(size=(2000, 6))
    turned = Loda().fit(X).resettled(X, polynomial=True)
    assert np.array_equal(turned.anomaly_scores(X), Loda(polynomial=True).fit(X).anomaly_scores(X))


def test_polynomials_are_near_the_histograms_and_the_difference_is_told():
    rng = np.random.default_rng(2)
    X, held_out = rng.normal(size=(20_000, 6)), rng.normal(size=(5000, 6))
    histograms, polynomials = Loda().fit(X), Loda(polynomial=True).fit(X)
    difference = polynomials.anomaly_scores(held_out) - histograms.anomaly_scores(held_out)
    told = histograms.approximation_error(held_out)
    assert told == polynomials.approximation_error(held_out) == pytest.approx(np.sqrt(np.mean(difference**2)))
    assert told < 0.1
    assert polynomials._scorer.off < 0.25
    mixed = np.concatenate([X - 4.0, X + 4.0])
    assert Loda().fit(mixed).approximation_error(np.concatenate([held_out - 4.0, held_out + 4.0])) > 3 * told


def test_a_detector_with_histograms_names_the_way_to_a_circuit():
    detector = Loda().fit(np.random.default_rng(1).normal(size=(200, 3)))
    assert detector.circuit() is None
    with pytest.raises(ConfigError, match="polynomial=true"):
        detector.encryptable()
