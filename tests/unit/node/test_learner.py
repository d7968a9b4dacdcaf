import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.detectors import Ensemble, GradientBoosting, Loda, LogisticRegression, Mahalanobis
from fedanomaly.errors import ConfigError, DataError, FedAnomalyError, NotFoundError, RefusedError
from fedanomaly.features import Schema, encode
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.learner import Learners, canonical_params
from fedanomaly.node.sources import FileSource
from fedanomaly.storage import MemoryRows
from fedanomaly.types import Quantiser
from tests.unit.node.federation import SCHEMA, payments


def add(datasets, tmp_path, seed, schema=SCHEMA, **how):
    pq.write_table(how.get("table") or payments(seed, 300), tmp_path / "rows.parquet")
    plan = Plan(schema=schema, label=how.get("label"))
    return datasets.add("payments", FileSource(tmp_path / "rows.parquet"), plan).snapshot


def rows_of(datasets):
    return encode(SCHEMA, pa.Table.from_batches(datasets.train(datasets.newest("payments"))))


@pytest.fixture
def datasets(tmp_path, keystore):
    datasets = Datasets(tmp_path / "data", keystore)
    add(datasets, tmp_path, 1)
    return datasets


@pytest.fixture
def told():
    return []


@pytest.fixture
def learners(datasets, told):
    return Learners(datasets, MemoryRows(), lambda *event: told.append(event))


def request_of(learners, detector="mahalanobis", request=bytes(16), **params):
    return learners.request(model="m", dataset="payments", detector=detector, params=params, request=request)


def train(learner):
    state = learner.start()
    while (step := learner.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=3)
        sums = quantiser.quantise(learner.local(step, state))
        state = learner.merge(step, quantiser.total(sums, 1), state)
    return state


@pytest.mark.parametrize("kind", [Mahalanobis, Loda])
def test_alone_it_learns_what_fit_learns(learners, datasets, kind):
    learner = learners(request_of(learners, kind.name))

    state = train(learner)

    rows = rows_of(datasets)
    assert state.to_bytes() == kind().fit(rows).state_.to_bytes()
    assert learner.scores_are_finite(state)


@pytest.fixture
def labelled(datasets, tmp_path):
    return add(datasets, tmp_path, 1, label="fraud")


@pytest.mark.parametrize("kept_bytes", [0, 1 << 26])
@pytest.mark.parametrize("kind", [Loda, LogisticRegression, Ensemble])
def test_in_batches_it_learns_what_fit_learns(learners, datasets, labelled, monkeypatch, kind, kept_bytes):  # noqa: PLR0917 - fixtures
    monkeypatch.setattr("fedanomaly.node.learner.KEPT_BYTES", kept_bytes)
    monkeypatch.setattr("fedanomaly.node.at_rest.BATCH_ROWS", 50)
    learner = learners(request_of(learners, kind.name))
    sizes = []
    monkeypatch.setattr(learner._learning, "local", noting(sizes, learner._learning.local))

    state = train(learner)

    assert max(sizes) == (labelled.rows if kept_bytes else 50)
    fitted = kind().fit(rows_of(datasets), datasets.train_labels(labelled))
    assert state.to_bytes() == fitted.state_.to_bytes()


def noting(sizes, local):
    def noted(step, X, *others):  # noqa: N803 - scikit-learn's name
        sizes.append(len(X))
        return local(step, X, *others)

    return noted


@pytest.mark.usefixtures("labelled")
def test_without_labels_a_node_takes_no_part_in_a_job_that_learns_from_them(learners, datasets, tmp_path):
    request = request_of(learners, "logistic_regression")
    learners(request)
    add(datasets, tmp_path, 2)

    with pytest.raises(RefusedError, match="no labels to learn from") as caught:
        learners(dataclasses.replace(request, request=bytes(15) + b"1"))
    with pytest.raises(RefusedError, match="no labels to learn from"):
        request_of(learners, "logistic_regression")
    assert "--label" in (caught.value.hint or "")


def relabelled(rows=300):
    table = payments(1, rows)
    return table.set_column(table.column_names.index("fraud"), "fraud", pa.array(np.arange(rows) % 5 == 0))


def test_labels_may_change_until_something_was_learnt_from_them(learners, datasets, labelled, tmp_path):
    learners(request_of(learners, "logistic_regression"))
    add(datasets, tmp_path, 1, table=relabelled(), label="fraud")
    request = dataclasses.replace(request_of(learners, "logistic_regression"), request=bytes(15) + b"1")

    train(learners(request))

    assert learners(request).generation == labelled.generation


def test_rows_are_not_learnt_from_again_with_other_labels(learners, datasets, labelled, tmp_path):
    """Two sums over the same rows and other labels subtract to the rows whose labels changed."""
    request = request_of(learners, "logistic_regression")
    began = learners(request)
    state = began.start()
    began.local(began.next_step(state), state)
    add(datasets, tmp_path, 1, table=relabelled(), label="fraud")
    again, later = (dataclasses.replace(request, request=bytes(15) + bytes([at])) for at in (1, 2))

    with pytest.raises(RefusedError, match="other labels before"):
        learners(again)

    # The job that began goes on with what it began with, others do not mind, new rows may have any labels.
    assert learners(request).generation == labelled.generation
    unlabelled = request_of(learners, request=bytes(15) + b"3")
    assert learners(unlabelled).generation == labelled.generation
    add(datasets, tmp_path, 3, label="fraud")
    assert learners(later).generation != labelled.generation


