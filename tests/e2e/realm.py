"""A whole federation of real processes that may be killed at any time, and what must hold of it afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fedanomaly.cli.demo.processes import free_port
from fedanomaly.cli.running import running_node
from fedanomaly.client import Client
from fedanomaly.coordinator import CoordinatorConfig, create_invitation, init_home
from fedanomaly.errors import FedAnomalyError, UnavailableError
from fedanomaly.features import infer_schema
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.enrolment import enrol
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Cost
from fedanomaly.node.sources import FileSource
from tests.e2e.nursery import Nursery

PASSPHRASE = "correct horse battery staple"
CHEAP = Cost(memory_kib=19_456, iterations=2, lanes=1)
TIMEOUT_S = 120.0
POLL_S = 0.25
FINAL = ("accepted", "rejected", "void")
T = TypeVar("T")


def table_of(seed: int, rows: int = 120) -> pa.Table:
    """Return readings that differ from seed to seed, all within one schema."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=(rows, 3)) * [1.0, 250.0, 3.5]
    values[0], values[1] = [0.0, 0.0, 0.0], [1.0, 250.0, 3.5]
    return pa.table({f"reading_{column}": values[:, column] for column in range(3)})


def until(condition: Callable[[], object], what: str = "", timeout_s: float = TIMEOUT_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(POLL_S)


class Realm:
    """A coordinator and its nodes, each a process of its own.

    Parameters
    ----------
    nursery : Nursery
        Starts and restarts the processes.
    names : sequence of str
        The organisations.
    homes : mapping of str to Path
        Homes that lie elsewhere than in the nursery's folder.
    settings : int or float
        Deadlines and attempts of the coordinator.
    """

    def __init__(
        self, nursery: Nursery, names: Sequence[str], homes: Mapping[str, Path] | None = None, **settings: float
    ) -> None:
        self.nursery, self.names = nursery, tuple(names)
        self._homes = dict(homes or {})
        self.port = free_port()
        self.passphrase_file = nursery.folder / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE)
        self.passphrase_file.chmod(0o600)
        self._settings = settings
        self.schema = infer_schema(table_of(0)).schema
        self.points: dict[str, Sequence[str]] = {}

    def home(self, name: str) -> Path:
        """Return the home of a service."""
        return self._homes.get(name, self.nursery.folder / name)

    def found(self, ports: Mapping[str, int]) -> None:
        """Make all homes; each node reaches the coordinator at its own port."""
        config: dict[str, Any] = {"name": "realm", "members": len(self.names), "listen_port": self.port}
        init_home(self.home("coordinator"), CoordinatorConfig(**config, **self._settings))
        self.start("coordinator")
        for index, name in enumerate(self.names):
            self._enrol(name, index, f"http://127.0.0.1:{ports[name]}")

    def _enrol(self, name: str, index: int, url: str) -> None:
        home = Home.create(self.home(name), PASSPHRASE, cost=CHEAP)
        keystore = home.unlock(PASSPHRASE)
        invitation = replace(create_invitation(self.home("coordinator"), name, ttl_s=3600), url=url)
        self._retry(lambda: enrol(home, keystore, invitation))
        self.add(name, "readings", seed=index)

    def add(self, name: str, dataset: str, *, seed: int, rows: int = 120) -> None:
        """Give an organisation a data set, or new rows of one."""
        keystore = Home(self.home(name)).unlock(PASSPHRASE)
        file = self.nursery.folder / f"{name}.parquet"
        pq.write_table(table_of(seed, rows), file)
        plan = Plan(schema=self.schema, holdout=FileSource(file), holdout_fraction=0.0)
        Datasets(self.home(name) / "data", keystore).add(dataset, FileSource(file), plan)

    def start(self, name: str) -> None:
        """Start a service, and wait for nothing."""
        home, points = str(self.home(name)), self.points.get(name, ())
        if name == "coordinator":
            self.nursery.start(name, "coordinator", "coordinator", "run", "--home", home, points=points)
        else:
            secret = ("--passphrase-file", str(self.passphrase_file))
            self.nursery.start(name, "node", "node", "run", "--home", home, *secret, points=points)

    def start_nodes(self) -> None:
        """Start every node."""
        for name in self.names:
            self.start(name)

    def ask(self, name: str, question: Callable[[Client], T], timeout_s: float = TIMEOUT_S) -> T:
        """Put a question to a node, however often it dies meanwhile."""

        def put() -> T:
            with running_node(Home(self.home(name))) as client:
                return question(client)

        return self._retry(put, timeout_s)

    def live(self, epoch: int = 1) -> None:
        """Wait until a key epoch has passed its self-test at every node."""

        def at(name: str) -> bool:
            status = self.ask(name, Client.status)
            return (status["epoch"], status["epoch_state"]) == (epoch, "live")

        until(lambda: all(at(name) for name in self.names), "the key epoch does not come to life")

    def train(self, name: str, *, dataset: str = "readings", model: str = "readings") -> str:
        """Ask for a job and return its id."""
        return self.ask(name, lambda client: client.train(dataset, "mahalanobis", model=model).id)

    def told(self, name: str, job: str) -> dict[str, Any]:
        """Return what a node tells about a job."""
        return self.ask(name, lambda client: client.job(job).told())

    def ended(self, name: str, job: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Wait until a job has ended, and return what a node tells about it."""
        until(lambda: self.told(name, job)["state"] in FINAL, f"job {job[:8]} does not end", timeout_s)
        told = self.told(name, job)
        assert told["state"] == "accepted" or told["reason"]
        return told

    def kept(self, name: str, job: str) -> None:
        """Wait until a node keeps the model of a job."""
        until(lambda: any(job in path.name for path in (self.home(name) / "models").rglob("*.model")), "no model")

    def new_epoch(self) -> None:
        """Stop the coordinator, call for new keys, start it."""
        from fedanomaly.cli.demo.processes import Services

        self.nursery.stop("coordinator")
        with Services(self.nursery.folder) as services:
            services.run("coordinator", "new-epoch", "--home", str(self.home("coordinator")))
        self.start("coordinator")

    def stop(self) -> None:
        """Stop every process in good order."""
        for name in list(self.nursery.pids):
            self.nursery.stop(name)

    def _retry(self, question: Callable[[], T], timeout_s: float = TIMEOUT_S) -> T:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return question()
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
            except FedAnomalyError:
                raise
            time.sleep(POLL_S)
