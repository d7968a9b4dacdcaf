"""On real logs and requests, a federation of five finds what is not as usual; settings are the defaults."""

import numpy as np
import pyarrow.csv
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import from_params
from fedanomaly.detectors.contract import federated
from tests.contract.real_data import real_file

WIDTH = 256
"""Bytes of a text that are read; one request in a hundred is longer."""


def sessions(name):
    lines = real_file("hdfs_sessions", name).read_text().splitlines()
    return codes([[int(event) for event in line.split()] for line in lines], 300)


def texts(column):
    return codes([text.encode()[:WIDTH] for text in column], WIDTH)


def codes(lists, width):
    out = np.full((len(lists), width), np.nan)
    for at, row in enumerate(lists):
        out[at, : len(row)] = list(row)
    return out


def auroc(detector, normal, odd):
    labels = np.repeat([0, 1], [len(normal), len(odd)])
    return roc_auc_score(labels, np.concatenate([detector.anomaly_scores(normal), detector.anomaly_scores(odd)]))


def test_ngram_finds_odd_sessions_of_a_file_system():
    normal, odd = sessions("hdfs_train"), sessions("hdfs_test_abnormal")
    trained = federated(from_params("ngram"), np.array_split(normal[:3000], 5))
    assert auroc(trained, normal[3000:], odd[:200]) >= 0.995
    assert auroc(trained, normal[3000:], odd) >= 0.995


def test_text_surprise_finds_attacks_in_web_requests():
    table = pyarrow.csv.read_csv(real_file("http_params", "payload_full.csv"))
    odd = np.array(table["label"].to_pylist()) == "anom"
    rows = texts(table["payload"].to_pylist())
    normal = rows[np.random.default_rng(0).permutation(np.flatnonzero(~odd))]
    half = len(normal) // 2
    trained = federated(from_params("text_surprise"), np.array_split(normal[:half], 5))
    assert auroc(trained, normal[half:], rows[odd]) >= 0.98


def test_text_surprise_taught_from_normal_lines_finds_alerts_of_a_supercomputer():
    table = pyarrow.csv.read_csv(real_file("bgl", "BGL_2k.log_structured.csv"))
    lines = texts(table["Content"].to_pylist())
    alert = np.array(table["Label"].to_pylist()) != "-"
    member = np.array([sum(node[:3].encode()) % 5 for node in table["Node"].to_pylist()])
    taught = ~alert & (np.random.default_rng(0).random(len(lines)) < 0.5)
    trained = federated(from_params("text_surprise"), [lines[taught & (member == at)] for at in range(5)])
    # What was found, less 0.03.
    assert auroc(trained, lines[~alert & ~taught], lines[alert]) >= 0.94
