"""Coordinator and organisations as real processes: nothing shared but HTTP, nothing private in it."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.cli.demo.processes import Services, free_port
from fedanomaly.cli.running import running_node
from fedanomaly.client import Client
from fedanomaly.coordinator import CoordinatorConfig, create_invitation, init_home
from fedanomaly.detectors import Mahalanobis
from fedanomaly.features import encode, infer_schema
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.enrolment import enrol
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Cost
from fedanomaly.node.sources import FileSource
from fedanomaly.types import Quantiser
from tests.e2e.relay import Relay

NAMES = ("north", "south", "west")
TIMEOUT_S = 120.0


def table_of(seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(150 + 40 * seed, 4)) * [1.0, 250.0, 3.5, 1e-3] + [5.0, 1200.0, 0.0, 7.0]
    return pa.table({f"reading_{column}": rows[:, column] for column in range(4)})


def until(condition, services: Services) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        services.check()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


class Organisations:
    """Three nodes and a coordinator behind a recording relay."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.folder, self.services = folder, services
        port = free_port()
        self.relay = Relay(port)
        self.coordinator = folder / "coordinator"
        init_home(
            self.coordinator,
            CoordinatorConfig(
                name="e2e", members=3, threshold=2, listen_port=port, url=f"http://127.0.0.1:{self.relay.port}"
            ),
        )
        services.start("coordinator", self.coordinator, "coordinator", "run", "--home", str(self.coordinator))
        self.passphrase = services.passphrase_file.read_text()
        self.tables = {name: table_of(index) for index, name in enumerate(NAMES)}
        self.schema = infer_schema(pa.concat_tables(self.tables.values())).schema
        self.clients: dict[str, Client] = {}
        self.processes = {}
        for name in NAMES:
            self._make(name)
        until(lambda: all(self.status(name).get("epoch_state") == "live" for name in NAMES), services)

    def _make(self, name: str) -> None:
        root = self.folder / name
        home = Home.create(root, self.passphrase, cost=Cost(memory_kib=19_456, iterations=2, lanes=1))
        keystore = home.unlock(self.passphrase)
        invitation = create_invitation(self.coordinator, name, ttl_s=600)
        until(self._reachable, self.services)
        enrol(home, keystore, invitation)
        file = self.folder / f"{name}.parquet"
        pq.write_table(self.tables[name], file)
        Datasets(root / "data", keystore).add(
            "readings", FileSource(file), Plan(schema=self.schema, holdout=FileSource(file), holdout_fraction=0.0)
        )
        file.unlink()
        arguments = ("node", "run", "--home", str(root), "--passphrase-file", str(self.services.passphrase_file))
        self.processes[name] = self.services.start(name, root, *arguments)
        until(lambda: home.address is not None, self.services)
        self.clients[name] = running_node(home)

    def _reachable(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.relay._target)) == 0

    def status(self, name: str) -> dict:
        return self.clients[name].status()


@pytest.fixture
def organisations(tmp_path):
    services = Services(tmp_path)
    with services:
        made = Organisations(tmp_path, services)
        try:
            yield made
        finally:
            for client in made.clients.values():
                client.close()
            made.relay.close()


def secrets_of(organisations: Organisations) -> dict[str, bytes]:
    """Every key and plaintext statistic that must stay at home, by what it is."""
    needles = {"passphrase": organisations.passphrase.encode()}
    rows = {}
    for name in NAMES:
        home = Home(organisations.folder / name)
        keystore = home.unlock(organisations.passphrase)
        needles[f"{name} identity seed"] = keystore._identity.private_bytes_raw()
        needles[f"{name} data key"] = keystore._data_key
        needles[f"{name} ledger key"] = keystore.key_for("ledger")
        needles[f"{name} token"] = home.token.encode()
        rows[name] = encode(organisations.schema, organisations.tables[name])
        needles[f"{name} row"] = rows[name][3].tobytes()
    detector = Mahalanobis()
    state = detector.initial_state(organisations.schema.n_features)
    while (step := detector.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=3)
        parts = {name: quantiser.quantise(detector.local(step, rows[name], state)) for name in NAMES}
        sums = np.sum(list(parts.values()), axis=0, dtype=np.uint64)
        for owner, values in {**parts, "sum": sums}.items():
            for place, window in enumerate(windows(values)):
                needles[f"{owner} {step.name} {place}"] = window
        state = detector.merge(step, quantiser.total(sums, 3), state)
    needles["state"] = state.to_bytes()[-200:]
    return needles


