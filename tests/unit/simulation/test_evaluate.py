import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from tests.unit.simulation.test_compare import outliers

import fedanomaly as fa
from fedanomaly.detectors import Mahalanobis
from fedanomaly.detectors.quality import quality_of
from fedanomaly.errors import ConfigError, DataError, ProtocolError, ShapeError

ROWS, LABELS = outliers(600)


@pytest.fixture(scope="module")
def detector():
    return Mahalanobis().fit(ROWS[:300])


def test_under_encryption_the_figures_hold_the_exact_ones(detector):
    parts, labels = np.split(ROWS[300:], [50, 200]), np.split(LABELS[300:], [50, 200])

    found = fa.evaluate(detector, parts, [labels[0], None, labels[2]], budget=0.05)

    known = np.r_[300:350, 500:600]
    exact = quality_of(detector.anomaly_scores(ROWS[known]), LABELS[known], budget=0.05)
    assert found.rounds == 1
    assert 10_000 < found.bytes_up < 1_000_000
    assert (found.quality.rows, found.quality.anomalies) == (exact.rows, exact.anomalies)
    for name in ("auroc", "average_precision", "precision", "recall"):
        mine, truth = getattr(found.quality, name), getattr(exact, name)
        assert abs(mine.value - truth.value) <= mine.bound + 1e-9
        assert mine.bound < 0.1
    assert [len(table) for table in found.drift] == [5, 5, 5]
    assert found.drift[1][0].word == "no rows"


def test_a_member_that_finds_its_rows_missing_from_the_sum_does_not_accept_it(detector, monkeypatch):
    monkeypatch.setattr(sys.modules["fedanomaly.simulation.evaluate"], "holds", lambda state, own: False)

    with pytest.raises(ProtocolError, match="the job ended rejected"):
        fa.evaluate(detector, np.split(ROWS[300:], 3), np.split(LABELS[300:], 3))


@pytest.mark.parametrize(
    ("parts", "labels", "error"),
    [
        ([ROWS] * 2, [LABELS] * 2, ConfigError),
        ([ROWS] * 3, [LABELS] * 2, ShapeError),
        ([ROWS] * 3, [LABELS, LABELS, LABELS[:4]], ShapeError),
        ([ROWS] * 3, [LABELS, None, ["a"] * 600], DataError),
        ([ROWS[:, :2]] * 3, [LABELS] * 3, ShapeError),
    ],
)
def test_what_cannot_be_evaluated_is_refused(detector, parts, labels, error):
    with pytest.raises(error):
        fa.evaluate(detector, parts, labels)


def test_only_a_fitted_detector_is_evaluated():
    with pytest.raises(NotFittedError):
        fa.evaluate(Mahalanobis(), [ROWS] * 3, [LABELS] * 3)
