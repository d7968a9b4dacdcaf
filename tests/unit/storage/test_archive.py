"""A backup is whole or not there, and what is damaged is not restored."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from contextlib import closing

import pytest

from fedanomaly.errors import ConfigError, DataError, UnavailableError
from fedanomaly.storage.archive import MANIFEST, read_backup, restoring, sqlite_copy, write_backup


@pytest.fixture
def backup(tmp_path):
    (tmp_path / "a").write_bytes(b"alpha" * 1000)
    (tmp_path / "b").write_bytes(b"")
    target = tmp_path / "it.backup"
    files = [("a", tmp_path / "a"), ("deep/er/b", tmp_path / "b")]
    write_backup(target, kind="node", package="1", made_at=5.0, files=files)
    return target


def folder(tmp_path):
    made = tmp_path / "out"
    made.mkdir()
    return made


def tar(path, *entries):
    with tarfile.open(path, "w") as out:
        for info, data in entries:
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def test_what_went_in_comes_out_and_only_its_owner_may_read_it(tmp_path, backup):
    out = folder(tmp_path)

    manifest = read_backup(backup, out, kind="node")

    assert (manifest.kind, manifest.package, manifest.made_at) == ("node", "1", 5.0)
    assert (out / "a").read_bytes() == b"alpha" * 1000
    assert (out / "deep" / "er" / "b").read_bytes() == b""
    assert backup.stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o600}
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_backup_replaces_nothing(tmp_path, backup):
    before = backup.read_bytes()

    with pytest.raises(ConfigError, match="exists"):
        write_backup(backup, kind="node", package="1", made_at=5.0, files=[])

    assert backup.read_bytes() == before


def test_a_backup_that_fails_half_way_leaves_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"alpha")

    with pytest.raises(FileNotFoundError):
        write_backup(
            tmp_path / "x", kind="node", package="1", made_at=5.0, files=[("a", tmp_path / "a"), ("b", tmp_path / "no")]
        )

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("at", [0, 512, 3000, 5511, 5632, 6700])
def test_a_changed_byte_of_a_name_a_file_or_the_manifest_is_found(tmp_path, backup, at):
    data = bytearray(backup.read_bytes())
    data[at] ^= 1
    backup.write_bytes(data)

    with pytest.raises(DataError):
        read_backup(backup, folder(tmp_path), kind="node")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 3000, 6000])
def test_a_truncated_backup_is_refused(tmp_path, backup, size):
    backup.write_bytes(backup.read_bytes()[:size])

    with pytest.raises(DataError, match="damaged, or no backup"):
        read_backup(backup, folder(tmp_path), kind="node")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", ""])
def test_no_name_leads_out_of_the_home(tmp_path, name):
    evil = tar(tmp_path / "evil", (tarfile.TarInfo(name), b"x"), (tarfile.TarInfo(MANIFEST), b"{}"))

    with pytest.raises(DataError):
        read_backup(evil, folder(tmp_path), kind="node")

    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_nothing_but_files_is_unpacked(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"

    with pytest.raises(DataError):
        read_backup(tar(tmp_path / "evil", (info, b"")), folder(tmp_path), kind="node")


def test_the_backup_of_something_else_is_refused(tmp_path, backup):
    with pytest.raises(DataError, match="backup of a node, not of a coordinator"):
        read_backup(backup, folder(tmp_path), kind="coordinator")


def test_a_home_that_is_there_is_not_touched(tmp_path):
    home = folder(tmp_path)
    (home / "mine").write_text("x")

    with pytest.raises(ConfigError, match="already"), restoring(home):
        raise AssertionError

    assert [path.name for path in home.iterdir()] == ["mine"]


def test_a_restore_that_fails_leaves_no_home(tmp_path):
    with pytest.raises(IsADirectoryError), restoring(tmp_path / "home") as unpacked:
        unpacked.write_text("x")

    assert list(tmp_path.iterdir()) == []


def test_a_database_is_copied_as_of_one_moment_while_it_is_written(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL").fetchall()
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (1)")
        database.execute("BEGIN")
        database.execute("INSERT INTO t VALUES (2)")  # not committed
        with sqlite_copy(tmp_path / "db", tmp_path / "target") as copy, closing(sqlite3.connect(copy)) as other:
            assert other.execute("SELECT a FROM t").fetchall() == [(1,)]
            assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        database.execute("COMMIT")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db"]


def test_what_is_no_database_cannot_be_copied(tmp_path):
    (tmp_path / "db").write_text("no database at all, but long enough to be looked at" * 100)

    with pytest.raises(UnavailableError), sqlite_copy(tmp_path / "db", tmp_path / "target"):
        raise AssertionError
