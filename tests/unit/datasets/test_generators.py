"""What holds for every generator of events of several organisations."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.datasets import make_flows, make_log_sessions, make_logins, make_sensors
from fedanomaly.detectors import Mahalanobis, NGram
from fedanomaly.errors import ConfigError
from fedanomaly.features import Schema, encode, infer_schema

SMALL = [(make_logins, 3_000), (make_flows, 3_000), (make_log_sessions, 900), (make_sensors, 600)]
SHARES = [
    (make_logins, "abuse_share", 0.02, {"stuffing", "takeover", "sign_up"}),
    (make_flows, "attack_share", 0.03, {"scan", "brute_force", "exfiltration", "beacon"}),
    (make_log_sessions, "failure_share", 0.03, {"missing", "order", "unknown", "retries"}),
    (make_sensors, "fault_share", 0.1, {"stuck", "drift", "lag", "decorrelated"}),
]


def ids(value):
    return value.__name__ if callable(value) else ""


@pytest.mark.parametrize(("make", "size"), SMALL, ids=ids)
def test_the_same_seed_gives_the_same_events_and_another_seed_others(make, size):
    first, again, other = (make(size, random_state=seed).table for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(("make", "size"), SMALL, ids=ids)
@pytest.mark.parametrize("organisations", [1, 4])
def test_organisations_are_as_many_as_asked_for_and_split_at_one_time(make, size, organisations):
    data = make(size, organisations, random_state=3)
    assert len(data.organisations) == organisations
    pairs = [data.split(name) for name in data.organisations]
    assert sum(before.num_rows + after.num_rows for before, after in pairs) == data.table.num_rows
    ends = [max(before["event_time"].to_pylist()) for before, _ in pairs]
    assert max(ends) < min(min(after["event_time"].to_pylist()) for _, after in pairs)


@pytest.mark.parametrize(("make", "share", "usual", "kinds"), SHARES, ids=ids)
def test_anomalies_are_as_many_as_asked_for_and_of_every_kind_in_order_of_time(make, share, usual, kinds):
    data = make(random_state=0)
    odd = data.table[data.label].to_numpy()
    scenario = np.array(data.table["scenario"].to_pylist())
    assert abs(odd.mean() - usual) < 0.1 * usual
    assert set(scenario[odd]) == kinds
    assert set(scenario[~odd]) == {"none"}
    assert (np.diff(data.table["event_time"].cast(pa.int64()).to_numpy()) >= 0).all()
    assert set(data.features) <= set(data.table.column_names)
    with pytest.raises(ConfigError):
        make(**{share: 0.0})


@pytest.mark.parametrize("size", [600, 2_000, 30_000])
def test_an_account_belongs_to_one_shop_and_stuffing_comes_to_all_from_the_same_networks(size):
    logins = make_logins(size, random_state=1).table.to_pandas()
    assert (logins.groupby("account")["shop"].nunique() == 1).all()
    if size == 30_000:
        stuffing = logins[logins["scenario"] == "stuffing"]
        assert (stuffing.groupby("network")["shop"].nunique() >= 2).mean() > 0.8


def gains(data, encoded, kind):
    """Return by how much the pooled model leads each organisation's own on its later events, averaged."""
    parts, found = {}, []
    for name in data.organisations:
        before, after = data.split(name)
        rows = encoded(data.of(name))
        parts[name] = rows[: before.num_rows], rows[before.num_rows :], after[data.label].to_numpy()
    together = kind().fit(np.concatenate([before for before, _, _ in parts.values()]))
    for before, after, odd in parts.values():
        both = [model.anomaly_scores(after) for model in (kind().fit(before), together)]
        found.append([measure(odd, scores) for measure in (roc_auc_score, average_precision_score) for scores in both])
    own_auroc, auroc, own_precision, precision = np.mean(found, axis=0)
    return auroc - own_auroc, precision - own_precision


def numbers(data):
    table = data.table.select(data.features)
    schema = infer_schema(table).schema
    return lambda rows: encode(schema, rows)


def events(_):
    schema = Schema.from_toml('version = 2\n[[columns]]\nname = "events"\nkind = "events"\nlength = 64\n')
    return lambda rows: encode(schema, rows)


@pytest.mark.parametrize(
    ("make", "encoded", "kind", "lead"),
    [
        (make_logins, numbers, Mahalanobis, 0.005),
        (make_flows, numbers, Mahalanobis, 0.005),
        (make_log_sessions, events, NGram, 0.05),
        (make_sensors, numbers, Mahalanobis, 0.03),
    ],
    ids=ids,
)
def test_pooled_rows_lead_because_of_what_comes_late(make, encoded, kind, lead):
    late, from_the_start = (
        np.mean([gains(data, encoded(data), kind)[0] for data in (make(random_state=s, launch=at) for s in range(3))])
        for at in (0.6, 0.0)
    )
    assert late > lead
    assert abs(from_the_start) < max(lead, 0.003)
