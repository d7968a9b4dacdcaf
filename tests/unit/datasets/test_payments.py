import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.datasets import make_payments
from fedanomaly.datasets.aggregates import History, first_time
from fedanomaly.datasets.events import DAY_S
from fedanomaly.detectors import from_params
from fedanomaly.errors import ConfigError
from fedanomaly.features import encode, infer_schema


@pytest.fixture(scope="module")
def payments():
    return make_payments(random_state=0)


def test_the_same_seed_gives_the_same_events_and_another_seed_others():
    first, again, other = (make_payments(2_000, random_state=seed).table for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_events_are_as_many_as_asked_for_labelled_and_in_order_of_time(payments):
    table = payments.table
    assert table.num_rows == 60_000
    times = table["event_time"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    frauds = np.array(table["fraud"].to_pylist())
    assert 0.010 < frauds.mean() < 0.014
    scenarios = np.array(table["scenario"].to_pylist())
    assert set(scenarios[frauds]) == {"terminal", "stolen", "takeover", "ring"}
    assert set(scenarios[~frauds]) == {"none"}


def test_customers_belong_to_one_bank_and_terminals_to_all(payments):
    bank, customer, terminal = (np.array(payments.table[name].to_pylist()) for name in ("bank", "customer", "terminal"))
    assert len(set(zip(customer, bank, strict=True))) == len(set(customer))
    banks_of = [len(set(bank[terminal == one])) for one in range(20)]
    assert np.mean(np.array(banks_of) == 3) > 0.9
    assert payments.banks == ("bank-1", "bank-2", "bank-3")
    sizes = [payments.of_bank(name).num_rows for name in payments.banks]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 60_000


def test_the_ring_uses_few_terminals_and_cards_of_every_bank(payments):
    ring = payments.table.filter(pa.compute.equal(payments.table["scenario"], "ring"))
    assert len(set(ring["terminal"].to_pylist())) <= 5
    assert set(ring["bank"].to_pylist()) == set(payments.banks)


def test_split_cuts_every_bank_at_the_same_time(payments):
    pairs = [payments.split(bank) for bank in payments.banks]
    last = max(before["event_time"].to_pylist()[-1] for before, _ in pairs)
    first = min(after["event_time"].to_pylist()[0] for _, after in pairs)
    assert last < first
    assert sum(before.num_rows + after.num_rows for before, after in pairs) == 60_000


@pytest.mark.parametrize("n_banks", [1, 12])
def test_any_number_of_banks_has_customers(n_banks):
    payments = make_payments(100 * n_banks, n_banks, random_state=3)
    assert len(payments.banks) == n_banks
    assert payments.banks[-1] == f"bank-{n_banks}"


@pytest.mark.parametrize(
    "arguments", [{"n_events": 299}, {"n_banks": 0}, {"days": 6}, {"fraud_share": 0.0}, {"launch": 1.1}]
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ConfigError):
        make_payments(**{"n_events": 3_000, **arguments})


def test_features_are_what_a_bank_can_compute_from_its_own_earlier_events():
    # The events of one bank, cut off at a time, give the same aggregates: nothing
    # comes from other banks or from later.
    time = np.sort(np.random.default_rng(0).random(300)) * 9 * DAY_S
    group = np.random.default_rng(1).integers(0, 7, 300)
    amount = np.random.default_rng(2).random(300)
    whole, early = History(group, time), History(group[:200], time[:200])
    assert np.allclose(whole.count(DAY_S)[:200], early.count(DAY_S))
    assert np.allclose(whole.total(amount, DAY_S)[:200], early.total(amount[:200], DAY_S))
    assert np.allclose(whole.mean_before(amount, 0.5, 3.0)[:200], early.mean_before(amount[:200], 0.5, 3.0))
    assert np.allclose(whole.since_last(time, DAY_S)[:200], early.since_last(time[:200], DAY_S))


def test_aggregates_are_those_of_a_plain_loop():
    time = np.array([0.0, 10.0, 20.0, 25.0, 100.0])
    group = np.array([0, 1, 0, 0, 1])
    amount = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    history = History(group, time)
    assert history.count(22.0).tolist() == [1, 1, 2, 2, 1]
    assert history.count(1000.0).tolist() == [1, 1, 2, 3, 2]
    assert history.total(amount, 22.0).tolist() == [1, 2, 5, 12, 16]
    assert history.mean_before(amount, 3.0, 1.0).tolist() == [3.0, 3.0, 2.0, 8 / 3, 2.5]
    assert history.since_last(time, 50.0).tolist() == [50, 50, 20, 5, 50]
    assert first_time(np.array([1, 1, 2, 1]), np.array([0, 0, 0, 1]), 2).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("name", ["loda", "mahalanobis"])
def test_the_federation_beats_every_bank_on_its_own_later_events(payments, name):
    schema = infer_schema(payments.table.select(payments.features)).schema
    parts = {bank: payments.split(bank) for bank in payments.banks}
    rows = {bank: encode(schema, before) for bank, (before, _) in parts.items()}
    everybody = from_params(name).fit(np.concatenate(list(rows.values())))
    for bank, (_, after) in parts.items():
        test, frauds = encode(schema, after), np.array(after["fraud"].to_pylist())
        own = from_params(name).fit(rows[bank]).anomaly_scores(test)
        shared = everybody.anomaly_scores(test)
        assert roc_auc_score(frauds, shared) > roc_auc_score(frauds, own) + 0.01
        assert average_precision_score(frauds, shared) > average_precision_score(frauds, own)


def test_data_rooms_do_not_load_scikit_learn():
    code = (
        "import sys, fedanomaly.types, fedanomaly.features, fedanomaly.datasets as d; d.make_payments(1000); "
        "sys.exit(any(name.split('.')[0] == 'sklearn' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
