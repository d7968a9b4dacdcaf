import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import fedanomaly as fa
from fedanomaly.detectors import Ensemble, GradientBoosting, KMeans, LogisticRegression, Mahalanobis
from fedanomaly.detectors.sampling import sample
from fedanomaly.errors import ConfigError, DataError, ShapeError

ROWS = np.random.default_rng(0).normal(size=(300, 3))
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 1.0).astype(int)
PARTS = np.split(ROWS, (80, 220))
TRUTHS = np.split(LABELS, (80, 220))


@pytest.mark.parametrize("detector", [LogisticRegression(), GradientBoosting(n_trees=3, depth=2)])
def test_labelled_parts_teach_under_encryption_what_they_teach_together(detector):
    run = fa.simulate(detector, PARTS, labels=TRUTHS)

    assert run.max_abs_difference == 0.0
    np.testing.assert_array_equal(
        run.detector.anomaly_scores(ROWS), type(detector)(**detector.params()).fit(ROWS, LABELS).anomaly_scores(ROWS)
    )


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (None, DataError, "learns from labels"),
        (TRUTHS[:2], ShapeError, "labels of 2 parts for 3 parts"),
        ([TRUTHS[0], None, TRUTHS[2]], DataError, "part 1 .*y is None"),
        ([TRUTHS[0], TRUTHS[0], TRUTHS[2]], DataError, "part 1 .*80 labels for 140 rows"),
        ([truth * 0 for truth in TRUTHS], DataError, "one class only"),
    ],
    ids=["none", "too few", "one missing", "too short", "one class"],
)
def test_labels_that_do_not_fit_are_told_apart(labels, error, text):
    with pytest.raises(error, match=text):
        fa.simulate(LogisticRegression(), PARTS, labels=labels)


def test_detectors_without_labels_mind_none():
    assert fa.simulate(Mahalanobis(), PARTS, labels=TRUTHS).max_abs_difference == 0.0


@pytest.mark.parametrize("detector", [KMeans(n_clusters=4), Ensemble(detectors=["loda", "mahalanobis"])])
def test_new_rows_refresh_under_encryption_as_they_do_together(detector):
    first = type(detector)(**detector.params()).fit(ROWS)
    later = [part + 0.5 for part in PARTS]

    run = fa.simulate(first, later, keep=0.25)

    assert run.detector.state_.to_bytes() == first.refresh(np.vstack(later), keep=0.25).state_.to_bytes()
    assert run.max_abs_difference == 0.0
    assert run.detector.state_["rows"].tolist() == [375]


def test_a_refresh_takes_fewer_rounds_than_training():
    trained = fa.simulate(Mahalanobis(), PARTS)
    assert fa.simulate(trained.detector, PARTS, keep=0.5).rounds < trained.rounds


def test_a_refresh_leaves_the_fitted_detector_alone():
    first = Mahalanobis().fit(ROWS)
    before = first.state_.to_bytes()
    fa.simulate(first, PARTS, keep=0.0)
    assert first.state_.to_bytes() == before


def test_what_cannot_be_refreshed_is_refused():
    with pytest.raises(NotFittedError):
        fa.simulate(Mahalanobis(), PARTS, keep=0.5)
    with pytest.raises(ConfigError, match="logistic_regression cannot be refreshed"):
        fa.simulate(LogisticRegression().fit(ROWS, LABELS), PARTS, TRUTHS, keep=0.5)
    with pytest.raises(ConfigError, match="cannot be kept"):
        fa.simulate(Mahalanobis().fit(ROWS), PARTS, keep=2.0)
    with pytest.raises(DataError, match="learnt 3 columns, there are 2"):
        fa.simulate(Mahalanobis().fit(ROWS), [part[:, :2] for part in PARTS], keep=0.5)


def test_equal_weights_take_as_many_rows_of_every_organisation_as_the_smallest_has():
    run = fa.simulate(Mahalanobis(), PARTS, weights="equal")
    assert run.detector.state_["rows"].tolist() == [240]
    assert run.max_abs_difference == 0.0
    # Each organisation's rows come in another order, and nothing changes.
    again = fa.simulate(Mahalanobis(), [part[::-1] for part in PARTS], weights="equal")
    assert again.detector.state_.to_bytes() == run.detector.state_.to_bytes()


def test_a_sample_keeps_rows_and_labels_together():
    run = fa.simulate(GradientBoosting(n_trees=2, depth=2), PARTS, TRUTHS, max_rows=60)
    assert run.detector.state_["rows"].tolist() == [180]
    assert run.max_abs_difference == 0.0
    chosen = [sample(part, 60) for part in PARTS]
    rows = np.vstack([part[place] for part, place in zip(PARTS, chosen, strict=True)])
    labels = np.concatenate([truth[place] for truth, place in zip(TRUTHS, chosen, strict=True)])
    fitted = GradientBoosting(n_trees=2, depth=2).fit(rows, labels)
    assert run.detector.state_.to_bytes() == fitted.state_.to_bytes()


def test_weights_and_samples_that_there_are_not_are_refused():
    with pytest.raises(ConfigError, match="no weights 'size'"):
        fa.simulate(Mahalanobis(), PARTS, weights="size")
    with pytest.raises(DataError, match="sample of 0 rows"):
        fa.simulate(Mahalanobis(), PARTS, max_rows=0)
