"""The tables of the coordinator's database, and the engine that opens it.

SQLite is opened so that a committed transaction survives a power cut: WAL with
`synchronous=FULL` syncs the log at every commit (https://sqlite.org/pragma.html).
Writers start with BEGIN IMMEDIATE: a transaction that reads first and upgrades
to writing later may lose against another writer after it has already decided.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10.0

metadata = sa.MetaData()

schema = sa.Table("schema", metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))

envelopes = sa.Table(
    "envelopes",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("secret_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("used_by", sa.LargeBinary(32), nullable=True),
)


def open_sqlite(path: Path) -> AsyncEngine:
    """Return an engine on the SQLite file at `path`, which only its owner may read."""
    path.touch(mode=0o600)
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        # The driver must not open transactions on its own: `_begin` does.
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine.sync_engine, "connect", _connect)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection has no type
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA fullfsync=ON")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
