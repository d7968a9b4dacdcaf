"""The service as a process: signals, kill -9, and what the command line makes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from fedanomaly.errors import ConfigError, FedAnomalyError, UnauthenticatedError
from fedanomaly.scoring.config import load_config
from fedanomaly.scoring.home import add_tenant
from fedanomaly.transport import Patience
from tests.unit.coordinator.conftest import Identity, until
from tests.unit.scoring.conftest import FEDERATION, MODEL, batch_id, home_in, readings

PERSISTENT = Patience(attempts=1000, connect_timeout_s=5, io_timeout_s=20, retry_for_s=60)


@contextmanager
def process(service):
    """Run the service as its own process; yields it and its log."""
    log = service.home.folder.parent / "log"
    with log.open("ab") as file:
        ran = subprocess.Popen(
            [sys.executable, "-m", "fedanomaly", "scoring", "run", service.home.folder], stderr=file, stdout=file
        )
    try:
        yield ran, lambda: [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    finally:
        ran.kill()
        ran.wait(20)


def listening(lines, times=1):
    until(lambda: [line["event"] for line in lines()].count("listening") == times)


def test_killed_and_started_again_it_answers_the_same_client(service):
    service.release(MODEL)
    exchange, x = service.exchange(patience=PERSISTENT), readings(5)
    with process(service) as (ran, _):
        tenant = service.tenant(MODEL, exchange=exchange)
        batch, key = tenant.encrypt(x)
        assert abs(key.decrypt(exchange.answer(MODEL.digest, batch, batch_id())) - MODEL.evaluate(x)).max() < 0.01
        ran.kill()
        ran.wait(20)
    with process(service):
        batch, key = tenant.encrypt(x)  # the constants are the same after a restart: they follow from names
        assert abs(key.decrypt(exchange.answer(MODEL.digest, batch, batch_id())) - MODEL.evaluate(x)).max() < 0.01


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly(service, how):
    with process(service) as (ran, lines):
        listening(lines)
        ran.send_signal(how)
        assert ran.wait(20) == 0
        assert lines()[-1]["event"] == "stopping"


def test_at_sighup_it_takes_tenants_and_keeps_the_old_settings_when_the_new_are_wrong(service):
    west = Identity()
    with process(service) as (ran, lines):
        listening(lines)
        exchange = service.exchange(west)
        with pytest.raises(UnauthenticatedError):
            exchange.models()
        add_tenant(service.home.folder, "west", west.public_key.hex())
        ran.send_signal(signal.SIGHUP)
        until(lambda: lines()[-1]["event"] == "reloaded")
        assert exchange.models() == []
        service.home.config_path.write_text("federation = 1")
        ran.send_signal(signal.SIGHUP)
        until(lambda: lines()[-1]["event"] == "settings-kept")
        assert exchange.models() == []


def test_a_release_that_does_not_verify_keeps_nothing_else_from_being_served(service):
    service.release(MODEL)
    (service.home.models_path / "bad.release").write_bytes(b"half of a release")
    with process(service) as (_, lines):
        listening(lines)
        assert [view.digest for view in service.exchange().models()] == [MODEL.digest.hex()]
        assert "bad.release" in {line.get("file") for line in lines() if line["event"] == "release-refused"}


def test_two_on_one_port_is_told(service):
    with process(service) as (_, lines):
        listening(lines)
        ran = subprocess.run(
            [sys.executable, "-m", "fedanomaly", "scoring", "run", service.home.folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert "FA100" in ran.stderr
    assert "listen_port" in ran.stderr


def command(*arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "fedanomaly", "scoring", *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stdout


def test_the_commands_make_a_home_that_can_be_read(tmp_path):
    home, key, releaser = tmp_path / "home", Identity().public_key.hex(), Identity().public_key.hex()
    made = json.loads(command(
        "init", home, "--federation", FEDERATION.hex(), "--releaser", releaser, "--listen", "127.0.0.1:7431", "--json"
    ))  # fmt: skip
    assert made == {"home": str(home), "federation": FEDERATION.hex(), "url": "http://127.0.0.1:7431"}
    command("add-tenant", home, "North Bank", key)
    assert json.loads(command("tenants", home, "--json")) == [{"name": "North Bank", "key": key}]
    config = load_config(home / "scoring.toml")
    assert config.tenant_names == {bytes.fromhex(key): "North Bank"}
    assert config.releasers == (releaser,)


@pytest.mark.parametrize("settings", [
    {"federation": "zz"}, {"listen_port": 0}, {"listen_host": "192.0.2.1"}, {"tls_certificate": "x.pem"},
    {"releasers": ("no key",)}, {"max_in_flight_batches": 0}, {"max_batch_mib": 0}, {"threads": -1},
    {"tenants": {"": "0" * 64}}, {"tenants": {"a": "0" * 64, "b": "0" * 64}}, {"tenants": {"a": "0" * 63}},
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(settings):
    from fedanomaly.scoring.config import ScoringConfig

    with pytest.raises(ConfigError):
        ScoringConfig(**{"federation": FEDERATION.hex(), **settings})


def test_a_home_is_made_once_and_a_tenant_added_once(tmp_path):
    with home_in(tmp_path) as service:
        with pytest.raises(ConfigError):
            add_tenant(service.home.folder, "north", Identity().public_key.hex())
        with pytest.raises(ConfigError):
            add_tenant(service.home.folder, "east", service.north.public_key.hex())
        with pytest.raises(FedAnomalyError), home_in(tmp_path):
            pass


@pytest.mark.parametrize("text", ["", "x =", "federation = 5", f'federation = "{"0" * 64}"\nunknown = 1'])
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text):
    (tmp_path / "scoring.toml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "scoring.toml")
