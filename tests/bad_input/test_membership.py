"""Who may not enrol, and who may not run, is told so by the command; no home changes."""

import time

import pytest

from fedanomaly.coordinator import create_invitation
from fedanomaly.node.home import Home
from tests.unit.node.federation import PASSPHRASE, coordinator, founded, joined


@pytest.fixture
def served(tmp_path):
    """A coordinator with one member, north."""
    founded(tmp_path)
    with coordinator(tmp_path):
        joined(tmp_path, "north", 0)
        yield tmp_path / "coordinator"


def invite(tmp_path, name, **options):
    file = tmp_path / f"{name}.invitation"
    file.write_text(create_invitation(tmp_path / "coordinator", name, **options).to_text())
    return file


def test_an_expired_invitation_is_refused(fedanomaly, served, node, *, contents, tmp_path):
    late = invite(tmp_path, "south", ttl_s=1.0, now_s=time.time() - 5)
    before = contents(node)

    said = fedanomaly("node", "enrol", late, "--home", node, code=1).stderr

    assert said.startswith("error FA407: ")
    assert "expired" in said
    assert "\nhint: " in said
    assert contents(node) == before
    assert "members    north\n" in fedanomaly("coordinator", "status", "--home", served).stdout


def test_a_home_enrols_once(fedanomaly, served, contents, tmp_path):
    second = invite(tmp_path, "south")
    before = contents(tmp_path / "north")

    said = fedanomaly("node", "enrol", second, "--home", tmp_path / "north", code=1).stderr

    assert said.startswith("error FA100: ")
    assert "enrolled as north" in said
    assert contents(tmp_path / "north") == before
    assert "members    north\n" in fedanomaly("coordinator", "status", "--home", served).stdout


def test_a_name_enrols_once(fedanomaly, served, node, *, contents, tmp_path):
    taken = invite(tmp_path, "north")
    before = contents(node)

    said = fedanomaly("node", "enrol", taken, "--home", node, code=1).stderr

    assert said.startswith("error FA407: ")
    assert contents(node) == before


def test_a_second_node_on_a_home_does_not_start(fedanomaly, served, tmp_path):
    home = Home(tmp_path / "north")
    before = home.membership
    with home.locked():
        said = fedanomaly("node", "run", "--home", home.root, code=1).stderr

    assert said.startswith("error FA102: another process runs the node")
    assert "\nhint: " in said
    assert home.membership == before
    assert home.unlock(PASSPHRASE)