def test_services_learn_from_the_labels_of_all_members_what_fit_learns(federation):
    with federation.client() as node:
        node.train("payments", "gradient_boosting", model="labelled", params={"n_trees": 2, "depth": 2}).wait(120)
        found = node.model("labelled").detector

    rows, labels = [], []
    for home, keystore in zip(federation.homes, federation.keystores, strict=True):
        own = Datasets(home.root / "data", keystore)
        rows.append(rows_of(own))
        labels.append(own.train_labels(own.newest("payments")))
    fitted = GradientBoosting(n_trees=2, depth=2).fit(np.concatenate(rows), np.concatenate(labels))
    assert found.state_.to_bytes() == fitted.state_.to_bytes()


def test_it_tells_its_snapshot_and_what_it_computed(learners, datasets, told):
    request = request_of(learners)
    learner = learners(request)
    state = learner.start()
    learner.local(learner.next_step(state), state)

    assert (learner.generation, learner.schema) == (1, SCHEMA.digest)
    assert [(event[0], event[1]) for event in told] == [(request, "rows/all")]


def test_a_request_holds_every_parameter_in_canonical_form(learners):
    request = request_of(learners, contamination=0.05)

    assert json.loads(request.params)["contamination"] == 0.05
    assert request.params == canonical_params(json.loads(request.params))
    assert (request.schema, request.version) == (SCHEMA.digest, Mahalanobis.version)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"dataset": "unknown"}, NotFoundError),
        ({"detector": "unknown"}, NotFoundError),
        ({"params": {"contamination": 7}}, ConfigError),
        ({"params": {"unknown": 7}}, ConfigError),
        ({"model": "a/b"}, DataError),
    ],
)
def test_what_this_node_could_not_do_itself_is_not_asked_for(learners, changes, error):
    fields = {"model": "m", "dataset": "payments", "detector": "loda", "params": {}}

    with pytest.raises(error):
        learners.request(**(fields | changes), request=bytes(16))


@pytest.mark.parametrize(
    "changes",
    [
        {"detector": "unknown"},
        {"dataset": "unknown"},
        {"version": 99},
        {"params": "{}"},
        {"params": "[]"},
        {"params": "no json"},
        {"params": "[" * 100_000},
        {"params": '{"unknown":1}'},
        {"schema": bytes(32)},
        {"model": "../x"},
    ],
)
def test_what_this_node_cannot_do_is_refused_and_nothing_else(learners, changes):
    request = dataclasses.replace(request_of(learners), **changes)

    with pytest.raises(RefusedError):
        learners(request)


def test_parameters_in_another_form_are_refused(learners):
    request = request_of(learners)

    with pytest.raises(RefusedError, match="canonical"):
        learners(dataclasses.replace(request, params=request.params.replace(",", ", ")))


def test_a_job_ends_on_the_rows_that_it_began_with(learners, datasets, tmp_path):
    request = request_of(learners)
    before = learners(request)
    add(datasets, tmp_path, 2)

    assert learners(request).generation == before.generation == 1
    assert learners(dataclasses.replace(request, request=bytes(15) + b"1")).generation > 1


def test_a_job_whose_rows_are_gone_is_refused(learners, datasets, tmp_path):
    request = request_of(learners)
    learners(request)
    for seed in range(2, 6):
        add(datasets, tmp_path, seed)

    with pytest.raises(RefusedError, match="gone"):
        learners(request)


def test_another_schema_here_is_refused_with_what_to_do(learners, datasets, tmp_path):
    request = request_of(learners)
    add(datasets, tmp_path, 2, Schema(SCHEMA.fields[:2]))

    with pytest.raises(RefusedError, match="another schema") as caught:
        learners(dataclasses.replace(request, request=bytes(15) + b"2"))

    assert "same schema file" in (caught.value.hint or "")


class Failing(Mahalanobis):
    """Fails in a way that quotes a value."""

    def local(self, step, X, state, y=None):  # noqa: N803 - scikit-learn's name
        raise ValueError(f"cannot use {X[0, 0]}")


def test_a_detector_that_fails_tells_no_value(learners):
    learner = learners(request_of(learners))
    learner._learning = Failing()
    state = learner.start()

    with pytest.raises(DataError, match="failed on the local rows") as caught:
        learner.local(learner.next_step(state), state)

    assert isinstance(caught.value, FedAnomalyError)
    assert "cannot use" not in str(caught.value)


def test_scores_that_are_not_finite_are_noticed(learners, monkeypatch):
    learner = learners(request_of(learners))
    state = train(learner)
    monkeypatch.setattr(Mahalanobis, "anomaly_scores", lambda _self, rows: np.full(len(rows), np.nan))

    assert not learner.scores_are_finite(state)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_a_parameter_that_is_no_json_is_refused(value):
    with pytest.raises(DataError):
        canonical_params({"a": value})


def test_a_job_that_repeats_the_number_of_another_does_not_get_its_rows(learners, datasets, tmp_path):
    """What a policy allows is asked by name; the rows must be those of that name."""
    learners(request_of(learners))
    datasets.add("other", FileSource(tmp_path / "rows.parquet"), Plan(schema=SCHEMA))
    request = learners.request(model="m", dataset="other", detector="mahalanobis", params={}, request=bytes(16))

    with pytest.raises(RefusedError, match="another data set"):
        learners(request)
