"""On the sensors of a testbed, members that each see a third of the usual time learn what is unusual."""

import numpy as np
import pyarrow.csv
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import VectorAutoregression, windows
from fedanomaly.detectors.contract import federated
from tests.contract.real_data import real_file

FITTED = 400
"""SKAB's protocol: the first readings of every file are for training, the others are scored."""


def sensors(file):
    """Return the readings of one file, in order of time, and their labels."""
    table = pyarrow.csv.read_csv(file, parse_options=pyarrow.csv.ParseOptions(delimiter=";"))
    labels = table["anomaly"].to_numpy() > 0
    table = table.drop_columns(["datetime", "anomaly", "changepoint"])
    return np.column_stack([column.to_numpy() for column in table.columns]), labels


def test_vector_autoregression_finds_the_faults_of_a_testbed():
    # Detector and settings, all defaults, were fixed before the scored part was read.
    found = []
    for folder in ("valve1", "valve2"):
        for file in sorted(real_file("skab", folder).glob("*.csv")):
            readings, labels = sensors(file)
            parts = [windows(part) for part in np.array_split(readings[:FITTED], 3)]
            detector = federated(VectorAutoregression(), parts)
            scores = detector.anomaly_scores(windows(readings[FITTED - 1 :]))
            found.append(roc_auc_score(labels[FITTED:], scores))
    assert len(found) == 20
    assert np.mean(found) >= 0.80
