"""A doctor says what keeps a scoring service from serving."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fedanomaly.coordinator.certificates import SERVER, create
from fedanomaly.scoring.doctor import examine
from fedanomaly.scoring.home import Home
from tests.unit.coordinator.conftest import Identity
from tests.unit.scoring.conftest import MODEL, circuit, home_in
from tests.unit.scoring.test_process import listening, process


def found(service):
    return {check.name: (check.level, check.found) for check in examine(Home(service.home.folder))}


def failing(service):
    return {name for name, (level, _) in found(service).items() if level == "fail"}


def test_while_it_serves_there_is_nothing_to_do(standing):
    lines = found(standing)

    assert failing(standing) == set()
    assert lines["HTTP"][0] == "ok"
    assert lines["tenants"] == ("ok", "north, south")
    assert lines["release payments-1.release"] == ("ok", "payments version 1: quadratic, 3 features")


def test_a_service_that_does_not_run_is_found(service):
    assert failing(service) == {"connection"}
    assert found(service)["models"] == ("ok", "none is released; tenants may upload theirs")


def test_a_home_without_tenants_and_models_is_of_no_use(tmp_path):
    with home_in(tmp_path, max_uploads_per_tenant=0) as service:
        path = service.home.config_path
        path.write_text(path.read_text().partition("[tenants]")[0])
        lines = found(service)
    assert lines["tenants"] == ("warn", "nobody may ask")
    assert lines["models"][0] == "warn"


def test_each_release_that_is_not_served_is_found(service):
    service.release(MODEL, "good")
    service.release(MODEL, "unsigned", signers=[Identity()])
    service.release(MODEL, "elsewhere", federation=bytes(32))
    service.release(circuit(features=2_000), "large")
    (service.home.models_path / "half.release").write_bytes(b"x")

    lines = found(service)

    assert lines["release good-1.release"][0] == "ok"
    refused = {name: said[:5] for name, (level, said) in lines.items() if level == "fail"}
    del refused["connection"]
    assert refused == {
        "release unsigned-1.release": "FA406",
        "release elsewhere-1.release": "FA406",
        "release large-1.release": "FA303",
        "release half.release": "FA301",
    }


@pytest.mark.parametrize("text", ["federation = 1", "colour = 'red'", "\0"])
def test_settings_that_cannot_be_are_found(service, text):
    service.home.config_path.write_text(text)

    assert failing(service) == {"settings"}


def test_a_service_with_tls_shows_the_certificate_of_its_settings(tmp_path):
    with home_in(tmp_path, tls_certificate=SERVER, tls_key=SERVER) as service:
        folder = service.home.folder
        create(folder, ("scoring.example",))  # the doctor calls it by its address
        with process(service) as (_, lines):
            listening(lines)
            assert failing(service) == set()
            assert found(service)["HTTP"][0] == "ok"
            (folder / SERVER).unlink()
            create(tmp_path, ("scoring.example",))
            (tmp_path / SERVER).rename(folder / SERVER)
            assert failing(service) == {"TLS"}
            (folder / SERVER).chmod(0o604)
            assert failing(service) == {"TLS", "TLS key"}
        (folder / SERVER).unlink()
        assert "certificate" in failing(service)


def doctor(home):
    command = [sys.executable, "-m", "fedanomaly", "doctor", home, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.returncode, {line["name"] for line in json.loads(ran.stdout)}


def test_the_command_knows_a_scoring_home(service):
    with process(service) as (_, lines):
        listening(lines)
        code, names = doctor(service.home.folder)
    assert code == 0
    assert {"settings", "processor", "tenants", "connection", "HTTP"} <= names
    assert doctor(service.home.folder)[0] == 1  # it has ended
