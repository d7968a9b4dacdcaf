"""A real federation on this machine: a coordinator, two nodes in threads, one with its loopback API."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog
import uvicorn

from fedanomaly.client import Client
from fedanomaly.coordinator import CoordinatorConfig, create_app, create_invitation, init_home
from fedanomaly.coordinator.server import Server
from fedanomaly.features import Column, Schema
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.enrolment import enrol
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Cost, Keystore
from fedanomaly.node.run import run
from fedanomaly.node.service import NodeService
from fedanomaly.node.sources import FileSource

PASSPHRASE = "four words nobody said"
CHEAP = Cost(memory_kib=19_456, iterations=2, lanes=1)
SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric"),
        Column(name="age", kind="numeric"),
        Column(name="kind", kind="categorical", levels=("card", "sepa")),
    )
)
NAMES = ("north", "east", "south")


def until(condition, timeout_s: float = 90.0):
    """Wait for something that another thread does."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return value


def payments(seed: int, rows: int = 600) -> pa.Table:
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.03
    return pa.table(
        {
            "amount": rng.lognormal(size=rows) * (1 + 20 * fraud),
            "age": rng.normal(size=rows) + 4 * fraud,
            "kind": rng.choice(["card", "sepa"], rows),
            "note": [f"note {at}" for at in range(rows)],
            "fraud": fraud.astype(np.int64),
        }
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Federation:
    root: Path
    homes: list[Home] = field(default_factory=list)
    keystores: list[Keystore] = field(default_factory=list)
    services: list[NodeService] = field(default_factory=list)
    address: str = ""

    @property
    def home(self) -> Home:
        return self.homes[0]

    def client(self) -> Client:
        return Client(self.address, token=self.home.token)


@contextmanager
def coordinator(root: Path) -> Iterator[None]:
    # What its thread says must not end up in what a test captures.
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    app = create_app(root / "coordinator")
    port = app.state.home.config.listen_port
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="on")
    server = Server(config, app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield
    finally:
        server.should_exit = True
        thread.join(20)
        structlog.configure(**before)


def founded(root: Path) -> None:
    config = CoordinatorConfig(name="test", members=3, threshold=2, listen_port=free_port(), join_s=20.0)
    init_home(root / "coordinator", config)


def joined(root: Path, name: str, seed: int) -> tuple[Home, Keystore]:
    home = Home.create(root / name, PASSPHRASE, cost=CHEAP)
    settings = home.root / "node.toml"
    settings.write_text(settings.read_text().replace("api_port = 7420", "api_port = 0"))
    keystore = home.unlock(PASSPHRASE)
    enrol(home, keystore, create_invitation(root / "coordinator", name))
    pq.write_table(payments(seed), root / f"{name}.parquet")
    datasets = Datasets(home.root / "data", keystore)
    datasets.add("payments", FileSource(root / f"{name}.parquet"), Plan(schema=SCHEMA, label="fraud"))
    return home, keystore


@contextmanager
def serving(home: Home, keystore: Keystore) -> Iterator[str]:
    addresses: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(home, keystore), kwargs={"ready": addresses.append, "stop": stop})
    thread.start()
    try:
        until(lambda: addresses or not thread.is_alive())
        assert addresses
        yield addresses[0]
    finally:
        stop.set()
        thread.join(30)


@contextmanager
def started(root: Path) -> Iterator[Federation]:
    founded(root)
    with ExitStack() as stack:
        stack.enter_context(coordinator(root))
        found = Federation(root)
        for seed, name in enumerate(NAMES):
            home, keystore = joined(root, name, seed)
            found.homes.append(home)
            found.keystores.append(keystore)
        found.address = stack.enter_context(serving(found.homes[0], found.keystores[0]))
        for home, keystore in zip(found.homes[1:], found.keystores[1:], strict=True):
            service = NodeService(home, keystore)
            service.start()
            stack.callback(service.stop)
            found.services.append(service)
        until(lambda: found.services[0].status.epoch_state == "live")
        yield found


_running: list[Federation] = []


@pytest.fixture(scope="session")
def federation(tmp_path_factory):
    """The one federation of this test process; whoever asks first starts it."""
    if _running:
        yield _running[0]
        return
    with started(tmp_path_factory.mktemp("federation")) as found:
        _running.append(found)
        yield found
        _running.clear()


@pytest.fixture(scope="session")
def trained(federation):
    """The same, after one job."""
    with federation.client() as node:
        if not any(model["name"] == "payments" for model in node.models()):
            node.train("payments", "mahalanobis").wait(120)
    return federation
