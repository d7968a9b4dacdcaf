"""A doctor says what keeps a node from taking part; it changes nothing."""

from __future__ import annotations

import pytest

from fedanomaly.node.backup import back_up, restore
from fedanomaly.node.doctor import examine
from fedanomaly.node.home import Membership
from tests.unit.node.federation import PASSPHRASE
from tests.unit.node.test_backup import add


def found(home, passphrase=None, told=None):
    return {check.name: (check.level, check.found) for check in examine(home, passphrase=passphrase, told=told)}


def failing(lines):
    return {name for name, (level, _) in lines.items() if level == "fail"}


@pytest.fixture
def keystore(home, passphrase):
    return home.unlock(passphrase)


def test_a_new_home_needs_to_be_enrolled_and_nothing_else(home, passphrase):
    assert failing(found(home, passphrase)) == {"enrolment"}


def test_a_doctor_changes_nothing(home, passphrase, keystore, tmp_path):
    add(home, keystore, tmp_path, 1)
    before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}

    found(home, passphrase)

    assert {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()} == before


def test_a_wrong_passphrase_is_told_and_the_rest_is_checked(home):
    lines = found(home, "another passphrase")

    assert "keystore" in failing(lines)
    assert lines["settings"][0] == "ok"


def test_open_files_and_bad_settings_are_found(home, passphrase):
    (home.root / "token").chmod(0o644)
    (home.root / "policy.toml").write_text("min_members = 1\n")

    assert {"token", "settings"} <= failing(found(home, passphrase))


def test_a_coordinator_that_does_not_listen_is_found(home, passphrase):
    home.enrolled(Membership(name="north", url="http://127.0.0.1:1", coordinator=bytes(32), federation=b"f" * 32))

    lines = found(home, passphrase)

    assert failing(lines) == {"connection"}
    assert lines["name"][0] == "ok"


def test_a_damaged_registry_is_found(home, passphrase, keystore, tmp_path):
    add(home, keystore, tmp_path, 1)
    (home.root / "data" / "registry.sealed").write_bytes(b"x" * 100)

    assert "sealed files" in failing(found(home, passphrase))


def test_a_restored_home_says_so(home, keystore, tmp_path):
    add(home, keystore, tmp_path, 1)
    back_up(home, tmp_path / "backup")
    made = restore(tmp_path / "backup", tmp_path / "new", PASSPHRASE)

    lines = found(made, PASSPHRASE)

    assert lines["restored"][0] == "warn"
    assert lines["data sets"] == ("fail", "held back, for this node was restored or copied: payments")


def test_a_node_that_runs_and_has_lost_its_coordinator_is_told(home):
    told = {"trouble": "FA500: nobody", "last_contact_at": None, "epoch": 1, "epoch_state": "live", "quota_used": 0.95,
            "held_back": []}  # fmt: skip

    lines = found(home, told=told)

    assert "service" in failing(lines)
    assert lines["quota"][0] == "warn"
    assert lines["key epoch"] == ("ok", "1 (live)")


def test_a_federation_that_runs_has_nothing_to_do(trained):
    lines = found(trained.homes[1], PASSPHRASE)

    assert failing(lines) == set()
    assert lines["log"][0] == lines["identity"][0] == lines["epoch secrets"][0] == lines["clock"][0] == "ok"
