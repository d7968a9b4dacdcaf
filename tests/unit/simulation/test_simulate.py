import numpy as np
import pytest

import fedanomaly as fa
from fedanomaly.detectors import GradientBoosting, LogisticRegression, Mahalanobis
from fedanomaly.errors import DataError, ShapeError

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
