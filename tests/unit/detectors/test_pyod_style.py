import numpy as np
import pytest
from pyod.models.hbos import HBOS
from pyod.utils.data import evaluate_print
from sklearn.base import clone

from fedanomaly.detectors import Loda, Mahalanobis, PyODStyle, from_params
from fedanomaly.detectors.contract import federated

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, 3))
ODD = np.vstack([RNG.normal(size=(50, 3)), RNG.normal(size=(10, 3)) * 6 + 5])


def test_what_pyod_has_is_there_with_its_meaning():
    wrapped = PyODStyle(Loda(), contamination=0.05).fit(ROWS)
    assert np.array_equal(wrapped.decision_scores_, wrapped.decision_function(ROWS))
    assert wrapped.labels_.sum() == 20
    assert np.array_equal(wrapped.labels_, (wrapped.decision_scores_ > wrapped.threshold_).astype(int))
    assert np.array_equal(wrapped.predict(ROWS), wrapped.labels_)
    assert wrapped.decision_function(ODD)[50:].min() > wrapped.decision_function(ODD)[:50].mean()
    chance = wrapped.predict_proba(ODD)
    assert chance.shape == (60, 2)
    assert np.allclose(chance.sum(axis=1), 1)
    assert set(wrapped.fit_predict(ROWS)) == {0, 1}


def test_a_federated_detector_stands_in_for_one_of_pyod():
    trained = federated(from_params("mahalanobis"), np.array_split(ROWS, 3))
    wrapped = PyODStyle(trained, contamination=0.1).fit(ROWS[:100])
    assert wrapped.detector_ is trained
    assert np.array_equal(wrapped.decision_function(ODD), trained.anomaly_scores(ODD))
    assert wrapped.labels_.sum() == 10


@pytest.mark.parametrize("make", [HBOS, lambda **how: PyODStyle(Mahalanobis(), **how)], ids=["pyod", "ours"])
def test_code_written_for_pyod_runs_on_either(make, capsys):
    detector = make(contamination=0.1).fit(ROWS)
    assert detector.labels_.shape == detector.decision_scores_.shape == (400,)
    assert detector.labels_.sum() == 40
    assert set(detector.predict(ODD)) == {0, 1}
    assert detector.predict_proba(ODD).shape == (60, 2)
    evaluate_print("found", np.arange(60) >= 50, detector.decision_function(ODD))
    assert "found ROC:1.0" in capsys.readouterr().out


def test_it_is_cloned_with_its_parameters():
    twin = clone(PyODStyle(Loda(n_projections=7), contamination=0.2))
    assert twin.detector.n_projections == 7
    assert twin.contamination == 0.2


def test_unfitted_it_says_so():
    with pytest.raises(Exception, match="not fitted"):
        PyODStyle().decision_function(ROWS)
