"""What an operator uses on day one, against real processes: doctor, metrics, health, logs, backup and restore."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.cli.demo.processes import Services, free_port
from fedanomaly.cli.running import running_node
from fedanomaly.coordinator import read_status
from fedanomaly.errors import DivergedError
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.home import Home
from fedanomaly.node.sources import FileSource
from tests.e2e.test_processes import NAMES, TIMEOUT_S, Organisations, secrets_of, table_of, until


class Loud(Services):
    """Services that log everything, and whose coordinator has a port for metrics."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.metrics_port = free_port()

    def start(self, name, home, *arguments):
        for file in (home / "coordinator.toml", home / "node.toml"):
            if file.exists():
                text = file.read_text().replace('log_level = "info"', 'log_level = "debug"')
                text = text.replace("metrics_port = 0", f"metrics_port = {self.metrics_port}")
                file.write_text(text.replace('log_format = "text"', 'log_format = "json"'))
        return super().start(name, home, *arguments)


def founded(folder):
    services = Loud(folder)
    services.__enter__()
    return Organisations(folder, services)


def ended(made):
    for client in made.clients.values():
        client.close()
    made.relay.close()
    made.services.stop()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A federation after one job; tests leave it as it is, or running again."""
    made = founded(tmp_path_factory.mktemp("operator"))
    try:
        made.clients["north"].train("readings", "mahalanobis", model="first").wait(TIMEOUT_S)
        yield made
    finally:
        ended(made)


@pytest.fixture
def organisations(tmp_path):
    made = founded(tmp_path)
    try:
        yield made
    finally:
        ended(made)


def fedanomaly(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedanomaly", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def doctor(made, *homes):
    ran = fedanomaly("doctor", *homes, "--json", "--passphrase-file", made.services.passphrase_file)
    return ran.returncode, {(line["level"], line["name"]): line["found"] for line in json.loads(ran.stdout)}


def stop(made, name):
    service = next(service for service in made.services.running if service.name == name)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0
    made.services.running.remove(service)


def start_coordinator(made):
    made.services.start("coordinator", made.coordinator, "coordinator", "run", "--home", str(made.coordinator))
    until(made._reachable, made.services)


def node_metrics(made, name):
    home = Home(made.folder / name)
    return httpx2.get(
        f"{home.address}/metrics", headers={"authorization": f"Bearer {home.token}"}, trust_env=False
    ).text


def value_of(text, series):
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{series} "))


def test_the_doctor_finds_nothing_to_do_while_everything_runs(trained):
    code, lines = doctor(trained, trained.folder / "north", trained.coordinator)

    assert code == 0, lines
    assert not [name for level, name in lines if level == "fail"]
    checked = {name for level, name in lines if level == "ok"}
    assert checked >= {
        "versions", "home", "keystore.json", "token", "disk", "settings", "ledger", "keystore", "ledger rows",
        "data sets", "service", "enrolment", "name", "connection", "HTTP", "clock", "coordinator", "log", "identity",
        "key epoch", "quota", "epoch secrets", "coordinator.key", "settings and key", "database", "attachments",
        "last entry", "members",
    }  # fmt: skip


def test_both_services_tell_prometheus_what_the_log_says(trained):
    text = httpx2.get(f"http://127.0.0.1:{trained.services.metrics_port}/metrics", trust_env=False).text
    rounds = sum(len(job.rounds) for job in read_status(trained.coordinator).jobs)  # of the self-test as well

    assert value_of(text, 'fedanomaly_rounds_total{outcome="accepted"}') == rounds
    assert value_of(text, 'fedanomaly_jobs_total{outcome="accepted"}') == 2
    assert value_of(text, "fedanomaly_round_seconds_count") == rounds
    assert value_of(text, "fedanomaly_members") == 3
    assert value_of(text, "fedanomaly_epoch_live") == 1
    assert 0 < value_of(text, "fedanomaly_epoch_quota_used_ratio") < 1
    assert value_of(text, "fedanomaly_received_bytes_total") > 10_000
    assert value_of(text, "fedanomaly_blob_store_bytes") > 10_000
    own = node_metrics(trained, "north")
    assert value_of(own, "fedanomaly_node_connected") == 1
    assert value_of(own, 'fedanomaly_node_sent_total{kind="contribution"}') == rounds
    assert value_of(own, 'fedanomaly_node_jobs{state="accepted"}') == 1
    assert value_of(own, 'fedanomaly_node_epoch_state{state="live"}') == 1
    for name in NAMES:
        assert f'"{name}"' not in text


def test_a_supervisor_needs_no_token_for_health_and_everybody_else_does(trained):
    address = Home(trained.folder / "north").address

    for path in ("/healthz", "/healthz/live", "/healthz/ready"):
        assert httpx2.get(address + path, trust_env=False).status_code == 200
    for path in ("/metrics", "/v1/status", "/healthz/other"):
        assert httpx2.get(address + path, trust_env=False).status_code == 401


def test_one_line_says_that_the_coordinator_is_away_and_one_that_it_is_back(trained):
    log = trained.folder / "south.log"
    before = value_of(node_metrics(trained, "south"), "fedanomaly_node_retries_total")
    told = log.read_text().count("coordinator-reached")
    stop(trained, "coordinator")
    address = Home(trained.folder / "south").address
    until(lambda: httpx2.get(f"{address}/healthz/ready", trust_env=False).status_code == 503, trained.services)
    # Each look at a coordinator that is away is tried twice.
    until(
        lambda: value_of(node_metrics(trained, "south"), "fedanomaly_node_retries_total") >= before + 3,
        trained.services,
    )
    start_coordinator(trained)
    until(lambda: log.read_text().count("coordinator-reached") > told, trained.services)

    events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]
    assert events.count("coordinator-unreachable") == 1
    assert events.count("coordinator-reached") == told + 1
    assert not [event for event in events if event.startswith("stamina")]


def test_no_log_at_debug_level_holds_a_secret_or_a_plaintext(trained):
    home = Home(trained.folder / "north")
    # What goes wrong is logged as well: bad tokens, bad requests, and rows that do not fit.
    httpx2.get(f"{home.address}/v1/status", headers={"authorization": "Bearer wrong"}, trust_env=False)
    httpx2.post(f"http://127.0.0.1:{trained.relay.port}/v1/envelopes", content=b"x" * 100, trust_env=False)
    rows = io.BytesIO()
    with pa.ipc.new_stream(rows, trained.tables["north"].rename_columns(list("abcd")).schema) as out:
        out.write_table(trained.tables["north"].rename_columns(list("abcd")))
    bearer = {"authorization": f"Bearer {home.token}"}
    unfit = httpx2.post(
        f"{home.address}/v1/models/first/score", content=rows.getvalue(), headers=bearer, trust_env=False
    )
    assert unfit.status_code == 422

    logs = b"".join(path.read_bytes() for path in sorted(trained.folder.glob("*.log")))
    needles = secrets_of(trained)

    assert len(needles) > 200
    assert b'"level": "debug"' in logs
    assert [what for what, needle in needles.items() if needle in logs or needle.hex().encode() in logs] == []
    events = {json.loads(line)["event"] for line in logs.decode().splitlines() if line.startswith("{")}
    assert {"listening", "appended", "request", "node-started", "sent", "contribution", "model-kept"} <= events


def test_members_refuse_an_older_backup_of_the_coordinator_and_go_on_with_a_newer_one(organisations):
    made, client = organisations, organisations.clients["north"]
    assert fedanomaly("coordinator", "backup", made.folder / "old", "--home", made.coordinator).returncode == 0
    client.train("readings", "mahalanobis", model="first").wait(TIMEOUT_S)
    until(lambda: all(made.clients[name].models() for name in NAMES), made.services)
    assert fedanomaly("coordinator", "backup", made.folder / "new", "--home", made.coordinator).returncode == 0

    stop(made, "coordinator")
    made.coordinator.rename(made.folder / "lost")
    assert fedanomaly("coordinator", "restore", made.folder / "old", "--home", made.coordinator).returncode == 0
    start_coordinator(made)
    until(lambda: all("FA405" in (made.status(name)["trouble"] or "") for name in NAMES), made.services)
    with pytest.raises(DivergedError):
        client.train("readings", "mahalanobis", model="second")
    code, lines = doctor(made, made.folder / "north")
    assert code == 1
    assert lines["fail", "log"].startswith("FA405")
    head = made.status("north")["head"]

    stop(made, "coordinator")
    shutil.rmtree(made.coordinator)
    assert fedanomaly("coordinator", "restore", made.folder / "new", "--home", made.coordinator).returncode == 0
    start_coordinator(made)
    until(lambda: all(made.status(name)["connected"] for name in NAMES), made.services)
    assert made.status("north")["head"] == head
    client.train("readings", "mahalanobis", model="second").wait(TIMEOUT_S)
    until(lambda: len(client.models()) == 2, made.services)


def test_a_restored_node_takes_part_again_with_new_keys_and_new_rows_and_not_before(organisations):
    made, client = organisations, organisations.clients["north"]
    client.train("readings", "mahalanobis", model="first").wait(TIMEOUT_S)
    until(lambda: made.clients["west"].models() != [], made.services)
    root = made.folder / "west"
    assert fedanomaly("node", "backup", made.folder / "west.backup", "--home", root).returncode == 0
    secret = ("--passphrase-file", made.services.passphrase_file)
    stop(made, "west")
    root.rename(made.folder / "lost")
    assert fedanomaly("node", "restore", made.folder / "west.backup", "--home", root, *secret).returncode == 0
    arguments = ("node", "run", "--home", str(root), *map(str, secret))
    made.services.start("west", root, *arguments)
    home = Home(root)
    until(lambda: home.address is not None, made.services)
    made.clients["west"].close()
    made.clients["west"] = running_node(home)
    until(lambda: made.status("west")["connected"], made.services)

    assert [model["name"] for model in made.clients["west"].models()] == ["first"]
    assert made.status("west")["held_back"] == ["readings"]
    code, lines = doctor(made, root)
    assert code == 1
    assert {name for level, name in lines if level == "fail"} == {"data sets", "epoch secrets"}
    refused = client.train("readings", "mahalanobis", model="refused")
    until(lambda: client.job(refused.id).told()["state"] == "void", made.services)
    assert "west" in client.job(refused.id).told()["declined"]

    for index, name in enumerate(NAMES):
        add_rows(made, name, seed=index + 3)
    assert made.status("west")["epoch"] == 1
    stop(made, "coordinator")
    made.services.run("coordinator", "new-epoch", "--home", str(made.coordinator))
    start_coordinator(made)
    until(lambda: all(made.status(name)["epoch"] == 2 for name in NAMES), made.services)
    until(lambda: all(made.status(name)["epoch_state"] == "live" for name in NAMES), made.services)
    job = client.train("readings", "mahalanobis", model="again").wait(TIMEOUT_S)
    assert set(job.told()["rounds"][-1]["contributed"]) == set(NAMES)
    assert made.status("west")["held_back"] == []


def add_rows(made, name, seed):
    home = Home(made.folder / name)
    file = made.folder / f"{name}.parquet"
    pq.write_table(table_of(seed), file)
    plan = Plan(schema=made.schema, holdout=FileSource(file), holdout_fraction=0.0)
    Datasets(home.root / "data", home.unlock(made.passphrase)).add("readings", FileSource(file), plan)
