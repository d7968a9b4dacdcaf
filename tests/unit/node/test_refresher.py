"""Refreshes at a node: which model, which rows; and through a real federation."""

import dataclasses
import json
import time

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.detectors import Loda, Mahalanobis, registry
from fedanomaly.errors import ConfigError, DataError, NotFoundError, RefusedError
from fedanomaly.features import Schema, encode
from fedanomaly.node import sampled
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.encoded import encoded_training
from fedanomaly.node.learner import Learners
from fedanomaly.node.models import Lineage, ModelStore, ParentLineage
from fedanomaly.node.refresher import Refreshers
from fedanomaly.node.renewal import KEY, refreshes, split
from fedanomaly.storage import MemoryRows
from tests.unit.node.federation import SCHEMA, payments, until
from tests.unit.node.test_datasets import write
from tests.unit.node.test_learner import request_of, train
from tests.unit.node.test_looking_back import SCHEMA as WINDOWS
from tests.unit.node.test_looking_back import payments as timed

PLAN = Plan(schema=SCHEMA, holdout_fraction=0.0)


class World:
    """What one node has: a data set, and a model that it has trained alone."""

    def __init__(self, tmp_path, keystore, detector="mahalanobis"):
        self.folder = tmp_path
        self.datasets = Datasets(tmp_path / "data", keystore)
        self.add(payments(1, 300))
        self.models = ModelStore(tmp_path / "models", keystore)
        self.rows = MemoryRows()
        self.learners = Learners(self.datasets, self.rows, lambda *_: None)
        self.refreshers = Refreshers(self.datasets, self.models, self.learners, self.rows, lambda *_: None)
        self.request = request_of(self.learners, detector, request=bytes(16))
        self.keep(train(self.learners(self.request)))

    def add(self, *tables, plan=PLAN):
        return self.datasets.add("payments", write(self.folder, pa.concat_tables(tables)), plan).snapshot

    def keep(self, state, **changes):
        told = Lineage(
            name="m", version=0, request=self.request.request.hex(), epoch="", job=1, detector=self.request.detector,
            detector_version=self.request.version, params=json.loads(self.request.params), dataset="payments",
            schema=SCHEMA.to_json(), schema_digest=SCHEMA.digest.hex(), requested_by="north", rounds=[],
            started_at=0.0, ended_at=1.0, generation=self.datasets.newest("payments").generation,
        )  # fmt: skip
        return self.models.add(msgspec.structs.replace(told, **changes), state)

    def ask(self, number=1, keep=0.25):
        return self.refreshers.request(model="m", keep=keep, request=bytes(15) + bytes([number]))

    @property
    def detector(self):
        return Mahalanobis().with_state(self.models.load("m").state)


@pytest.fixture
def world(tmp_path, keystore):
    return World(tmp_path, keystore)


@pytest.mark.parametrize("appended", [True, False], ids=["old and new rows in one file", "new rows in a file"])
def test_alone_it_learns_new_rows_as_refresh_does(world, appended):
    old, new = payments(1, 300), payments(2, 200)
    world.add(*([old, new] if appended else [new]))

    state = train(world.refreshers(world.ask()))

    assert state.to_bytes() == world.detector.refresh(encode(SCHEMA, new), keep=0.25).state_.to_bytes()


def test_new_rows_have_one_generation_whether_they_come_alone_or_behind_the_old_ones(world):
    alone = world.add(payments(2, 200))
    behind = world.add(payments(1, 300), payments(2, 200))

    assert world.refreshers(world.ask()).generation == alone.generation
    assert [entry.rows for entry in behind.beyond.values()] == [300]
    assert alone.beyond == {}


def test_the_same_rows_in_another_order_are_the_old_ones_and_with_one_left_out_they_are_not(world):
    old = payments(1, 300)
    shuffled = old.take(np.random.default_rng(0).permutation(300))
    assert [entry.rows for entry in world.add(shuffled, payments(2, 10)).beyond.values()] == [300]
    assert not any(entry.rows == 300 for entry in world.add(old.slice(1), payments(2, 10)).beyond.values())


def test_windows_remember_the_rows_that_the_model_knows(tmp_path, keystore):
    rows = timed(400)
    datasets = Datasets(tmp_path / "data", keystore)
    plan = Plan(schema=WINDOWS, holdout_fraction=0.0)
    first = datasets.add("payments", write(tmp_path, rows.slice(0, 350)), plan).snapshot
    both = datasets.add("payments", write(tmp_path, rows), plan).snapshot

    skip = both.beyond[first.generation].rows
    found = np.concatenate(list(encoded_training(datasets, both, WINDOWS, skip=skip)))

    assert np.array_equal(found, encode(WINDOWS, rows)[350:], equal_nan=True)
    assert not np.array_equal(found, encode(WINDOWS, rows.slice(350)), equal_nan=True)


def test_nothing_new_is_not_asked_for_and_adds_nothing(world):
    with pytest.raises(DataError, match="no rows that the model m does not know") as caught:
        world.ask()
    assert "data add payments FILE" in caught.value.hint

    asked = dataclasses.replace(world.request, params=with_refresh(world))
    assert world.refreshers(asked).generation == 0


def with_refresh(world, **changes):
    told = {"of": world.request.request.hex(), "keep": 0.25, **changes}
    return json.dumps({**json.loads(world.request.params), "refresh": told}, sort_keys=True, separators=(",", ":"))


