# ruff: noqa: N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest

from fedanomaly.detectors import KMeans
from fedanomaly.detectors.centres import Clusters, Lloyd, clusters_of, squared_distances
from fedanomaly.detectors.contract import history
from fedanomaly.detectors.kmeans import WIDTHS
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import State


def groups(places, each=200):
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(each, 2)) + place for place in places])


def with_arrays(state, **arrays):
    return State(state.detector, state.version, state.params, {**state.arrays, **arrays})


def test_centres_find_the_groups():
    places = [(0, 0), (12, 0), (0, 12), (30, 30)]
    detector = KMeans(n_clusters=4).fit(groups(places))
    scale, clusters = scale_of(detector.state_), clusters_of(detector.state_, "kmeans")
    found = scale.standardise(np.array(places, dtype=float))
    for place, count in zip(found, (200, 200, 200, 200), strict=True):
        off = np.abs(clusters.means - place).max(axis=1)
        assert off.min() < 0.15 * scale.grid
        assert clusters.counts[off.argmin()] == count


def test_every_round_lowers_the_squares_that_are_left():
    X = np.random.default_rng(1).normal(size=(1000, 5))
    left = []
    for step, total, state in history(KMeans(n_rounds=8), [X]):
        if step.name.startswith("kmeans/"):
            opened = with_arrays(state, **{f"kmeans/{name}": total[name] for name in ("counts", "sums", "squares")})
            left.append(clusters_of(opened, "kmeans").variance)
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.5 * left[0]


def test_the_widest_cluster_is_cut_across_its_widest_feature():
    X = np.random.default_rng(6).normal(size=(4000, 3))
    detector = KMeans(n_clusters=2, n_rounds=3)
    steps = iter(history(detector, [X]))
    state = next(state for step, _, state in steps if step.name == "kmeans/1")
    centres = Lloyd("kmeans", 2, 3).centres(state)
    squares = state["kmeans/squares"][0]
    across = squares.argmax()
    apart = np.zeros(3)
    apart[across] = 1.6 * np.sqrt(squares[across] / len(X))
    assert np.allclose(centres[1] - centres[0], apart, atol=2)
    assert np.allclose(centres.mean(axis=0), X.mean(axis=0) * scale_of(state).grid, atol=8)


def test_within_is_what_the_rows_themselves_give():
    X = np.random.default_rng(2).normal(size=(300, 3)) * [1, 2, 3] + 50
    detector = KMeans(n_clusters=1, n_rounds=1).fit(X)
    rows = scale_of(detector.state_).standardise(X)
    clusters = clusters_of(detector.state_, "kmeans")
    assert np.array_equal(clusters.means[0], np.floor(rows.mean(axis=0) + 0.5))
    assert np.array_equal(clusters.within[0], np.square(rows - clusters.means[0]).sum(axis=0))
    assert clusters.variance == np.square(rows - clusters.means[0]).mean()


def test_distances_are_exact():
    rng = np.random.default_rng(3)
    rows, centres = (rng.integers(-(1 << 14), 1 << 14, (count, 400)) for count in (20, 7))
    expected = np.square(rows[:, None, :] - centres).sum(axis=2)
    assert np.array_equal(squared_distances(rows.astype(float), centres.astype(float)), expected)


def test_density_is_that_of_the_kernels():
    X = np.random.default_rng(4).normal(size=(400, 3))
    detector = KMeans(n_clusters=6, alpha=1.0).fit(X)
    clusters = clusters_of(detector.state_, "kmeans")
    rows = scale_of(detector.state_).standardise(X)
    squared = np.square(rows[:, None, :] - clusters.means).sum(axis=2)
    share = clusters.counts / clusters.counts.sum()
    logs = [np.log((share * np.exp(-squared / (2 * width * clusters.variance))).sum(axis=1)) for width in WIDTHS]
    assert np.allclose(detector.anomaly_scores(X), -np.mean(logs, axis=0), rtol=1e-9, atol=1e-9)


def test_distance_is_that_to_the_nearest_large_cluster():
    X = np.concatenate([groups([(0, 0)], 400), groups([(20, 20)], 8)])
    few = np.array([[20.0, 20.0]])
    near = KMeans(n_clusters=4, alpha=1.0, measure="distance").fit(X)
    far = KMeans(n_clusters=4, alpha=0.9, measure="distance").fit(X)
    assert near.anomaly_scores(few)[0] < 5
    means = clusters_of(far.state_, "kmeans").means / scale_of(far.state_).grid
    at = scale_of(far.state_).standardise(few) / scale_of(far.state_).grid
    assert far.anomaly_scores(few)[0] > 20
    assert far.anomaly_scores(few)[0] == pytest.approx(
        min(np.square(at - mean).sum() for mean in means if np.abs(mean).max() < 4)
    )


def test_the_odd_feature_is_blamed():
    X = np.random.default_rng(5).normal(size=(1000, 6))
    odd = np.zeros((1, 6))
    odd[0, 2] = 8.0
    for measure in ("density", "distance"):
        shares = KMeans(measure=measure).fit(X).explain(odd)[0]
        assert shares.argmax() == 2
        assert shares.min() >= 0


def test_settings_of_the_score_need_no_new_sums():
    X = groups([(0, 0), (9, 9)])
    one, other = (KMeans(**params).fit(X).state_ for params in ({}, {"alpha": 0.5, "measure": "distance"}))
    assert one.arrays.keys() == other.arrays.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one.arrays if name != "score/threshold")


def test_sums_of_no_row_are_refused_and_wild_ones_give_finite_scores():
    X = groups([(0, 0), (9, 9)])
    detector = KMeans(n_clusters=3).fit(X)
    state = detector.state_
    with pytest.raises(DataError, match="of no row"):
        detector.derive(with_arrays(state, **{"kmeans/counts": state["kmeans/counts"] * 0}))
    wild = with_arrays(
        state, **{"kmeans/sums": state["kmeans/sums"] + (1 << 40), "kmeans/squares": -state["kmeans/squares"]}
    )
    scores = detector.derive(wild).scores(X)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


def test_variance_counts_only_what_varies():
    ones = np.ones((2, 3), dtype=np.int64)
    clusters = Clusters(counts=np.array([4, 4]), means=ones, within=ones * [8, 8, 0], live=2)
    assert clusters.variance == 2.0
