"""On published sets a comparison says what is so: what works, what does not, and whether joining helps."""

import numpy as np
import pyarrow.csv
import pytest

import fedanomaly as fa
from fedanomaly.detectors import Loda, Mahalanobis
from fedanomaly.features import encode, infer_schema
from tests.contract.real_data import adbench, real_file

DETECTORS = (Mahalanobis(), Loda(n_projections=30))


def shared(name, members=5):
    """Return the parts of the members, test rows that all are judged by, and their labels."""
    rows, labels = adbench(name)
    order = np.random.default_rng(1).permutation(len(rows))
    held = len(rows) * 7 // 10
    rows, labels = rows[order], labels[order]
    return np.array_split(rows[:held], members), rows[held:], labels[held:]


def test_unsupervised_detectors_fail_on_insurance_claims_and_it_says_so():
    table = pyarrow.csv.read_csv(real_file("vehicle_fraud", "fraud_oracle_clean.csv"))
    label, agent = "FraudFound_P", np.array(table["RepNumber"])
    rows, labels = encode(infer_schema(table, drop=[label]).schema, table), np.array(table[label])
    train = np.random.default_rng(1).random(len(rows)) < 0.3

    found = fa.compare(
        Mahalanobis(),
        [rows[train & (agent % 3 == member)] for member in range(3)],
        test=[rows[~train & (agent % 3 == member)] for member in range(3)],
        test_labels=[labels[~train & (agent % 3 == member)] for member in range(3)],
        replicates=100,
    )

    assert found.verdict == "no detector works here"
    assert found.detectors[0].judged.federated.auroc < 0.6


@pytest.mark.parametrize("name", ["4_breastw", "6_cardio"])
def test_detectors_work_where_anomalies_are_outliers(name):
    parts, test, labels = shared(name)
    found = fa.compare(DETECTORS, parts, test=test, test_labels=labels, replicates=200)

    assert found.verdict != "no detector works here"
    for one in found.detectors:
        assert one.judged.auroc_interval.low > 0.75
        assert one.judged.federated == one.judged.pooled


def test_few_rows_at_each_member_make_joining_worth_it():
    parts, test, labels = shared("6_cardio", members=20)
    found = fa.compare(Mahalanobis(), parts, test=test, test_labels=labels, replicates=200)

    assert found.verdict == "joining is worth it"
    assert found.detectors[0].judged.gain > 0.02


@pytest.mark.parametrize("name", ["4_breastw", "6_cardio"])
def test_shuffled_labels_are_seen_through(name):
    parts, test, labels = shared(name)
    found = fa.compare(
        DETECTORS, parts, test=test, test_labels=np.random.default_rng(2).permutation(labels), replicates=200
    )

    assert found.verdict == "no detector works here"
    assert {one.verdict for one in found.detectors} == {"no detector works here"}
