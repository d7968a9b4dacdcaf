import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Reference

from fedanomaly.detectors import LogisticRegression
from fedanomaly.detectors.contract import history, marks, same_as_whole
from fedanomaly.detectors.newton import EVALUATIONS, WEIGHT_BITS, _solve
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.errors import CapacityError, DataError
from fedanomaly.types import Total

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(4000, 5))
ODDS = 2.0 * ROWS[:, 0] - 1.5 * ROWS[:, 1] + 0.5 * ROWS[:, 2] - 4.0
LABELS = (RNG.random(4000) < 1 / (1 + np.exp(-ODDS))).astype(int)


def standardised(detector, rows):
    scale = scale_of(detector.state_)
    return np.concatenate(list(scale.chunks(rows))) / scale.grid


def names(detector, rows, labels):
    state, found = detector.initial_state(rows.shape[1]), []
    while (step := detector.next_step(state)) is not None:
        found.append(step.name)
        total = {field.name: np.asarray(detector.local(step, rows, state, labels)[field.name]) for field in step.fields}
        state = detector.merge(step, Total(step, total, 1, 0), state)
    return found


@pytest.mark.parametrize("l2", [1.0, 50.0])
def test_it_finds_the_weights_that_scikit_learn_finds(l2):
    detector = LogisticRegression(l2=l2).fit(ROWS, LABELS)

    reference = Reference(C=1 / l2, tol=1e-10, max_iter=1000).fit(standardised(detector, ROWS), LABELS)
    weights = detector.state_["newton/weights"] / 2**WEIGHT_BITS
    np.testing.assert_allclose(weights[1:], reference.coef_[0], atol=2e-3)
    assert abs(weights[0] - reference.intercept_[0]) < 2e-3


def test_the_score_is_the_surprise_at_a_normal_row():
    detector = LogisticRegression().fit(ROWS, LABELS)

    reference = Reference(tol=1e-10, max_iter=1000).fit(standardised(detector, ROWS), LABELS)
    normal = reference.predict_log_proba(standardised(detector, ROWS))[:, 0]
    np.testing.assert_allclose(detector.anomaly_scores(ROWS), -normal, atol=5e-3)


def test_the_search_ends_early_and_never_repeats_a_round():
    found = [name for name in names(LogisticRegression(), ROWS, LABELS) if name.startswith("newton/")]

    assert found[0] == "newton/classes"
    assert 5 <= len(found) <= EVALUATIONS


def test_a_step_that_raises_the_loss_is_halved():
    detector = LogisticRegression()
    state = detector.initial_state(5)
    while (step := detector.next_step(state)).name != "newton/2":
        total = {name: np.asarray(sums) for name, sums in detector.local(step, ROWS, state, LABELS).items()}
        state = detector.merge(step, Total(step, total, 1, 0), state)
    total = {name: np.asarray(sums) for name, sums in detector.local(step, ROWS, state, LABELS).items()}
    total["loss"] = state["newton/loss"] * 2

    after = detector.merge(step, Total(step, total, 1, 0), state)

    np.testing.assert_array_equal(after["newton/best"], state["newton/best"])
    np.testing.assert_array_equal(after["newton/try"], (state["newton/try"] + state["newton/best"]) // 2)


def test_the_solution_of_equations_is_that_of_a_library():
    root = RNG.normal(size=(40, 40))
    matrix, right = root @ root.T + np.eye(40), RNG.normal(size=40)

    np.testing.assert_allclose(_solve(matrix, right, least=1e-3), np.linalg.solve(matrix, right), rtol=1e-8)


def test_labels_that_rows_determine_give_finite_weights():
    labels = (ROWS[:, 0] > 1).astype(int)

    detector = LogisticRegression(contamination=0.15).fit(ROWS, labels)

    assert ((detector.predict(ROWS) == -1) == (labels == 1)).mean() > 0.98
    assert np.abs(detector.state_["newton/weights"]).max() < 64 << WEIGHT_BITS


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_are_refused(label):
    with pytest.raises(DataError, match="one class only"):
        LogisticRegression().fit(ROWS, np.full(len(ROWS), label))


def test_one_member_may_have_one_class_only():
    rows = ROWS[np.argsort(marks(ROWS), kind="stable")]
    assert not marks(rows[:500]).any()

    same_as_whole(LogisticRegression(), [rows[:500], rows[500:3000], rows[3000:]])


def test_too_many_columns_are_refused_before_anything_is_summed():
    with pytest.raises(CapacityError, match="1023 columns"):
        LogisticRegression().initial_state(1024)


def test_a_step_is_as_wide_as_its_docstring_says():
    widest = max(step.size for step, _, _ in history(LogisticRegression(), [ROWS]) if step.name == "newton/0")

    assert widest == 1 + 6 + 6 * 7 // 2
