# ruff: noqa: N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest

from fedanomaly.detectors import Loda, Mahalanobis
from fedanomaly.detectors.cells import key, number
from fedanomaly.detectors.contract import history
from fedanomaly.detectors.threshold import SCORES, Threshold
from fedanomaly.types import State, Total


@pytest.mark.parametrize("contamination", [0.005, 0.02, 0.1, 0.33, 0.5])
@pytest.mark.parametrize("rows", [200, 3000])
def test_exactly_the_wanted_rows_are_outliers_in_small_data_and_nearly_in_large(contamination, rows):
    X = np.random.default_rng(5).normal(size=(rows, 3))
    found = (Mahalanobis(contamination=contamination).fit_predict(X) == -1).sum()
    wanted = int(contamination * rows + 0.5)
    assert abs(found - wanted) <= 0.021 * wanted


def test_equal_scores_are_on_the_same_side():
    X = np.array([[0.0]] * 95 + [[1.0]] * 5)
    predicted = Mahalanobis(contamination=0.03).fit_predict(X)
    assert len(set(predicted[95:])) == 1
    assert (predicted[:95] == 1).all()


def test_nothing_is_an_outlier_where_no_row_is_wanted():
    X = np.random.default_rng(5).normal(size=(20, 2))
    assert (Mahalanobis(contamination=0.01).fit_predict(X) == 1).all()
    assert Mahalanobis(contamination=0.5).fit_predict([[1.0]]).tolist() == [1]


def test_only_cells_with_too_many_rows_are_split_again():
    # Scores of Loda lie closer together than those of the distance.
    X = np.random.default_rng(6).normal(size=(5000, 40))
    for kind, split in ((Loda, True), (Mahalanobis, False)):
        names = [step.name for step, _, _ in history(kind(contamination=0.02), [X])]
        assert ("score/1" in names) is split


def test_a_score_on_the_edge_of_a_cell_belongs_above():
    stage = Threshold(lambda rows, _: rows[:, 0])
    state = State("any", 1, {"contamination": 0.2}, {"rows": np.array([10])})
    edge = number(int(SCORES[key(1.0) < SCORES][0]))
    scores = np.array([[1.0]] * 8 + [[edge]] * 2)
    while (step := stage.next_step(state)) is not None:
        state = stage.merge(step, Total(step, dict(stage.local(step, scores, state)), 1, 0), state)
    assert 1.0 <= number(int(state["score/threshold"][0])) < edge
