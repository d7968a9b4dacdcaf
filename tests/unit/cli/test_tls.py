"""TLS by commands alone: from an empty folder to a node that trusts its coordinator."""

import json
import ssl

import pytest

from fedanomaly.coordinator import Home as CoordinatorHome
from fedanomaly.coordinator.certificates import AUTHORITY, SERVER, create
from fedanomaly.node.home import Home
from tests.unit.node.federation import free_port, until


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def founded(fedanomaly, port):
    listen = ("--listen", f"127.0.0.1:{port}", "--home", "coordinator")
    return fedanomaly(
        "coordinator", "init", "--name", "test", "--members", 3, *listen, "--tls-name", "localhost"
    ).stdout


@pytest.fixture
def served(founded, start, port):
    with start("coordinator", "run", "--home", "coordinator") as running:
        until(lambda: '"listening"' in running.stderr.readline() or running.poll() is not None)
        yield
        running.terminate()
        running.communicate()
        assert running.returncode == 0


def test_the_certificate_is_for_the_host_that_nodes_call(fedanomaly, founded, tmp_path, port):
    assert f"https://localhost:{port}" in founded
    shown = json.loads(fedanomaly("coordinator", "tls", "show", "--home", "coordinator", "--json").stdout)
    assert shown["certificate"]["hosts"] == ["localhost"]
    assert shown["authority"]["sha256"] in founded

    options = ("--members", 3, "--url", "https://elsewhere.example", "--tls-name", "localhost", "--home", "other")
    said = fedanomaly("coordinator", "init", "--name", "test", *options, code=1).stderr
    assert said.startswith("error FA100: nodes are told to call elsewhere.example")
    assert "hint: add --tls-name elsewhere.example" in said
    assert not (tmp_path / "other").exists()


def test_an_invitation_is_all_that_a_node_needs(fedanomaly, served, tmp_path):
    line = fedanomaly("coordinator", "invite", "North", "--home", "coordinator").stdout
    authority = json.loads(fedanomaly("coordinator", "tls", "show", "--home", "coordinator", "--json").stdout)
    fedanomaly("node", "init", "--home", "north")
    told = fedanomaly("node", "enrol", line.strip(), "--home", "north").stdout
    assert authority["authority"]["sha256"] in told
    trusted = (tmp_path / "north" / "ca.pem").read_text()
    assert ssl.PEM_cert_to_DER_cert(trusted) == CoordinatorHome(tmp_path / "coordinator").authority


def test_a_wrong_authority_enrols_nobody_and_says_what_to_do(fedanomaly, served, tmp_path):
    create(tmp_path / "other", ["localhost"])
    line = fedanomaly("coordinator", "invite", "North", "--home", "coordinator").stdout.strip()
    fedanomaly("node", "init", "--home", "north")
    enrol = ("node", "enrol", line, "--home", "north")

    said = fedanomaly(*enrol, "--ca", tmp_path / "other" / AUTHORITY, code=1).stderr
    assert said.startswith("error FA501: nobody whom this node trusts vouches")
    assert "--ca" in said.split("hint:")[1]
    assert Home(tmp_path / "north").membership is None

    assert fedanomaly(*enrol, "--ca", "missing.pem", code=1).stderr.startswith("error FA100: no certificates")
    wrong = {"FEDANOMALY_NODE_CA": str(tmp_path / "other" / AUTHORITY)}
    assert fedanomaly(*enrol, code=1, **wrong).stderr.startswith("error FA501")  # the setting wins
    assert "enrolled as North" in fedanomaly(*enrol, "--ca", tmp_path / "coordinator" / AUTHORITY).stdout


def test_an_old_coordinator_gets_certificates_by_command(fedanomaly, tmp_path):
    plain = ("--name", "test", "--members", 3, "--home", "plain")
    fedanomaly("coordinator", "init", *plain)
    missing = fedanomaly("coordinator", "tls", "show", "--home", "plain", code=1).stderr
    assert missing.startswith("error FA404: this coordinator speaks plain HTTP")
    assert fedanomaly("coordinator", "tls", "renew", "--home", "plain", code=1).stderr.startswith("error FA100")

    told = fedanomaly("coordinator", "tls", "create", "coordinator.example", "--home", "plain").stdout
    settings = [line.strip() for line in told.splitlines() if " = " in line]
    file = tmp_path / "plain" / "coordinator.toml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith(("tls_", "url"))]
    file.write_text("\n".join([*kept, *settings]))
    assert CoordinatorHome(file.parent).config.origin == "https://coordinator.example:7400"
    before = (file.parent / SERVER).read_bytes()
    assert "SIGHUP" in fedanomaly("coordinator", "tls", "renew", "--home", "plain").stdout
    assert (file.parent / SERVER).read_bytes() != before
