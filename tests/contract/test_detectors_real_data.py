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
SMALL = ("6_cardio", "14_glass", "42_WBC")


@cache
def pooled(detector, dataset):
    rows, labels = adbench(dataset)
    return from_params(detector).fit(rows, labels)


def dealt(rows, members, evenly):
    """Return the rows of every member; unevenly: one to five rows for all but the last."""
    cuts = np.linspace(0, len(rows), members + 1)[1:-1] if evenly else np.cumsum(np.arange(1, members) % 5 + 1)
    return np.split(rows, cuts.astype(int))


def orders(rows, labels, members):
    """Return ways to deal rows: at random, by label, and by what they hold (a few clusters each)."""
    random = np.random.default_rng(members).permutation(len(rows))
    clusters = KMeans(members, n_init=1, random_state=0).fit_predict(rows)
    return {
        "even": dealt(random, members, True),
        "uneven": dealt(random, members, False),
        "by label": dealt(np.argsort(labels, kind="stable"), members, True),
        "by feature": [np.flatnonzero(clusters == member) for member in range(members)],
    }


@pytest.mark.parametrize("members", [3, 7])
@pytest.mark.parametrize("dataset", SMALL)
@pytest.mark.parametrize("detector", registry())
def test_federation_learns_what_the_whole_teaches(detector, dataset, members):
    rows, labels = adbench(dataset)
    whole = pooled(detector, dataset)
    scores = whole.anomaly_scores(rows)
    for way, parts in orders(rows, labels, members).items():
        trained = federated(from_params(detector), [rows[part] for part in parts], [labels[part] for part in parts])
        assert trained.state_.to_bytes() == whole.state_.to_bytes(), way
        assert np.array_equal(trained.anomaly_scores(rows), scores), way


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


@pytest.mark.parametrize(
    ("parts", "label"),
    [
        (("creditcard_ulb", "creditcard_sample.csv"), "Class"),
        (("payment_fraud", "payment_fraud.csv"), "label"),
        (("payments_fdh", "transactions.parquet"), "TX_FRAUD"),
        (("vehicle_fraud", "fraud_oracle_clean.csv"), "FraudFound_P"),
    ],
)
@pytest.mark.parametrize("detector", registry())
def test_tables_as_people_have_them_are_learnt(detector, parts, label):
    file = real_file(*parts)
    table = pa.csv.read_csv(file) if file.suffix == ".csv" else pa.parquet.read_table(file)
    table = table.slice(0, 20_000)
    rows = encode(infer_schema(table, drop=[label]).schema, table)
    trained = federated(from_params(detector), np.array_split(rows, 3))
    assert np.isfinite(trained.anomaly_scores(rows)).all()
