"""A detector of another package takes part only where the policy names it; until then none of its code runs."""

import dataclasses
import sys

import pyarrow.parquet as pq
import pytest

from fedanomaly.detectors import from_params
from fedanomaly.errors import FedAnomalyError, RefusedError
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.learner import Learners
from fedanomaly.node.sources import FileSource
from fedanomaly.storage import MemoryRows
from tests.installed import installed_distribution
from tests.unit.node.federation import SCHEMA, payments
from tests.unit.node.test_learner import request_of, rows_of, train


@pytest.fixture(autouse=True)
def somebody_else(tmp_path_factory):
    with installed_distribution(tmp_path_factory.mktemp("installed")) as folder:
        yield folder


@pytest.fixture
def datasets(tmp_path, keystore):
    made = Datasets(tmp_path / "data", keystore)
    pq.write_table(payments(1, 300), tmp_path / "rows.parquet")
    made.add("payments", FileSource(tmp_path / "rows.parquet"), Plan(schema=SCHEMA))
    return made


def learners(datasets, *named):
    return Learners(datasets, MemoryRows(), lambda *_: None, named)


def test_where_the_policy_names_it_it_is_trained_like_any_other(datasets):
    named = learners(datasets, "theirs")

    state = train(named(request_of(named, "theirs")))

    assert state.to_bytes() == from_params("theirs").fit(rows_of(datasets)).state_.to_bytes()


@pytest.mark.parametrize("named", [(), ("loda", "careless")])
def test_where_the_policy_does_not_name_it_it_is_refused_before_its_code_runs(datasets, named):
    request = dataclasses.replace(request_of(learners(datasets), "hbos"), detector="theirs")

    with pytest.raises(RefusedError, match="of another package") as caught:
        learners(datasets, *named)(request)
    with pytest.raises(RefusedError, match="of another package"):
        request_of(learners(datasets, *named), "theirs")

    assert 'add "theirs" to detectors in policy.toml' in (caught.value.hint or "")
    assert "somebody_else" not in sys.modules


def test_a_running_node_tells_what_to_do(federation):
    with federation.client() as node, pytest.raises(FedAnomalyError, match="of another package") as caught:
        node.train("payments", "theirs")

    assert "policy.toml" in (caught.value.hint or "")