def test_rows_that_an_earlier_version_has_learnt_are_not_learnt_again(world):
    world.add(payments(2, 200))
    parent = ParentLineage(version=1, request=world.request.request.hex(), keep=0.25)
    world.keep(train(world.refreshers(world.ask())), request="22" * 16, parent=parent)

    world.add(payments(1, 300))

    with pytest.raises(DataError, match="does not know"):
        world.ask(2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"of": "33" * 16}, "does not hold the version"),
        ({"of": 7}, "names no model"),
        ({"keep": 1.5}, "keeps no share"),
        ({"keep": 1}, "keeps no share"),
        ({"keep": "0.5"}, "keeps no share"),
        ({"more": 1}, "of a form that is not known"),
    ],
)
def test_a_refresh_that_this_node_cannot_do_is_refused(world, changes, text):
    world.add(payments(2, 200))
    with pytest.raises(RefusedError, match=text):
        world.refreshers(dataclasses.replace(world.request, params=with_refresh(world, **changes)))


def test_other_parameters_than_those_of_the_model_are_refused(world):
    world.add(payments(2, 200))
    params = with_refresh(world).replace('"contamination":0.01', '"contamination":0.02')
    with pytest.raises(RefusedError, match="other parameters"):
        world.refreshers(dataclasses.replace(world.request, params=params))
    with pytest.raises(RefusedError, match="canonical"):
        world.refreshers(dataclasses.replace(world.request, params=with_refresh(world).replace(":", ": ")))


def test_another_schema_is_refused_on_both_sides(world):
    request = dataclasses.replace(world.request, request=bytes(15) + b"9", params=with_refresh(world))
    world.add(payments(2, 200), plan=Plan(schema=Schema(SCHEMA.fields[:2]), holdout_fraction=0.0))
    with pytest.raises(RefusedError, match="another schema"):
        world.ask()
    with pytest.raises(RefusedError, match="another schema"):
        world.refreshers(request)


def test_a_detector_that_can_only_be_trained_anew_is_not_asked_for(tmp_path, keystore):
    world = World(tmp_path, keystore, "autoencoder")
    world.add(payments(2, 200))
    with pytest.raises(ConfigError, match="cannot be refreshed"):
        world.ask()
    with pytest.raises(RefusedError, match="cannot be refreshed"):
        world.refreshers(dataclasses.replace(world.request, request=bytes(15) + b"1", params=with_refresh(world)))


def test_a_model_from_before_refreshes_is_trained_anew(world):
    world.keep(world.models.load("m").state, request="44" * 16, generation=None)
    world.add(payments(2, 200))
    with pytest.raises(RefusedError, match="from which rows"):
        world.ask()


def test_a_request_says_which_state_and_how_much_stays(world):
    world.add(payments(2, 200))
    plain, renewal = split(world.ask(keep=0.1))
    assert plain.params == world.request.params
    assert (renewal.of, renewal.keep) == (world.request.request.hex(), 0.1)
    assert refreshes(world.ask())
    assert not refreshes(world.request)
    assert not refreshes(dataclasses.replace(world.request, params="[" * 100_000))


def test_no_detector_has_a_parameter_of_a_name_that_says_something_of_the_rows():
    assert not any({KEY, sampled.KEY} & kind().get_params().keys() for kind in registry().values())


# Through a real federation.


def own_data(federation):
    return [
        Datasets(home.root / "data", keystore)
        for home, keystore in zip(federation.homes, federation.keystores, strict=True)
    ]


def add_everywhere(federation, name, *seeds):
    for at, datasets in enumerate(own_data(federation)):
        table = pa.concat_tables([payments(100 * seed + at, 200) for seed in seeds])
        datasets.add(name, write(federation.root, table, f"{name}-{at}.parquet"), PLAN)


def pooled(federation, seed):
    return np.vstack([encode(SCHEMA, payments(100 * seed + at, 200)) for at in range(3)])


def test_services_refresh_a_model_with_the_new_rows_of_all_members(federation):
    add_everywhere(federation, "stream", 1)
    with federation.client() as node:
        node.train("stream", "loda").wait(120)
        first = node.model("stream")
        add_everywhere(federation, "stream", 1, 2)
        job = node.refresh("stream", half_life_days=1.0).wait(120)
        second = node.model("stream")
        assert node.model("stream", 1).lineage["version"] == 1

        parent = second.lineage["parent"]
        assert (second.lineage["version"], parent["version"], parent["request"]) == (2, 1, first.lineage["request"])
        assert first.lineage["parent"] is None
        assert second.lineage["params"] == first.lineage["params"]
        # Not a minute old: nearly all of its rows stay.
        age_days = -np.log2(parent["keep"])
        assert 0 <= age_days < 0.01
        assert age_days <= (time.time() - first.lineage["ended_at"]) / 86_400

        assert first.state.to_bytes() == Loda().fit(pooled(federation, 1)).state_.to_bytes()
        again = Loda().with_state(first.state).refresh(pooled(federation, 2), keep=parent["keep"])
        assert second.state.to_bytes() == again.state_.to_bytes()
        assert len(job.rounds) < len(first.lineage["rounds"])
        for service in federation.services:
            until(lambda service=service: service.models.load("stream").lineage.version == 2, 30)
            assert service.models.load("stream").state.to_bytes() == second.state.to_bytes()
            assert service.models.load("stream").lineage.parent.request == first.lineage["request"]

        with pytest.raises(DataError, match="no rows that the model"):
            node.refresh("stream")
        with pytest.raises(NotFoundError):
            node.refresh("nothing")
        with pytest.raises(DataError, match="half_life_days"):
            node.refresh("stream", half_life_days=0.0)
