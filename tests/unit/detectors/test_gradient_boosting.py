import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score
from tests.contract.real_data import real_file

from fedanomaly.detectors import GradientBoosting
from fedanomaly.detectors.boosted_trees import NEVER, Trees, best_splits
from fedanomaly.detectors.class_bins import bins_of
from fedanomaly.detectors.odds import STEPS
from fedanomaly.errors import DataError
from fedanomaly.types import Quantiser, State

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(1200, 4))
LABELS = (ROWS[:, 0] * ROWS[:, 1] > 0.8).astype(int)


def trained(detector, parts, labels):
    """Return the state of members that have `parts`, and the names of all steps."""
    state, names = detector.initial_state(parts[0].shape[1]), []
    while (step := detector.next_step(state)) is not None:
        names.append(step.name)
        quantiser = Quantiser(step=step, members=len(parts))
        sums = sum(
            quantiser.quantise(detector.local(step, part, state, y)) for part, y in zip(parts, labels, strict=True)
        )
        state = detector.merge(step, quantiser.total(sums, len(parts)), state)
    return state, names


def binned(state, rows):
    return np.concatenate([bins for _, bins in bins_of(state).chunks(rows)], axis=1)


def odds(detector, rows):
    """Return the log-odds that the trees give, in steps."""
    trees, out = detector._scorer.trees, []
    for _, bins in bins_of(detector.state_).chunks(rows):
        leaves = trees.leaves(bins)
        out.append(detector._scorer.start + trees.values(leaves, np.full(len(leaves), trees.depth)).sum(axis=0))
    return np.concatenate(out)


def test_it_finds_what_only_a_combination_shows():
    rows = np.random.default_rng(1).normal(size=(2000, 4))
    detector = GradientBoosting().fit(ROWS, LABELS)

    assert average_precision_score(rows[:, 0] * rows[:, 1] > 0.8, detector.anomaly_scores(rows)) > 0.97


def test_the_first_split_is_the_best_of_all():
    detector = GradientBoosting(n_trees=1, depth=1).fit(ROWS, LABELS)

    bins, share = binned(detector.state_, ROWS), LABELS.mean()
    gradient, hessian = share - LABELS, np.full(len(LABELS), share * (1 - share))

    def gain(feature, cut):
        right = bins[feature] > cut
        return sum(gradient[side].sum() ** 2 / (hessian[side].sum() + 1.0) for side in (right, ~right))

    number = detector.state_["bins/number"]
    best = max(
        ((feature, cut) for feature in range(4) for cut in range(number[feature] - 1)), key=lambda split: gain(*split)
    )
    assert (detector.state_["boost/feature"][0, 0], detector.state_["boost/cut"][0, 0]) == best


def test_every_leaf_takes_the_newton_step_of_its_rows():
    detector = GradientBoosting(n_trees=1, learning_rate=1.0).fit(ROWS, LABELS)

    trees, share = detector._scorer.trees, LABELS.mean()
    leaf = trees.leaves(binned(detector.state_, ROWS))[0]
    assert (trees.cut == NEVER).any()  # some nodes end before the last level
    for at in np.unique(leaf):
        here = leaf == at
        step = -(share - LABELS[here]).sum() / (here.sum() * share * (1 - share) + 1.0)
        assert abs(trees.value[0, 31 + at] / STEPS - step) < 2e-3


def test_a_round_ends_a_tree():
    _, names = trained(GradientBoosting(n_trees=9, depth=3), [ROWS], [LABELS])

    assert [name for name in names if name.startswith("boost/")] == [f"boost/{at}" for at in range(9 + 3 - 1)]


def test_further_trees_lower_the_loss_of_those_before():
    losses = []
    for number in (1, 3, 9, 27):
        chance = 1 / (1 + np.exp(-odds(GradientBoosting(n_trees=number).fit(ROWS, LABELS), ROWS) / STEPS))
        losses.append(-np.log(np.where(LABELS == 1, chance, 1 - chance)).mean())

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * losses[0]


def test_where_nothing_tells_the_classes_apart_no_tree_grows():
    rows = np.zeros((400, 3))
    labels = np.arange(400) % 10 == 0

    state, names = trained(GradientBoosting(), [rows], [labels])

    assert len([name for name in names if name.startswith("boost/")]) == 1
    scores = GradientBoosting().with_state(state).anomaly_scores(rows)
    np.testing.assert_allclose(scores, np.log1p(0.1 / 0.9), rtol=1e-4)


