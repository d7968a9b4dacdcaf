"""Evaluations at a node: which model, which rows, which labels; and through a real federation."""

import dataclasses

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.detectors.evaluation import EVALUATION, VERSION, digest_of, quality_from
from fedanomaly.detectors.quality import quality_of
from fedanomaly.errors import DataError, NotFoundError, RefusedError
from fedanomaly.features import Schema, encode
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.evaluator import Evaluators, labels_of
from fedanomaly.node.learner import Learners
from fedanomaly.node.models import Lineage, ModelStore
from fedanomaly.node.scoring import Scorer
from fedanomaly.node.sources import FileSource
from fedanomaly.protocol import Policy
from fedanomaly.storage import MemoryRows
from fedanomaly.types import Quantiser
from tests.unit.node.federation import SCHEMA, payments, until
from tests.unit.node.test_datasets import write
from tests.unit.node.test_learner import request_of, train

PLAN = Plan(schema=SCHEMA, label="fraud", holdout_fraction=0.5)


class World:
    """What one node has: a data set, and a model that it has trained alone."""

    def __init__(self, tmp_path, keystore, plan=PLAN):
        self.told = []
        self.datasets = Datasets(tmp_path / "data", keystore)
        self.snapshot = self.datasets.add("payments", write(tmp_path, payments(1, 600)), plan).snapshot
        self.models = ModelStore(tmp_path / "models", keystore)
        self.rows = MemoryRows()
        self.learners = Learners(self.datasets, self.rows, lambda *_: None)
        self.evaluators = Evaluators(
            self.datasets, self.models, self.learners, self.rows, lambda *event: self.told.append(event[:2])
        )
        self.train(contamination=0.01)

    def train(self, **params):
        request = request_of(self.learners, **params)
        state = train(self.learners(request))
        lineage = Lineage(
            name="m", version=0, request=f"{round(1000 * params['contamination']):032x}", epoch="", job=1,
            detector=state.detector, detector_version=1, params={}, dataset="payments", schema=SCHEMA.to_json(),
            schema_digest=SCHEMA.digest.hex(), requested_by="north", rounds=[], started_at=0.0, ended_at=1.0,
        )  # fmt: skip
        self.models.add(lineage, state)
        return state

    def request(self, number=1, **changes):
        made = self.evaluators.request(model="m", version=None, request=bytes(15) + bytes([number]))
        return dataclasses.replace(made, **changes)


@pytest.fixture
def world(tmp_path, keystore):
    return World(tmp_path, keystore)


def opened(learner):
    state = learner.start()
    step = learner.next_step(state)
    quantiser = Quantiser(step=step, members=3)
    return learner.merge(step, quantiser.total(quantiser.quantise(learner.local(step, state)), 1), state)


def test_alone_it_tells_what_the_held_out_rows_tell(world):
    learner = world.evaluators(world.request())

    state = opened(learner)

    scorer = Scorer.of(SCHEMA.to_json(), world.models.load("m").state)
    scores = scorer.detector.anomaly_scores(encode(SCHEMA, world.datasets.holdout(world.snapshot)))
    exact = quality_of(scores, np.asarray(world.datasets.labels(world.snapshot)))
    found = quality_from(state)
    assert (found.rows, found.anomalies) == (exact.rows, exact.anomalies)
    assert found.anomalies > 0
    assert abs(found.auroc.value - exact.auroc.value) <= found.auroc.bound
    assert learner.scores_are_finite(state)
    assert learner.next_step(state) is None
    assert world.told == [(world.request(), "evaluation/histograms")]
    assert [row.name for row in learner.drift(state)] == ["score", *SCHEMA.feature_names]


def test_a_request_names_the_state_by_its_digest(world):
    old = world.models.load("m").state
    new = world.train(contamination=0.05)

    newest, first = world.request(), world.evaluators.request(model="m", version=1, request=bytes(16))

    assert (newest.detector, newest.version, newest.dataset, newest.schema) == (
        EVALUATION, VERSION, "payments", SCHEMA.digest,
    )  # fmt: skip
    assert digest_of(new) in newest.params
    assert digest_of(old) in first.params
    assert world.evaluators(first).start().params["state"] == digest_of(old)


def test_the_guard_counts_the_rows_that_are_summed(world):
    learner = world.evaluators(world.request())

    assert learner.generation == world.snapshot.holdout_generation != world.snapshot.generation
    assert learner.schema == SCHEMA.digest


def test_a_node_without_labels_brings_its_features_only(tmp_path, keystore):
    world = World(tmp_path, keystore, dataclasses.replace(PLAN, label=None))
    state = opened(world.evaluators(world.request()))

    assert quality_from(state).rows == 0
    assert state["evaluation/profile"].sum(axis=1).tolist() == [world.snapshot.holdout_rows] * SCHEMA.n_features


