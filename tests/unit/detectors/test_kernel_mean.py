import numpy as np
import pytest

from fedanomaly.detectors import KernelMean
from fedanomaly.detectors.contract import history
from fedanomaly.detectors.kernel_mean import LEAST, ONE, SCALES, _features

X = np.random.default_rng(0).normal(size=(400, 3))


def test_the_inner_product_of_cosines_is_the_gaussian_kernel():
    state = KernelMean(n_cosines=8192).fit(X).state_
    features = _features(state)
    rows = features.scale.standardise(X[:12])
    (cosines,) = features.cosines(rows)
    squares = np.square((rows[:, None] - rows[None]) / features.scale.grid).sum(axis=2)
    for own, width in zip(np.split(cosines, len(SCALES), axis=1), SCALES, strict=True):
        kernel = np.exp(-squares / (2 * 3 * width**2))
        assert np.allclose(2 * own @ own.T / own.shape[1] / ONE**2, kernel, atol=0.06)


def test_the_score_is_minus_the_logarithm_of_the_mean_kernel_over_the_widths():
    detector = KernelMean(n_cosines=8192).fit(X)
    scale = _features(detector.state_).scale
    rows = scale.standardise(X) / scale.grid
    asked = np.array([[0.0, 0.0, 0.0], [1.5, -0.5, 0.3]])
    raw = asked * scale.width + scale.center
    squares = np.square(asked[:, None] - rows[None]).sum(axis=2)
    kernels = [np.exp(-squares / (2 * 3 * width**2)).mean(axis=1) for width in SCALES]
    expected = np.mean([-np.log(np.clip(kernel, LEAST, 1)) for kernel in kernels], axis=0)
    assert np.allclose(detector.anomaly_scores(raw), expected, atol=0.1)


def test_cosines_are_whole_steps_and_sums_are_theirs():
    *_, (step, total, state) = (found for found in history(KernelMean(), [X]) if found[0].name.startswith("kernel"))
    assert step.name == "kernel/sums"
    features = _features(state)
    rows = features.scale.standardise(X)
    cosines = np.concatenate(list(features.cosines(rows)))
    assert np.array_equal(cosines, np.rint(cosines))
    turns = (rows @ features.weights) * features.rate + features.phase
    # The table has 4,096 places a turn, and takes the one below.
    assert np.abs(cosines / ONE - np.cos(turns * 2 * np.pi / 4096)).max() <= 2 * np.pi / 4096 + 1 / ONE
    assert np.array_equal(total["sums"], cosines.sum(axis=0))


def test_nothing_scores_above_a_row_without_company_at_any_width():
    detector = KernelMean().fit(X)
    most = -np.log(LEAST)
    assert detector.anomaly_scores(np.full((1, 3), 1e9))[0] > 0.75 * most
    assert (detector.anomaly_scores(np.vstack([X, X * 50])) <= most).all()


def test_a_row_amid_copies_of_itself_scores_almost_nothing():
    detector = KernelMean().fit(np.full((50, 2), 3.0))
    assert detector.anomaly_scores([[3.0, 3.0]])[0] == pytest.approx(0.0, abs=0.1)


def test_a_gap_between_clusters_is_anomalous_and_the_odd_feature_is_blamed():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(800, 3)) * 0.3
    rows[:400, 0] += 4.0
    rows[400:, 0] -= 4.0
    detector = KernelMean().fit(rows)
    gap, at_home = detector.anomaly_scores([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    assert gap > at_home
    assert detector.explain([[4.0, 0.0, 9.0]])[0].argmax() == 2


def test_columns_that_do_not_vary_take_no_part():
    padded = np.hstack([np.zeros((400, 40)), X])
    assert np.array_equal(KernelMean().fit(padded).anomaly_scores(padded), KernelMean().fit(X).anomaly_scores(X))


def test_seeds_give_other_waves_and_the_same_seed_the_same():
    scores = [KernelMean(random_state=seed).fit(X).anomaly_scores(X) for seed in (1, 1, 2)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
