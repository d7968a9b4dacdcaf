"""A doctor says what keeps a coordinator from serving."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from fedanomaly.coordinator import Home
from fedanomaly.coordinator.backup import back_up, restore
from fedanomaly.coordinator.doctor import examine
from fedanomaly.errors import ConfigError
from fedanomaly.protocol import JobRequest
from tests.unit.coordinator.conftest import serve


def found(home):
    return {check.name: (check.level, check.found) for check in examine(Home(home.folder))}


def failing(home):
    return {name for name, (level, _) in found(home).items() if level == "fail"}


def test_while_it_serves_there_is_nothing_to_do(standing):
    lines = found(standing.home)

    assert failing(standing.home) == set()
    assert lines["HTTP"][0] == "ok"
    assert lines["members"] == ("warn", "1 of 3 are enrolled")


def test_a_coordinator_that_does_not_run_is_found(federation):
    assert failing(federation.home) == {"connection"}
    assert found(federation.home)["log"] == ("warn", "this coordinator has not run yet")


def test_a_log_with_a_gap_or_a_changed_entry_is_found(federation):
    with serve(federation.home):
        federation.enrol("north")
    with closing(sqlite3.connect(federation.home.database_path)) as database:
        (data,) = database.execute("SELECT data FROM envelopes WHERE seq = 2").fetchone()
        changed = data[:-1] + bytes([data[-1] ^ 1])
        database.execute("UPDATE envelopes SET data = ? WHERE seq = 2", (changed,))
        database.commit()

    assert "log" in failing(federation.home)


def test_others_who_may_read_the_key_are_found(federation):
    federation.home.key_path.chmod(0o640)

    assert {"coordinator.key", "settings and key"} <= failing(federation.home)


def test_what_is_restored_has_the_same_log_key_and_attachments(federation, tmp_path):
    with serve(federation.home):
        identity, client = federation.enrol("north")
        digest = client.upload(b"x" * 5000)
        request = JobRequest(
            model="m", dataset="d", detector="loda", version=1, params="{}", schema=bytes(32), request=bytes(16)
        )
        client.post(federation.say(identity, request).envelope)
        back_up(federation.home.folder, tmp_path / "backup")  # while it serves
        entries = client.feed(0)
    made = restore(tmp_path / "backup", tmp_path / "new")

    assert made.federation == federation.home.federation
    assert digest.hex() not in {path.name for path in made.blobs_path.rglob("*")}  # nobody had put it to use
    before = federation.home
    federation.home = made
    with serve(made):
        assert client.feed(0) == entries
    federation.home = before


def test_a_coordinator_is_not_restored_over_a_home(federation, tmp_path):
    back_up(federation.home.folder, tmp_path / "backup")

    with pytest.raises(ConfigError, match="already"):
        restore(tmp_path / "backup", federation.home.folder)
