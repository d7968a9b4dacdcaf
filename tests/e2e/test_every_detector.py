"""Four processes train every detector by its name; what each learns is what `fit` learns on all rows together."""

from __future__ import annotations

import json
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.cli.costing import forecast
from fedanomaly.cli.running import running_node
from fedanomaly.detectors import from_params, registry
from fedanomaly.errors import FedAnomalyError
from fedanomaly.features import infer_schema
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.encoded import encoded_training
from fedanomaly.node.home import Home
from fedanomaly.node.sources import FileSource
from tests.e2e.nursery import Nursery
from tests.e2e.realm import PASSPHRASE, TIMEOUT_S, Realm
from tests.installed import installed_distribution

NAMES = ("north", "south", "west")
LABEL = "odd"
ALLOWED = [*registry(), "theirs"]
SHORT = {
    "autoencoder": {"n_epochs": 1, "n_hidden": 2},
    "ensemble": {"detectors": ["hbos", {"detector": "loda", "n_projections": 8}]},
    "gaussian_mixture": {"n_components": 2, "n_rounds": 2},
    "gradient_boosting": {"n_trees": 2, "depth": 2, "max_bins": 16},
    "kernel_mean": {"n_cosines": 32},
    "kmeans": {"n_clusters": 4, "n_rounds": 2},
    "loda": {"n_projections": 8},
    "logistic_regression": {"l2": 300.0},
    "ngram": {"table_bits": 10},
    "random_trees": {"n_trees": 8},
    "text_surprise": {"table_bits": 10},
}
"""Fewer rounds and smaller sums than the defaults; what is left out has them."""


def table_of(seed: int, rows: int = 150) -> pa.Table:
    """Return readings of one organisation; every tenth row is odd."""
    rng = np.random.default_rng(seed)
    odd = np.arange(rows) % 10 == 3
    values = rng.normal(size=(rows, 4)) * [1.0, 250.0, 3.5, 1.0] + odd[:, None] * [2.0, 0.0, 5.0, 0.0]
    columns = {f"reading_{column}": values[:, column] for column in range(4)}
    return pa.table({**columns, LABEL: odd.astype(np.int64)})


class Labelled(Realm):
    """A realm whose organisations know which of their rows are odd."""

    def add(self, name: str, dataset: str, *, seed: int, rows: int = 150) -> None:
        """Give an organisation its data set."""
        keystore = Home(self.home(name)).unlock(PASSPHRASE)
        file = self.nursery.folder / f"{name}.parquet"
        pq.write_table(table_of(seed, rows), file)
        schema = infer_schema(table_of(0).drop_columns([LABEL])).schema
        Datasets(self.home(name) / "data", keystore).add(dataset, FileSource(file), Plan(schema=schema, label=LABEL))

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training rows of all organisations, encoded, and their labels."""
        rows, labels = [], []
        for name in self.names:
            datasets = Datasets(self.home(name) / "data", Home(self.home(name)).unlock(PASSPHRASE))
            snapshot = datasets.newest("readings")
            schema = infer_schema(table_of(0).drop_columns([LABEL])).schema
            rows.extend(encoded_training(datasets, snapshot, schema))
            labels.append(datasets.train_labels(snapshot))
        return np.concatenate(rows), np.concatenate(labels)


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    """A federation on machines with a package of detectors, of which the policies name one."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        elsewhere = stack.enter_context(installed_distribution(tmp_path_factory.mktemp("installed")))
        patch.setenv("PYTHONPATH", str(elsewhere))
        nursery = stack.enter_context(Nursery(tmp_path_factory.mktemp("realm")))
        made = Labelled(nursery, NAMES)
        made.found(dict.fromkeys(NAMES, made.port))
        for name in NAMES:
            policy = made.home(name) / "policy.toml"
            policy.write_text(policy.read_text().replace("detectors = []", f"detectors = {json.dumps(ALLOWED)}"))
        made.start_nodes()
        made.live()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def nodes(realm):
    with ExitStack() as stack:
        yield {name: stack.enter_context(running_node(Home(realm.home(name)))) for name in ("north", "west")}


@pytest.fixture(scope="module")
def pooled(realm):
    return realm.pooled()


@pytest.mark.parametrize("name", ALLOWED)
def test_services_train_every_detector_by_name_as_fit_does_on_all_rows_together(realm, nodes, pooled, name):
    rows, labels = pooled
    params = SHORT.get(name, {})

    job = nodes["north"].train("readings", name, model=name, params=params)
    job.wait(TIMEOUT_S)

    ended = job.told()
    whole = from_params(name, params).fit(rows, labels)
    for node, client in nodes.items():
        realm.kept(node, job.id)
        assert client.model(name).state.to_bytes() == whole.state_.to_bytes()
    told = forecast(whole, rows=len(rows), features=4, members=3, threshold=2, like=rows)
    assert ended["ready"] == list(NAMES)
    assert len(ended["rounds"]) <= told.most_rounds
    if not whole.learns_from_labels:  # those of a forecast are made up
        assert len(ended["rounds"]) == told.rounds
        assert ended["sent_bytes"] == pytest.approx(2 * told.message_bytes, rel=0.2)


def test_a_detector_of_another_package_that_no_policy_names_is_refused(nodes):
    with pytest.raises(FedAnomalyError, match="of another package") as caught:
        nodes["north"].train("readings", "careless")

    assert 'add "careless" to detectors in policy.toml' in (caught.value.hint or "")