def test_parts_with_one_class_each_give_the_whole():
    order = np.argsort(LABELS, kind="stable")
    cuts = (300, 1000)
    parts, labels = np.split(ROWS[order], cuts), np.split(LABELS[order], cuts)
    assert not labels[0].any()

    state, _ = trained(GradientBoosting(n_trees=10), parts, labels)

    assert state.to_bytes() == GradientBoosting(n_trees=10).fit(ROWS, LABELS).state_.to_bytes()


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_are_refused(label):
    with pytest.raises(DataError, match="one class only"):
        GradientBoosting().fit(ROWS, np.full(len(ROWS), label))


def test_bins_are_fine_where_the_few_anomalies_are():
    rows = np.random.default_rng(2).integers(1, 3000, size=(5000, 1)).astype(float)
    rows[:40] = 2.0
    rows[40:80] = 1.0
    labels = np.arange(5000) < 40

    detector = GradientBoosting(n_trees=20).fit(rows, labels)

    one, two, three = detector.anomaly_scores([[1.0], [2.0], [3.0]])
    assert two > 5 * one
    assert two > 5 * three
    assert detector.state_["bins/number"][0] <= 64


def test_readings_of_any_size_are_binned():
    rows = np.concatenate([1.7e9 + 1e3 * ROWS[:, :1], 1e-9 * ROWS[:, 1:2]], axis=1)

    detector = GradientBoosting().fit(rows, LABELS)

    assert average_precision_score(LABELS, detector.anomaly_scores(rows)) > 0.99


def test_trees_are_walked_as_one_would_by_hand():
    depth, bins = 5, RNG.integers(0, 60, (3, 500)).astype(np.uint8)
    shape = (40, (1 << depth) - 1)
    cut = np.where(RNG.random(shape) < 0.2, NEVER, RNG.integers(0, 60, shape))
    trees = Trees(RNG.integers(0, 3, shape), cut, RNG.integers(-99, 99, (40, 63)))

    leaves = trees.leaves(bins)

    for tree in range(40):
        node = np.zeros(500, dtype=int)
        for _ in range(depth):
            node = 2 * node + 1 + (bins[trees.feature[tree, node], np.arange(500)] > cut[tree, node])
        np.testing.assert_array_equal(leaves[tree], node - shape[1])
        np.testing.assert_array_equal(trees.values(leaves, np.full(40, depth))[tree], trees.value[tree, node])


def test_a_child_with_too_little_weight_is_no_child():
    sums = np.array([[[-900, 0, 900], [5, 400, 400]]])

    assert best_splits(sums, np.array([3]), l2=1.0, least=5.0).cut.tolist() == [0]
    assert best_splits(sums, np.array([3]), l2=1.0, least=6.0).cut.tolist() == [1]
    assert best_splits(sums, np.array([3]), l2=1.0, least=406.0).cut.tolist() == [NEVER]
    mirrored = sums[:, :, ::-1]
    assert best_splits(mirrored, np.array([3]), l2=1.0, least=5.0).cut.tolist() == [1]
    assert best_splits(mirrored, np.array([3]), l2=1.0, least=6.0).cut.tolist() == [0]


def test_sums_that_no_rows_give_end_in_finite_scores():
    detector = GradientBoosting(n_trees=2, l2=0.0)
    state, _ = trained(detector, [ROWS], [LABELS])
    arrays = {**state.arrays, "boost/value": np.full_like(state["boost/value"], 64 * STEPS)}

    scores = detector.with_state(State(state.detector, state.version, state.params, arrays)).anomaly_scores(ROWS)

    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("file", "label", "share"),
    [
        (("creditcard_ulb", "creditcard_sample.csv"), "Class", 0.7),
        (("payment_fraud", "payment_fraud.csv"), "label", 0.2),
    ],
)
def test_on_real_payments_a_federation_is_as_good_as_scikit_learn_on_all_rows(file, label, share):
    pd = pytest.importorskip("pandas")
    table = pd.get_dummies(pd.read_csv(real_file(*file)))
    rows, labels = table.drop(columns=label).to_numpy(dtype=float), table[label].to_numpy()
    train = np.random.default_rng(0).random(len(rows)) < share
    parts, truths = np.array_split(rows[train], 4), np.array_split(labels[train], 4)

    state, _ = trained(GradientBoosting(), parts, truths)

    found = GradientBoosting().with_state(state).anomaly_scores(rows[~train])
    reference = HistGradientBoostingClassifier(random_state=0).fit(rows[train], labels[train])
    theirs = average_precision_score(labels[~train], reference.predict_proba(rows[~train])[:, 1])
    assert average_precision_score(labels[~train], found) > theirs - 0.01
