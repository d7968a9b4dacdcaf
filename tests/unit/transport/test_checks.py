"""Each check says what it found and what to do, and can fail."""

from __future__ import annotations

import email.utils
import os
import socket
import sqlite3
import threading
from collections import namedtuple
from contextlib import closing

import pytest

from fedanomaly.transport import checks


def levels(found):
    return {check.name: check.level for check in found}


def test_what_needs_action_says_what_to_do():
    for check in (checks.warn("a", "b", "c"), checks.fail("a", "b", "c")):
        assert check.step
    assert checks.ok("a", "b").step == ""


@pytest.mark.parametrize(("free", "level"), [(5 << 30, "ok"), (500 << 20, "warn"), (50 << 20, "fail")])
def test_a_full_disk_is_told_before_it_is_full(tmp_path, monkeypatch, free, level):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _folder: usage(10 << 30, 0, free))

    assert levels(checks.disk(tmp_path))["disk"] == level


@pytest.mark.parametrize(("free", "level"), [(10**6, "ok"), (5_000, "warn"), (10, "fail")])
def test_inodes_run_out_as_well(tmp_path, monkeypatch, free, level):
    volume = namedtuple("volume", "f_files f_favail f_bavail f_blocks f_bfree f_frsize")
    monkeypatch.setattr(checks.os, "statvfs", lambda _folder: volume(10**7, free, 10**7, 10**7, 10**7, 4096))

    assert levels(checks.disk(tmp_path))["inodes"] == level


def test_permissions_of_home_and_secrets_are_checked(tmp_path):
    tmp_path.chmod(0o700)
    for name, mode in (("mine", 0o600), ("open", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)

    found = levels(checks.permissions(tmp_path, ("mine", "open", "gone")))

    assert found == {"home": "ok", "mine": "ok", "open": "fail", "gone": "fail"}
    tmp_path.chmod(0o777)
    assert levels(checks.permissions(tmp_path, ()))["home"] == "fail"
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("apart_s", "level"), [(0, "ok"), (14, "ok"), (-14, "ok"), (20, "warn"), (-20, "warn"), (40, "fail"), (-40, "fail")]
)
def test_the_clock_is_held_against_the_coordinators(apart_s, level):
    date = email.utils.formatdate(1_800_000_000, usegmt=True)

    check = checks.clock(date, bound_s=30, now_s=1_800_000_000 + apart_s)

    assert check.level == level
    assert f"{abs(apart_s)} s" in check.found


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_server_without_a_date_is_told(date):
    assert checks.clock(date, bound_s=30).level == "warn"


@pytest.mark.parametrize(("days", "level"), [(100, "ok"), (10, "warn"), (-1, "fail")])
def test_a_certificate_is_renewed_in_time(days, level):
    assert checks.expiry("certificate", 1_800_000_000 + days * 86_400, now_s=1_800_000_000).level == level


def test_each_step_of_the_way_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert levels(checks.way_to(f"http://127.0.0.1:{port}", trust=None)) == {"name": "ok", "connection": "ok"}
    assert levels(checks.way_to(f"http://127.0.0.1:{port}", trust=None)) == {"name": "ok", "connection": "fail"}
    assert levels(checks.way_to("http://no-such-host.invalid", trust=None)) == {"name": "fail"}


def test_a_server_that_speaks_no_tls_fails_at_tls():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            near, _ = server.accept()
            with near:
                near.recv(1000)
                near.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = levels(checks.way_to(f"https://127.0.0.1:{server.getsockname()[1]}", trust=None))
        thread.join()
    assert found == {"name": "ok", "connection": "ok", "TLS": "fail"}


def test_an_answer_is_told_and_given(scripted):
    scripted.answers = [(204, b"", ("date", "today"))]

    check, response = checks.answer_of(scripted.url, "/health", trust=None)

    assert (check.level, check.found) == ("ok", "GET /health: status 204")
    assert response is not None
    assert response.headers.get_all("Date")[-1] == "today"


def test_a_redirect_is_told_and_not_followed(scripted):
    scripted.answers = [(302, b"", ("location", "/elsewhere"))]

    check, response = checks.answer_of(scripted.url, "/health", trust=None)

    assert (check.level, check.found, response) == ("fail", "GET /health: status 302", None)
    assert len(scripted.asked) == 1


def test_what_speaks_no_http_is_said(scripted):
    scripted.answers = [None]

    check, response = checks.answer_of(scripted.url, "/health", trust=None)

    assert (check.level, response) == ("fail", None)
    assert "ProtocolError" in check.found


def test_a_damaged_database_is_found(tmp_path):
    path = tmp_path / "db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (a TEXT)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 100)
        database.commit()
    assert checks.database("ledger", path).level == "ok"
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(4096))

    assert checks.database("ledger", path).level == "fail"
    assert checks.database("ledger", tmp_path / "gone").level == "fail"
