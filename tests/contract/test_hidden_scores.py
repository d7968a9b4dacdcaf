"""On real data, scores of an encrypted model are the local ones, within their bounds."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import from_params
from fedanomaly.scoring import EncryptedScorer, InProcess
from tests.contract.test_encrypted_scores import POLYNOMIAL, STEEP, taught_and_scored, with_circuits

EXACT = 7e-4
"""Largest error: the noise of weights, new in every run, comes on top of that of readings."""


@pytest.mark.parametrize("dataset", ["6_cardio", "14_glass", "32_shuttle"])
@pytest.mark.parametrize("name", [name for name in with_circuits() if name not in POLYNOMIAL])
def test_scores_of_a_hidden_model_are_the_local_ones(name, dataset):
    rows, labels, scored_rows, truth = taught_and_scored(dataset)
    detector = from_params(name)
    detector.fit(rows, labels) if detector.learns_from_labels else detector.fit(rows)
    local = detector.anomaly_scores(scored_rows)
    scored = EncryptedScorer(detector, InProcess(), hide_model=True).score(scored_rows)
    error = np.max(np.abs(scored.scores - local) / np.maximum(1.0, local))
    certain = ~scored.uncertain
    assert scored.local == 0
    assert ((scored.lower <= local * (1 + 1e-9)) & (local * (1 - 1e-9) <= scored.upper)).all()
    assert np.array_equal(scored.outliers[certain], (local > scored.threshold)[certain])
    assert error <= STEEP.get(name, EXACT)
    assert abs(roc_auc_score(truth, local) - roc_auc_score(truth, scored.scores)) < 5e-5
