"""On real data, split evenly and very unevenly, a federation learns what all rows together teach."""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import federated
from fedanomaly.features import encode, infer_schema
from tests.contract.real_data import adbench, intrusions, real_file

SETS = ("2_annthyroid", "6_cardio", "14_glass", "32_shuttle", "42_WBC", "30_satellite")


@cache
def pooled(detector, dataset):
    rows, labels = adbench(dataset)
    return from_params(detector).fit(rows, labels)


def dealt(rows, members, evenly):
    """Return the rows of every member; unevenly: one to five rows for all but the last."""
    cuts = np.linspace(0, len(rows), members + 1)[1:-1] if evenly else np.cumsum(np.arange(1, members) % 5 + 1)
    return np.split(rows, cuts.astype(int))


def clusters(rows, members):
    """Return the places of every member's rows: each has seen a few clusters that nobody else has."""
    found = KMeans(members, n_init=1, random_state=0).fit_predict(rows)
    return [np.flatnonzero(found == member) for member in range(members)]


@pytest.mark.parametrize(("dataset", "members"), [("42_WBC", 3), ("14_glass", 7)])
@pytest.mark.parametrize("detector", registry())
def test_federation_learns_what_the_whole_teaches(detector, dataset, members):
    rows, labels = adbench(dataset)
    whole = pooled(detector, dataset)
    shuffled = np.random.default_rng(members).permutation(len(rows))
    for parts in (dealt(shuffled, members, evenly=False), clusters(rows, members)):
        trained = federated(from_params(detector), [rows[part] for part in parts], [labels[part] for part in parts])
        assert trained.state_.to_bytes() == whole.state_.to_bytes()
    assert np.array_equal(trained.anomaly_scores(rows), whole.anomaly_scores(rows))


# What the detectors reach on these sets when they see everything, less 0.02.
LEAST = {
    ("mahalanobis", "6_cardio"): 0.85,
    ("mahalanobis", "32_shuttle"): 0.97,
    ("mahalanobis", "42_WBC"): 0.95,
    ("loda", "6_cardio"): 0.88,
    ("loda", "32_shuttle"): 0.97,
    ("loda", "2_annthyroid"): 0.86,
    ("hbos", "6_cardio"): 0.89,
    ("hbos", "2_annthyroid"): 0.89,
    ("ecod", "6_cardio"): 0.89,
    ("copod", "6_cardio"): 0.87,
}


@pytest.mark.parametrize(("detector", "dataset"), LEAST)
def test_detector_finds_the_anomalies_of_real_sets(detector, dataset):
    rows, labels = adbench(dataset)
    assert roc_auc_score(labels, pooled(detector, dataset).anomaly_scores(rows)) >= LEAST[detector, dataset]


def test_mahalanobis_finds_intrusions_of_members_that_see_other_services():
    parts, test, labels = intrusions()
    assert all(len(part) for part in parts)
    trained = federated(from_params("mahalanobis"), parts)
    assert roc_auc_score(labels, trained.anomaly_scores(test)) >= 0.95


TABLES = {
    "Class": ("creditcard_ulb", "creditcard_sample.csv"),
    "label": ("payment_fraud", "payment_fraud.csv"),
    "TX_FRAUD": ("payments_fdh", "transactions.parquet"),
    "FraudFound_P": ("vehicle_fraud", "fraud_oracle_clean.csv"),
}


@cache
def table(label):
    """Return encoded rows of a table, and their labels: some anomalies and the first of the others."""
    file = real_file(*TABLES[label])
    read = pa.csv.read_csv(file) if file.suffix == ".csv" else pa.parquet.read_table(file)
    odd = np.asarray(read[label]) != 0
    read = read.take(np.sort(np.concatenate([np.flatnonzero(odd)[:40], np.flatnonzero(~odd)[:1460]])))
    return encode(infer_schema(read, drop=[label]).schema, read), np.asarray(read[label])


@pytest.mark.parametrize("label", TABLES)
@pytest.mark.parametrize("detector", registry())
def test_tables_as_people_have_them_are_learnt(detector, label):
    rows, labels = table(label)
    trained = federated(from_params(detector), np.array_split(rows, 2), np.array_split(labels, 2))
    assert np.isfinite(trained.anomaly_scores(rows)).all()
