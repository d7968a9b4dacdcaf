"""Samples of a node's rows: the same ones for ever, and no two that differ by a few rows."""

import dataclasses
import json

import numpy as np
import pytest

from fedanomaly.detectors import Loda, LogisticRegression
from fedanomaly.errors import ConfigError, JobError, RefusedError
from fedanomaly.features import Schema, encode
from fedanomaly.node import learner as learner_module
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.learner import Learners
from fedanomaly.node.sampled import LEAST, check_size
from fedanomaly.storage import MemoryRows
from tests.unit.node.federation import SCHEMA, payments
from tests.unit.node.test_datasets import write
from tests.unit.node.test_learner import train

PLAN = Plan(schema=SCHEMA, holdout_fraction=0.0, label="fraud")
TABLE = payments(3, 5000)


class Home:
    def __init__(self, tmp_path, keystore):
        self.folder = tmp_path
        self.datasets = Datasets(tmp_path / "data", keystore)
        self.rows = MemoryRows()
        self.learners = Learners(self.datasets, self.rows, lambda *_: None)
        self.add(TABLE)

    def add(self, table, plan=PLAN):
        return self.datasets.add("payments", write(self.folder, table), plan).snapshot

    def ask(self, sample, detector="loda", number=0):
        return self.learners.request(
            model="m", dataset="payments", detector=detector, params={}, request=bytes([number] * 16), sample=sample
        )

    def chosen(self, sample, number=0):
        """Return the sampled rows, in their order."""
        learner = self.learners(self.ask(sample, number=number))
        return np.concatenate([rows for rows, _ in learner._training()])


@pytest.fixture
def home(tmp_path, keystore):
    return Home(tmp_path, keystore)


def test_so_many_rows_are_trained_on(home):
    learner = home.learners(home.ask(1024))
    rows = home.chosen(1024)
    assert len(rows) == 1024
    assert train(learner).to_bytes() == Loda().fit(rows).state_.to_bytes()
    known = {row.tobytes() for row in encode(SCHEMA, TABLE)}
    assert {row.tobytes() for row in rows} < known


def test_labels_go_with_their_rows(home):
    learner = home.learners(home.ask(2048, "logistic_regression"))
    ((rows, labels),) = learner._training()
    assert 0 < labels.sum() < len(labels) == 2048
    assert train(learner).to_bytes() == LogisticRegression().fit(rows, labels).state_.to_bytes()
    every = dict(zip((row.tobytes() for row in encode(SCHEMA, TABLE)), TABLE["fraud"].to_numpy(), strict=True))
    assert [every[row.tobytes()] for row in rows] == labels.tolist()


def test_rows_that_do_not_stay_in_memory_are_chosen_the_same(home, monkeypatch):
    once = home.chosen(1024)
    monkeypatch.setattr(learner_module, "KEPT_BYTES", 0)
    batches = [rows for rows, _ in home.learners(home.ask(1024))._training()]
    assert np.array_equal(np.concatenate(batches), once)


def test_the_same_rows_have_one_sample_in_any_order_and_a_larger_one_holds_it(home):
    first, larger = (home.chosen(size) for size in (1024, 2048))
    home.add(TABLE.take(np.random.default_rng(0).permutation(len(TABLE))))
    again = home.chosen(1024, number=1)
    assert {row.tobytes() for row in first} == {row.tobytes() for row in again} < {row.tobytes() for row in larger}


def test_a_data_set_that_grew_by_a_row_has_another_sample(home):
    """Were it the old one and the new row, their sums would subtract to few rows of this member alone."""
    first = {row.tobytes() for row in home.chosen(1024)}
    home.add(TABLE.slice(0, len(TABLE) - 1))
    second = {row.tobytes() for row in home.chosen(1024, number=1)}
    assert 400 < len(second - first) < 1000  # as two samples that know nothing of each other


def test_who_has_less_than_twice_as_many_rows_adds_all(home):
    whole = home.learners(home.ask(None)).generation
    generations = {size: home.learners(home.ask(size)).generation for size in (1024, 2048, 4096, 8192)}
    assert generations[4096] == generations[8192] == whole
    assert len({*generations.values()}) == 3
    assert len(home.chosen(4096)) == len(TABLE)