def test_labels_are_numbers_and_may_be_missing():
    told = labels_of(pa.chunked_array([[0, 1], [None, 7]]))
    assert np.array_equal(told, [0, 1, np.nan, 7], equal_nan=True)
    assert labels_of(pa.array([True, False])).tolist() == [1.0, 0.0]
    with pytest.raises(DataError, match="no numbers"):
        labels_of(pa.array(["yes"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "unknown"},
        {"model": "../m"},
        {"version": VERSION + 1},
        {"params": '{"model":"m","state":"00"}'},
        {"params": "[" * 100_000},
        {"dataset": "unknown"},
        {"schema": bytes(32)},
    ],
)
def test_what_this_node_does_not_hold_is_refused(world, changes):
    with pytest.raises(RefusedError):
        world.evaluators(world.request(**changes))


def test_other_rows_under_another_schema_are_refused(world, tmp_path):
    request = world.request()
    plan = dataclasses.replace(PLAN, schema=Schema(SCHEMA.fields[:2]))
    world.datasets.add("payments", FileSource(tmp_path / "rows.parquet"), plan)

    with pytest.raises(RefusedError, match="another schema"):
        world.evaluators(request)


@pytest.mark.parametrize("change", ["every label", "no labels"])
def test_the_same_rows_are_not_evaluated_with_other_labels(world, tmp_path, change):
    world.evaluators(world.request())
    assert world.evaluators(world.request(2))
    table, plan = payments(1, 600), dataclasses.replace(PLAN, label=None)
    if change == "every label":
        other = pa.array(1 - np.asarray(table["fraud"]))
        table, plan = table.set_column(table.schema.get_field_index("fraud"), "fraud", other), PLAN
    relabelled = world.datasets.add("payments", write(tmp_path, table), plan).snapshot

    assert relabelled.holdout_generation == world.snapshot.holdout_generation
    with pytest.raises(RefusedError, match="evaluated with other labels"):
        world.evaluators(world.request(3))


def test_a_data_set_from_before_evaluations_takes_no_part_and_it_says_what_to_do(world):
    with world.datasets._registry.changing() as contents:
        contents.snapshots[-1] = msgspec.structs.replace(world.snapshot, holdout_generation=0)

    with pytest.raises(RefusedError, match="before there were evaluations") as caught:
        world.request()

    assert "fedanomaly data add payments FILE" in caught.value.hint


def test_an_unknown_model_is_not_asked_for(world):
    with pytest.raises(NotFoundError, match="no model other"):
        world.evaluators.request(model="other", version=None, request=bytes(16))


def test_a_policy_that_lists_detectors_must_list_evaluations(world):
    request = world.request()

    assert Policy(detectors=("loda",)).refuses_job(request)
    assert Policy(detectors=("loda", "evaluation")).refuses_job(request) is None
    assert Policy(datasets=("other",)).refuses_job(request)


def test_drift_is_told_as_long_as_the_rows_are_here(world, tmp_path):
    request = world.request()
    state = opened(world.evaluators(request))
    lineage = msgspec.structs.replace(
        world.models.load("m").lineage,
        request=request.request.hex(),
        detector=EVALUATION,
        params={"state": digest_of(world.models.load("m").state), "model": "m"},
    )
    kept = msgspec.structs.replace(world.models.load("m"), lineage=lineage, state=state)

    assert len(world.evaluators.drift(kept)) == 1 + SCHEMA.n_features
    for seed in range(5):
        world.datasets.add("payments", write(tmp_path, payments(seed + 10, 50)), PLAN)
    assert world.evaluators.drift(kept) is None


def test_the_federation_evaluates_its_model_and_every_member_keeps_the_same(trained):
    with trained.client() as node:
        rounds = node.evaluate("payments").wait(120).rounds
        told = node.evaluation("payments", budget=0.1)
        detectors = {model["detector"] for model in node.models()}
        own = node.model("payments")

    assert [entry["step_name"] for entry in rounds] == ["evaluation/histograms"]
    assert rounds[0]["contributors"] == told["members"] == ["north", "east", "south"]
    assert told["model_state"] == digest_of(own.state)
    assert told["auroc"]["value"] > 0.75
    assert told["auroc"]["bound"] < 0.05
    assert told["alerts"] == round(0.1 * told["rows"])
    assert 100 < told["rows"] < 300
    assert len(told["drift"]) == 1 + len(own.features)
    assert "evaluation" not in detectors
    for service in trained.services:
        until(lambda service=service: service.evaluations.has("payments", told["request"]))
    states = {service.evaluations.load("payments").state.to_bytes() for service in trained.services}
    assert len(states) == 1
    assert (told["since"] is None) == (told["drift_since"] is None)  # others may have evaluated it before
    with trained.client() as node:
        node.evaluate("payments").wait(120)
        again = node.evaluation("payments")
    assert again["since"] == told["ended_at"]
    assert {row["word"] for row in again["drift_since"]} == {"stable"}
    assert [row["name"] for row in again["drift_since"]] == ["score", *own.features]
    with trained.client() as node, pytest.raises(NotFoundError):
        node.evaluation("again-not-there")
