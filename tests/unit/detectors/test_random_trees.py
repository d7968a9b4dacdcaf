import numpy as np
import pytest

from fedanomaly.detectors import RandomTrees
from fedanomaly.detectors.contract import history
from fedanomaly.detectors.random_trees import CELLS, DEPTH, LEAVES, SAMPLE, _box, _company, _even, _trees

X = np.random.default_rng(0).normal(size=(600, 5))


def test_leaves_are_what_walking_down_the_trees_gives():
    detector = RandomTrees(n_trees=7).fit(X)
    trees = _trees(detector.state_)
    rows = trees.scale.standardise(X)
    for leaves in trees.chunks(X):
        for tree, leaf in leaves:
            for row in range(len(X)):
                node = 0
                for _ in range(DEPTH):
                    feature = trees.live[trees.features[tree, node]]
                    node = 2 * node + 1 + (rows[row, feature] >= trees.cuts[tree, node])
                assert leaf[row] == node - (LEAVES - 1)
            assert np.array_equal(np.bincount(leaf, minlength=LEAVES), detector.state_["trees/counts"][tree])


def test_cuts_lie_within_what_the_path_has_left_of_the_box():
    state = RandomTrees(n_trees=20).fit(X).state_
    trees = _trees(state)
    low, high = state["trees/box"]
    for features, cuts in zip(trees.features, trees.cuts.astype(int), strict=True):
        boxes = {0: (low.copy(), high.copy())}
        for node, (feature, cut) in enumerate(zip(features, cuts, strict=True)):
            bottom, top = boxes[node]
            if cut > trees.scale.limit:
                assert bottom[feature] >= top[feature]
            else:
                assert bottom[feature] < cut <= top[feature]
            boxes[2 * node + 1], boxes[2 * node + 2] = (bottom.copy(), top.copy()), (bottom.copy(), top.copy())
            boxes[2 * node + 1][1][feature] = min(top[feature], cut - 1)
            boxes[2 * node + 2][0][feature] = min(cut, top[feature])


@pytest.mark.parametrize("limit", [64, 64 * 256])
def test_the_box_holds_every_reading_of_its_cells_and_no_other(limit):
    steps = np.arange(-limit, limit + 1)
    cells = (steps + limit) * CELLS // (2 * limit + 1)
    for first, last in cells[[[0, -1], [3, 80], [limit, limit], [0, 0]]]:
        counts = np.bincount(cells[(cells >= first) & (cells <= last)], minlength=CELLS)
        inside = steps[(cells >= first) & (cells <= last)]
        assert _box(counts[None], limit)[:, 0].tolist() == [inside[0], inside[-1]]


def test_the_path_in_a_leaf_is_the_mean_over_the_company_of_a_poisson_number():
    rng = np.random.default_rng(1)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 200))])
    for mean in (0.01, 0.5, 3.0, 40.0):
        others = rng.poisson(mean, 400_000)
        # c(n) = 2 H(n - 1) - 2 (n - 1) / n for n = others + 1.
        drawn = (2 * harmonic[others] - 2 * others / (others + 1.0)).mean()
        assert _company(np.array(mean)) == pytest.approx(drawn, rel=0.02)
    assert _company(np.array(0.0)) == pytest.approx(0.0, abs=1e-8)


def test_every_tree_has_its_own_part_of_the_range_of_a_draw():
    drawn = _even(np.random.default_rng(2).integers(0, 1 << 32, (50, 9)))
    assert np.array_equal(np.sort(drawn * 50 >> 32, axis=0), np.repeat(np.arange(50)[:, None], 9, axis=1))


def test_masses_are_those_of_all_rows_and_the_box_is_theirs():
    *_, (step, total, state) = (found for found in history(RandomTrees(), [X]) if found[0].name.startswith("trees"))
    assert step.name == "trees/masses"
    assert (total["counts"].sum(axis=1) == len(X)).all()
    rows = _trees(state).scale.standardise(X)
    low, high = state["trees/box"]
    assert (low <= rows.min(axis=0)).all()
    assert (high >= rows.max(axis=0)).all()
    assert (high - low < rows.max(axis=0) - rows.min(axis=0) + 2 * (2 * 64 * 256 // CELLS + 1)).all()


def test_a_row_that_no_training_row_is_near_scores_above_all_and_blames_the_odd_feature():
    detector = RandomTrees().fit(X)
    odd = np.zeros((1, 5))
    odd[0, 3] = 9.0
    assert detector.anomaly_scores(odd)[0] > detector.anomaly_scores(np.zeros((1, 5)))[0] + 1
    assert detector.explain(odd)[0].argmax() == 3


def test_a_row_alone_everywhere_scores_the_longest_path():
    detector = RandomTrees().fit(np.full((50, 2), 3.0))
    assert detector.anomaly_scores([[3.0, 3.0]])[0] == pytest.approx(DEPTH * np.exp(-SAMPLE), abs=1e-9)
    state = detector.state_
    nobody = type(state)(
        state.detector, state.version, state.params, {**state.arrays, "trees/counts": state["trees/counts"] * 0}
    )
    longest = DEPTH + _company(np.array(float(SAMPLE)))
    assert detector.with_state(nobody).anomaly_scores([[3.0, 3.0]])[0] == pytest.approx(longest)


def test_columns_that_do_not_vary_take_no_part():
    padded = np.hstack([np.zeros((600, 40)), X])
    assert np.array_equal(RandomTrees().fit(padded).anomaly_scores(padded), RandomTrees().fit(X).anomaly_scores(X))


def test_seeds_give_other_trees_and_the_same_seed_the_same():
    scores = [RandomTrees(random_state=seed).fit(X).anomaly_scores(X) for seed in (1, 1, 2)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
