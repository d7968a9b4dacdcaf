"""What only the log in SQLite has to prove."""

from __future__ import annotations

import resource
import sqlite3
import stat

import pytest

from fedanomaly.errors import ConfigError, UnavailableError
from fedanomaly.storage import tables
from fedanomaly.storage.envelopes import EnvelopeLog

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def log(tmp_path):
    log = await EnvelopeLog.open(tmp_path / "c.sqlite")
    yield log
    await log.close()


async def test_an_appended_envelope_is_seen_by_another_connection_at_once(log, tmp_path):
    await log.append(b"a", b"d" * 32, 1.0)
    other = await EnvelopeLog.open(tmp_path / "c.sqlite")
    assert await other.find(b"d" * 32) == 1
    await other.close()


async def test_every_commit_is_synced(log):
    async with log._engine.connect() as connection:
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one() == 2
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"


async def test_only_the_owner_may_read_the_database(log, tmp_path):
    await log.append(b"a", b"d" * 32, 1.0)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


async def test_a_database_of_another_version_is_refused(tmp_path):
    await (await EnvelopeLog.open(tmp_path / "c.sqlite")).close()
    with sqlite3.connect(tmp_path / "c.sqlite") as db:
        db.execute("UPDATE schema SET version = 2")
    db.close()
    with pytest.raises(ConfigError):
        await EnvelopeLog.open(tmp_path / "c.sqlite")


async def test_a_writer_is_kept_out_while_another_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BUSY_TIMEOUT_S", 0.0)
    log = await EnvelopeLog.open(tmp_path / "c.sqlite")
    blocker = sqlite3.connect(tmp_path / "c.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        await log.append(b"a", b"d" * 32, 1.0)
    assert await log.head() == 0
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await log.append(b"a", b"d" * 32, 1.0) == 1
    await log.close()


async def test_an_append_that_fails_at_its_commit_wrote_nothing(log):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40 * 1024, hard))
    try:
        with pytest.raises(UnavailableError):
            await log.append(bytes(200_000), b"d" * 32, 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await log.find(b"d" * 32) is None
    assert await log.append(b"a", b"a" * 32, 1.0) == 1
