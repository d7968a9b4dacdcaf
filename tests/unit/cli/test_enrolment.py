"""From an empty folder to an enrolled node, by commands alone."""

import json

import pytest

from fedanomaly.node.home import Home
from tests.unit.node.federation import coordinator, founded


@pytest.fixture
def served(tmp_path):
    founded(tmp_path)
    with coordinator(tmp_path):
        yield tmp_path / "coordinator"


def test_an_invitation_enrols_one_node_once(fedanomaly, served, tmp_path):
    line = fedanomaly("coordinator", "invite", "North Bank", "--home", served).stdout
    (tmp_path / "north.invitation").write_text(line)
    for name in ("north", "thief"):
        fedanomaly("node", "init", "--home", name)

    told = json.loads(fedanomaly("node", "enrol", "north.invitation", "--home", "north", "--json").stdout)
    assert told["organisation"] == "North Bank"
    assert "enrolled as North Bank" in fedanomaly("node", "enrol", line.strip(), "--home", "north").stdout
    assert "enrolled as North Bank" in fedanomaly("node", "status", "--home", "north").stdout

    refused = fedanomaly("node", "enrol", "north.invitation", "--home", "thief", code=1).stderr
    assert refused.startswith("error FA407")
    assert Home(tmp_path / "thief").membership is None


def test_a_coordinator_that_is_not_there_is_said(fedanomaly, tmp_path):
    founded(tmp_path)
    line = fedanomaly("coordinator", "invite", "North", "--home", tmp_path / "coordinator").stdout
    fedanomaly("node", "init", "--home", "north")

    said = fedanomaly("node", "enrol", line.strip(), "--home", "north", code=1)
    assert said.stdout == ""
    assert said.stderr.startswith("an invitation typed out is seen by other users")
    (tmp_path / "north.invitation").write_text(line)
    said = fedanomaly("node", "enrol", "north.invitation", "--home", "north", code=1)
    assert [part.split(":")[0] for part in said.stderr.splitlines()] == ["error FA500", "hint", "more"]
    assert Home(tmp_path / "north").membership is None
