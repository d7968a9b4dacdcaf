"""What only rows on a disk have to prove."""

from __future__ import annotations

import resource
import sqlite3
import stat
from contextlib import closing

import pytest

from fedanomaly.errors import ConfigError, KeystoreError, ReplayError, UnavailableError
from fedanomaly.storage import SealedRows

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.sqlite"


def everything_on_disk(path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_rows_survive_reopening(path):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k", b"first"), ("join", b"a", b"second")])
    with SealedRows(path, KEY) as rows:
        assert list(rows.all("join")) == [(b"k", b"first"), (b"a", b"second")]
        with pytest.raises(ReplayError):
            rows.put([("join", b"k", b"other")])


def test_rows_are_on_disk_when_put_returns(path):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k", b"value")])
        with SealedRows(path, KEY) as second:
            assert second.get("join", b"k") == b"value"


def test_a_second_process_cannot_overrule_the_first(path):
    with SealedRows(path, KEY) as rows, SealedRows(path, KEY) as second:
        rows.put([("open", b"k", b"first")])
        with pytest.raises(ReplayError):
            second.put([("open", b"k", b"second")])


def test_another_key_does_not_open_the_ledger(path):
    SealedRows(path, KEY).close()
    with pytest.raises(KeystoreError):
        SealedRows(path, bytes(32))


def test_a_key_of_the_wrong_length_is_refused(path):
    with pytest.raises(KeystoreError):
        SealedRows(path, KEY[:16])


def test_values_are_not_readable_on_the_disk(path):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k", b"statistic-of-the-bank")])
        assert b"statistic-of-the-bank" not in everything_on_disk(path)


def test_the_same_value_is_sealed_differently_each_time(path):
    with SealedRows(path, KEY) as rows:
        rows.put([("a", b"k", b"value"), ("b", b"k", b"value")])
        rows.erase("a", b"k")
        rows.put([("a", b"k", b"value")])
        with closing(sqlite3.connect(path)) as db:
            sealed = [row[0] for row in db.execute("SELECT sealed FROM rows")]
    assert len({value[:12] for value in sealed}) == len(sealed)


@pytest.mark.parametrize("column", ["kind", "key"])
def test_a_value_moved_to_another_row_does_not_open(path, column):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k", b"value")])
    with sqlite3.connect(path) as db:
        other = "open" if column == "kind" else b"l"
        db.execute(f"UPDATE rows SET {column} = ? WHERE kind = 'join'", (other,))  # noqa: S608
    db.close()
    with SealedRows(path, KEY) as rows, pytest.raises(KeystoreError):
        rows.get("open" if column == "kind" else "join", b"l" if column == "key" else b"k")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(40)])
def test_a_changed_value_does_not_open(path, sealed):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k", b"value")])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE rows SET sealed = ? WHERE kind = 'join'", (sealed,))
    db.close()
    with SealedRows(path, KEY) as rows, pytest.raises(KeystoreError):
        list(rows.all("join"))


def test_a_ledger_without_its_check_row_is_refused(path):
    SealedRows(path, KEY).close()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM rows")
    db.close()
    with pytest.raises(KeystoreError):
        SealedRows(path, KEY)


def test_erased_bytes_are_overwritten(path):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k" * 40, b"value")])
        assert b"k" * 40 in everything_on_disk(path)
        rows.erase("join", b"k" * 40)
        assert b"k" * 40 not in everything_on_disk(path)


def test_only_the_owner_may_read_the_ledger(path):
    with SealedRows(path, KEY) as rows:
        rows.put([("join", b"k", b"value")])
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(ConfigError):
        SealedRows(path, KEY)


def test_a_database_of_something_else_or_of_another_version_is_refused(path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA application_id = 7")
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(ConfigError):
        SealedRows(path, KEY)


def test_a_place_where_no_file_can_be_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "rows.sqlite"):
        with pytest.raises(ConfigError):
            SealedRows(path, KEY)


def test_a_ledger_locked_while_it_is_opened_may_be_retried(path, monkeypatch):
    monkeypatch.setattr("fedanomaly.storage.rows.BUSY_TIMEOUT_S", 0.0)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        SealedRows(path, KEY)
    blocker.close()
    SealedRows(path, KEY).close()


def test_a_locked_ledger_may_be_retried(path, monkeypatch):
    monkeypatch.setattr("fedanomaly.storage.rows.BUSY_TIMEOUT_S", 0.0)
    with SealedRows(path, KEY) as rows:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError):
            rows.put([("join", b"k", b"value")])
        blocker.execute("ROLLBACK")
        blocker.close()
        rows.put([("join", b"k", b"value")])


def test_a_full_disk_writes_nothing_and_may_be_retried(path):
    with SealedRows(path, KEY) as rows:
        (pages,) = rows._db.execute("PRAGMA page_count").fetchone()
        rows._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UnavailableError):
            rows.put([("join", b"small", b"value"), ("join", b"k", bytes(100_000))])
        assert rows.get("join", b"small") is None
        rows._db.execute("PRAGMA max_page_count = 10000")
        rows.put([("join", b"k", bytes(100_000))])


def test_a_write_that_fails_at_its_commit_wrote_nothing(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SealedRows(path, KEY) as rows:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, hard))
        try:
            with pytest.raises(UnavailableError):
                rows.put([("join", b"k", bytes(40_000))])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert rows.get("join", b"k") is None
        rows.put([("join", b"k", b"another value")])
    with SealedRows(path, KEY) as rows:
        assert list(rows.all("join")) == [(b"k", b"another value")]


def test_the_ledgers_own_kind_is_not_for_callers(path):
    with SealedRows(path, KEY) as rows, pytest.raises(ValueError, match="is the ledger's own"):
        rows.put([(".", b"", b"")])