def windows(values: np.ndarray) -> list[bytes]:
    """Runs of a vector that are too particular to turn up by chance, and big numbers as text."""
    raw = values.astype("<u8")
    runs = [raw[at : at + 4].tobytes() for at in range(len(raw) - 3) if len(set(raw[at : at + 4].tolist())) == 4]
    text = [str(int(value)).encode() for value in raw if value > 10**9]
    return [run for run in runs if len(run.strip(b"\0")) >= 12][:50] + text[:50]


def test_the_coordinators_home_and_traffic_hold_no_key_and_no_plaintext_statistic(organisations):
    job = organisations.clients["north"].train("readings", "mahalanobis", model="plain")
    job.wait(TIMEOUT_S)
    for name in NAMES:
        until(lambda name=name: organisations.clients[name].models() != [], organisations.services)
    organisations.services.stop()
    seen = b"".join(path.read_bytes() for path in sorted(organisations.coordinator.rglob("*")) if path.is_file())
    seen += organisations.relay.traffic()
    identity = Home(organisations.folder / "north").unlock(organisations.passphrase).public_key
    assert identity in seen
    assert b"mahalanobis" in seen
    assert len(seen) > 1_000_000
    needles = secrets_of(organisations)
    assert len(needles) > 200
    found = [what for what, needle in needles.items() if needle in seen]
    assert found == []


def test_homes_share_nothing_and_a_killed_member_is_named_by_the_others(organisations):
    files = {name: {path for path in (organisations.folder / name).rglob("*") if path.is_file()} for name in NAMES}
    assert all(path.stat().st_nlink == 1 and not path.is_symlink() for paths in files.values() for path in paths)
    killed = organisations.processes["west"].process
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    organisations.services.running = [
        service for service in organisations.services.running if service.process is not killed
    ]
    organisations.clients["north"].train("readings", "mahalanobis")
    for name in ("north", "south"):
        log = organisations.folder / f"{name}.log"
        until(
            lambda log=log: "waiting" in log.read_text() and "west" in log.read_text().split("waiting")[-1],
            organisations.services,
        )
    root = organisations.folder / "west"
    arguments = ("node", "run", "--home", str(root), "--passphrase-file", str(organisations.services.passphrase_file))
    organisations.services.start("west", root, *arguments)
    until(lambda: organisations.clients["north"].models() != [], organisations.services)
    assert [model["name"] for model in organisations.clients["north"].models()] == ["readings"]


def test_a_new_key_epoch_replaces_the_old_one_and_training_goes_on(organisations):
    services, client = organisations.services, organisations.clients["north"]
    client.train("readings", "mahalanobis", model="first").wait(TIMEOUT_S)
    old = {name: set((organisations.folder / name / "epochs").iterdir()) for name in NAMES}
    serving = next(service for service in services.running if service.name == "coordinator")
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(30) == 0
    services.running.remove(serving)
    services.run("coordinator", "new-epoch", "--home", str(organisations.coordinator))
    services.start(
        "coordinator", organisations.coordinator, "coordinator", "run", "--home", str(organisations.coordinator)
    )
    until(lambda: all(organisations.status(name)["epoch"] == 2 for name in NAMES), services)
    until(lambda: all(organisations.status(name)["epoch_state"] == "live" for name in NAMES), services)
    client.train("readings", "mahalanobis", model="second").wait(TIMEOUT_S)
    for name in NAMES:
        until(lambda name=name: not old[name] & set((organisations.folder / name / "epochs").iterdir()), services)
    assert {model["name"] for model in client.models()} == {"first", "second"}