def test_a_sample_keeps_its_generation(home):
    first = home.learners(home.ask(1024)).generation
    home.add(payments(4, 5000))
    assert home.learners(home.ask(1024, number=1)).generation != first
    home.add(TABLE)
    assert home.learners(home.ask(1024, number=2)).generation == first


def test_the_same_rows_are_sampled_under_one_schema(home):
    train(home.learners(home.ask(1024)))
    home.add(TABLE, Plan(schema=Schema(SCHEMA.fields[:2]), holdout_fraction=0.0))
    with pytest.raises(RefusedError, match="sampled under another schema"):
        train(home.learners(home.ask(1024, number=1)))
    assert train(home.learners(home.ask(None, number=2)))["rows"].tolist() == [len(TABLE)]


@pytest.mark.parametrize("size", [-1, 0, 1, 512, 1023, 1025, 3000, 1 << 41])
def test_other_sizes_are_not_asked_for_and_not_agreed_to(home, size):
    with pytest.raises(ConfigError, match="are no sample"):
        home.ask(size)
    forged = dataclasses.replace(home.ask(1024), params=home.ask(1024).params.replace("1024", str(size)))
    with pytest.raises(RefusedError, match="are no sample"):
        home.learners(forged)


def test_the_hint_names_a_size_that_may_be_asked_for():
    for size in (-5, 0, 3, 1500, 3000, 1 << 50):
        with pytest.raises(ConfigError) as caught:
            check_size(size)
        check_size(int(caught.value.hint.rsplit(" ", 1)[1]))
    check_size(LEAST)


@pytest.mark.parametrize("forged", ['"1024"', "1024.0", "true", "null", "[1024]"])
def test_a_size_that_is_no_number_of_rows_is_refused(home, forged):
    asked = home.ask(1024)
    with pytest.raises(RefusedError):
        home.learners(dataclasses.replace(asked, params=asked.params.replace("1024", forged)))


def test_a_sample_is_written_in_one_way(home):
    asked = home.ask(1024)
    params = json.loads(asked.params)
    spaced = json.dumps(params, sort_keys=True)
    turned = json.dumps(dict(sorted(params.items(), reverse=True)), separators=(",", ":"))
    for other in (spaced, turned, asked.params[:-1] + ',"sample":1024}'):
        with pytest.raises(RefusedError, match="canonical"):
            home.learners(dataclasses.replace(asked, params=other))


def add_everywhere(federation, name, first_seed, *sizes):
    for at, (home, keystore, size) in enumerate(zip(federation.homes, federation.keystores, sizes, strict=True)):
        rows = write(federation.root, payments(first_seed + at, size), f"{name}-{at}.parquet")
        Datasets(home.root / "data", keystore).add(name, rows, PLAN)


def test_services_train_on_a_sample_and_on_all_rows(federation):
    add_everywhere(federation, "many", 40, 5000, 2500, 2100)
    with federation.client() as node:
        node.train("many", "mahalanobis", sample=1024).wait(120)
        found = node.model("many")
        assert found.state["rows"].tolist() == [3 * 1024]
        assert found.lineage["sample"] == 1024
        assert "sample" not in found.lineage["params"]
        node.train("many", "mahalanobis").wait(120)
        assert node.model("many").state["rows"].tolist() == [5000 + 2500 + 2100]
        assert node.model("many").lineage["sample"] is None


def test_where_too_few_members_were_sampled_all_rows_are_not_summed_after_the_sample(federation):
    """The difference would be the rest of two members: of one, to the other."""
    add_everywhere(federation, "few", 50, 5000, 2500, 900)
    with federation.client() as node:
        node.train("few", "mahalanobis", sample=1024).wait(120)
        assert node.model("few").state["rows"].tolist() == [1024 + 1024 + 900]
        with pytest.raises(JobError, match="FA408"):
            node.train("few", "mahalanobis").wait(120)
