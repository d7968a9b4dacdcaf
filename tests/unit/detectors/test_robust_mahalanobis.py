# ruff: noqa: N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import Mahalanobis, RobustMahalanobis
from fedanomaly.detectors.contract import history
from fedanomaly.errors import DataError
from fedanomaly.types import State, Total


def contaminated(share=0.2, count=2000, d=5):
    """Return rows of which a share lies in one cluster that hides from the covariance of all, and the labels."""
    rng = np.random.default_rng(0)
    odd = np.arange(count) < share * count
    mixed = rng.normal(size=(count, d)) @ (np.eye(d) + 0.5)
    mixed[odd] = [9.0, -9.0, *[6.0] * (d - 2)] + 0.3 * rng.normal(size=(int(odd.sum()), d))
    return mixed, odd


def test_a_fifth_of_anomalies_ruins_the_plain_distance_but_not_this_one():
    X, odd = contaminated()
    assert roc_auc_score(odd, Mahalanobis().fit(X).anomaly_scores(X)) < 0.8
    assert roc_auc_score(odd, RobustMahalanobis().fit(X).anomaly_scores(X)) > 0.999


def test_full_support_lets_anomalies_pull_the_covariance_again():
    X, odd = contaminated()
    wide, narrow = (RobustMahalanobis(support=share).fit(X).anomaly_scores(X) for share in (1.0, 0.75))
    assert np.median(wide[odd]) < np.median(narrow[odd]) / 5


@pytest.mark.parametrize("support", [0.5, 0.75, 1.0])
def test_distance_of_normal_data_is_that_of_all_rows(support):
    X = np.random.default_rng(1).normal(size=(20_000, 4)) @ (np.eye(4) + 0.3)
    scores = RobustMahalanobis(support=support, ridge=1e-6).fit(X).anomaly_scores(X)
    assert scores.mean() == pytest.approx(4.0, rel=0.05)  # of chi-squared with 4 degrees


def test_a_column_that_the_rows_that_count_share_still_counts():
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=(1000, 2)), rng.random(1000) < 0.03])
    detector = RobustMahalanobis(contamination=0.04).fit(X)
    assert detector.predict([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).tolist() == [1, -1]


def test_moments_are_taken_twice_over_the_support():
    X, _ = contaminated()
    steps = list(history(RobustMahalanobis(support=0.6), [X[:700], X[700:]]))
    assert [step.name for step, _, _ in steps if step.name.startswith("robust/")] == [
        "robust/damped",
        "robust/distances-1",
        "robust/moments-1",
        "robust/distances-2",
        "robust/moments-2",
    ]
    for step, total, _ in steps:
        if step.name.startswith("robust/moments"):
            assert 0.6 * len(X) <= total["rows"][0] <= 0.62 * len(X)


@pytest.mark.parametrize(("name", "field"), [("robust/distances-1", "counts"), ("robust/moments-1", "rows")])
def test_a_round_in_which_no_row_counts_is_refused(name, field):
    detector = RobustMahalanobis()
    for step, total, state in history(detector, [contaminated()[0]]):
        if step.name == name:
            nothing = Total(step, {**total.integers, field: total[field] * 0}, 1, 0)
            with pytest.raises(DataError, match="of no data"):
                detector.merge(step, nothing, State.from_bytes(state.to_bytes()))
