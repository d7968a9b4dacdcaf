"""Data whose features look back in time: split by time, encoded as one stream, in one order."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.cli.score import _of_file
from fedanomaly.client.models import Model
from fedanomaly.detectors import Mahalanobis
from fedanomaly.errors import RefusedError, ReplayError, SchemaError
from fedanomaly.features import Column, Schema, Window, encode
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.encoded import encoded_holdout, encoded_training
from fedanomaly.node.evaluator import Evaluators
from fedanomaly.node.learner import Learners
from fedanomaly.node.models import Lineage, ModelStore
from fedanomaly.node.sources import FileSource
from fedanomaly.storage import MemoryRows
from fedanomaly.types import Quantiser

SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", transform="log"),
        Column(name="shop", kind="categorical", encode="frequency", buckets=64),
    ),
    (Window(entity=("card",), time="at", value="amount", statistics=("count", "mean"), spans=("1h", "1d")),),
)


def payments(rows=400, seed=1):
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, 5 * 86_400, rows))
    return pa.table(
        {
            "amount": rng.lognormal(size=rows),
            "shop": rng.choice(["bar", "cinema", "garage"], rows),
            "card": rng.integers(0, 20, rows).astype(str),
            "at": pa.array(seconds * 1_000_000, pa.timestamp("us")),
        }
    )


@pytest.fixture
def datasets(tmp_path, keystore, monkeypatch):
    monkeypatch.setattr("fedanomaly.node.at_rest.BATCH_ROWS", 37)
    monkeypatch.setattr("fedanomaly.node.sources.BATCH_ROWS", 50)
    return Datasets(tmp_path / "data", keystore)


@pytest.fixture
def add(datasets, tmp_path):
    def added(table, holdout=None, schema=SCHEMA):
        pq.write_table(table, tmp_path / "rows.parquet")
        if holdout is not None:
            pq.write_table(holdout, tmp_path / "later.parquet")
            holdout = FileSource(tmp_path / "later.parquet")
        plan = Plan(schema=schema, holdout=holdout)
        return datasets.add("payments", FileSource(tmp_path / "rows.parquet"), plan).snapshot

    return added


@pytest.fixture
def learners(datasets):
    return Learners(datasets, MemoryRows(), lambda *_event: None)


def learner_of(learners, number=0):
    request = learners.request(
        model="m", dataset="payments", detector="mahalanobis", params={}, request=bytes(15) + bytes([number])
    )
    return learners(request)


def train(learner):
    state = learner.start()
    while (step := learner.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=3)
        state = learner.merge(step, quantiser.total(quantiser.quantise(learner.local(step, state)), 1), state)
    return state


@pytest.mark.parametrize("kept_bytes", [0, 1 << 26])
def test_a_node_learns_from_the_first_rows_as_one_stream(add, learners, monkeypatch, kept_bytes):
    monkeypatch.setattr("fedanomaly.node.learner.KEPT_BYTES", kept_bytes)
    snapshot = add(payments())

    state = train(learner_of(learners))

    assert (snapshot.rows, snapshot.holdout_rows) == (360, 40)
    assert state.to_bytes() == Mahalanobis().fit(encode(SCHEMA, payments())[:360]).state_.to_bytes()


@pytest.mark.parametrize("file", [False, True])
def test_held_out_rows_go_on_from_the_rows_before_them(add, datasets, file):
    table = payments()
    snapshot = add(table.slice(0, 300), table.slice(300)) if file else add(table)

    whole = encode(SCHEMA, table)
    np.testing.assert_array_equal(encoded_holdout(datasets, snapshot, SCHEMA), whole[snapshot.rows :])
    np.testing.assert_array_equal(
        np.concatenate([*encoded_training(datasets, snapshot, SCHEMA)]), whole[: snapshot.rows]
    )


def test_rows_out_of_order_are_refused_when_they_are_added(add, datasets):
    table = payments()
    first = add(table)
    late = pa.concat_tables([table.slice(200), table.slice(0, 200)])

    with pytest.raises(SchemaError, match="'at' goes back by more than 1h") as caught:
        add(late)
    with pytest.raises(SchemaError, match="'at' goes back"):  # a file of held-out rows that is older
        add(table.slice(200), table.slice(0, 200))

    assert "sort the rows" in (caught.value.hint or "")
    assert datasets.newest("payments") == first
    assert len([path for path in datasets._folder.iterdir() if path.is_dir()]) == 1


def swapped(table):
    """Two neighbours change places: within what a window lets pass."""
    order = np.arange(table.num_rows)
    seconds = np.asarray(table["at"].cast(pa.int64()))
    at = int(np.flatnonzero(np.diff(seconds) < 3_000_000_000)[0])
    order[[at, at + 1]] = order[[at + 1, at]]
    return table.take(pa.array(order))


def test_rows_that_were_summed_are_not_summed_in_another_order(add, learners):
    """The sums would subtract to what the order changes at one member."""
    first = add(payments())
    began = learner_of(learners)
    add(swapped(payments()))
    assert learner_of(learners, 1).generation == first.generation  # nothing was summed yet

    state = began.start()
    began.local(began.next_step(state), state)
    with pytest.raises(RefusedError, match="summed in another order") as caught:
        learner_of(learners, 2)
    assert "order of the first time" in (caught.value.hint or "")

    add(payments())
    assert learner_of(learners, 3).generation == first.generation


def test_held_out_rows_are_not_evaluated_in_another_order(add, datasets, tmp_path, keystore, learners):
    later = payments().slice(300)
    add(payments().slice(0, 300), later)
    models = ModelStore(tmp_path / "models", keystore)
    models.add(lineage(), train(learner_of(learners)))
    evaluators = Evaluators(datasets, models, learners, MemoryRows(), lambda *_event: None)
    evaluators(evaluators.request(model="m", version=None, request=bytes(15) + b"1"))
    add(payments().slice(0, 300), swapped(later))

    with pytest.raises(RefusedError, match="or in another order"):
        evaluators(evaluators.request(model="m", version=None, request=bytes(15) + b"2"))


def lineage():
    return Lineage(
        name="m", version=0, request="00" * 16, epoch="", job=1, detector="mahalanobis", detector_version=1, params={},
        dataset="payments", schema=SCHEMA.to_json(), schema_digest=SCHEMA.digest.hex(), requested_by="north",
        rounds=[], started_at=0.0, ended_at=1.0,
    )  # fmt: skip


def test_the_order_does_not_count_where_no_feature_looks_back(add, learners):
    plain = Schema(SCHEMA.fields[:1])
    first = add(payments(), schema=plain)
    began = learner_of(learners)
    state = began.start()
    began.local(began.next_step(state), state)

    assert add(swapped(payments()), schema=plain) == first


def test_held_out_rows_are_other_rows_after_other_training_rows(add):
    table = payments()
    first = add(table.slice(0, 300), table.slice(300))
    same = add(table.slice(0, 300), table.slice(300))
    other = add(table.slice(1, 299), table.slice(300))

    assert same == first
    assert other.holdout_generation != first.holdout_generation


def test_a_model_scores_rows_after_their_history():
    table = payments()
    state = Mahalanobis().fit(encode(SCHEMA, table)).state_
    model = Model({"name": "m", "version": 1, "feature_schema": SCHEMA.to_json()}, state.to_bytes())
    later, history = table.slice(300), table.slice(0, 300)

    whole = model.score(table)
    np.testing.assert_array_equal(model.score(later, history), whole[300:])
    assert not np.array_equal(model.score(later), whole[300:])
    np.testing.assert_array_equal(model.predict(later, history), model.predict(table)[300:])
    np.testing.assert_array_equal(model.explain(later, history), model.explain(table)[300:])
    assert model.reasons(later, history=history) == model.reasons(table)[300:]


def test_a_file_is_scored_after_the_file_of_its_history(tmp_path):
    table = payments()
    state = Mahalanobis().fit(encode(SCHEMA, table)).state_
    model = Model({"name": "m", "version": 1, "feature_schema": SCHEMA.to_json()}, state.to_bytes())
    for name, part in (("earlier", table.slice(0, 300)), ("later", table.slice(300))):
        pq.write_table(part, tmp_path / f"{name}.parquet")

    later, earlier = tmp_path / "later.parquet", tmp_path / "earlier.parquet"
    scored = _of_file(model, later, None, earlier, model.detector.anomaly_scores)

    np.testing.assert_array_equal(scored.scores, model.score(table)[300:])


def test_two_jobs_that_began_before_either_summed_do_not_both_sum(add, learners):
    add(payments())
    first = learner_of(learners)
    add(swapped(payments()))
    second = learner_of(learners, 1)
    state = first.start()
    first.local(first.next_step(state), state)

    with pytest.raises(ReplayError):
        second.local(second.next_step(state), state)
