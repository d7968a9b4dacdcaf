"""The one ordered log of signed envelopes, and the invitations beside it.

Both lie in one database because spending an invitation and appending the
enrolment that it admits must happen together or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fedanomaly.errors import ConfigError, RefusedError, ReplayError
from fedanomaly.storage.durable import database_error
from fedanomaly.storage.tables import SCHEMA_VERSION, envelopes, invitations, metadata, open_sqlite, schema


@dataclass(frozen=True, kw_only=True)
class Record:
    """One stored envelope.

    Parameters
    ----------
    seq : int
        Position in the log: from 1, without gaps.
    received_at : float
        When it was stored, in seconds since the Unix epoch.
    data : bytes
        Its canonical bytes.
    """

    seq: int
    received_at: float
    data: bytes


class EnvelopeLog:
    """Append-only log of envelopes; every write is durable when it returns.

    Parameters
    ----------
    engine : AsyncEngine
        An engine whose transactions with the option ``writes=True`` exclude
        each other from their first statement on.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the log in the SQLite file at `path`; make it if it is not there.

        Raises
        ------
        ConfigError
            If the file was written by a version that is not known here.
        """
        log = cls(open_sqlite(path))
        try:
            async with log._write() as connection:
                await connection.run_sync(metadata.create_all)
                await _check_version(connection)
        except BaseException:
            await log.close()
            raise
        return log

    async def close(self) -> None:
        """Let the database go."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._writer.begin() as connection:
                yield connection
        except OperationalError as error:  # busy, disk full, read-only: nothing of it was written
            raise database_error("the log", cast("sqlite3.Error", error.orig)) from error

    async def append(self, data: bytes, digest: bytes, received_at: float) -> int:
        """Store an envelope durably.

        Parameters
        ----------
        data : bytes
            Its canonical bytes.
        digest : bytes
            Their SHA-256.
        received_at : float
            Seconds since the Unix epoch.

        Returns
        -------
        int
            Its position. An envelope that is stored already keeps its first one.
        """
        async with self._write() as connection:
            return await _append(connection, data, digest, received_at)

    async def find(self, digest: bytes) -> int | None:
        """Return the position of the envelope with this digest, if it is stored."""
        async with self._engine.begin() as connection:
            return await _find(connection, digest)

    async def head(self) -> int:
        """Return the position of the last envelope, 0 if there is none."""
        async with self._engine.begin() as connection:
            return await _head(connection)

    async def read(self, after: int, limit: int, *, limit_bytes: int | None = None) -> Sequence[Record]:
        """Return the envelopes that follow position `after`, in order.

        Parameters
        ----------
        after : int
            Position before the first one wanted.
        limit : int
            Most envelopes to return.
        limit_bytes : int, optional
            Stop before their sum exceeds this; one is returned even so.
        """
        query = sa.select(envelopes).where(envelopes.c.seq > after).order_by(envelopes.c.seq).limit(limit)
        records: list[Record] = []
        size = 0
        async with self._engine.connect() as connection, connection.stream(query) as rows:
            async for row in rows:
                size += len(row.data)
                if records and limit_bytes is not None and size > limit_bytes:
                    break
                records.append(Record(seq=row.seq, received_at=row.received_at, data=row.data))
        return records

    async def invite(self, secret_hash: bytes, name: str, expires_at: float) -> None:
        """Store an invitation for the organisation `name`; only a hash of its secret.

        Raises
        ------
        ReplayError
            If there is an invitation with this hash.
        """
        values = {"secret_hash": secret_hash, "name": name, "expires_at": expires_at}
        async with self._write() as connection:
            if await _invitation(connection, secret_hash) is not None:
                raise ReplayError("there is such an invitation already")
            await connection.execute(sa.insert(invitations).values(values))

    async def admits(self, secret_hash: bytes, member: bytes, digest: bytes, now_s: float) -> str:
        """Return the name that an invitation is made out to, if it admits this enrolment.

        Parameters
        ----------
        secret_hash : bytes
            Hash of the invitation's secret.
        member : bytes
            Public key of 32 bytes that wants in.
        digest : bytes
            SHA-256 of its enrolment. The very same enrolment again is admitted: its
            first answer may have been lost.
        now_s : float
            Seconds since the Unix epoch.

        Raises
        ------
        RefusedError
            If there is no such invitation, or it has expired.
        ReplayError
            If it was used for another enrolment.
        """
        async with self._engine.begin() as connection:
            return await _admit(connection, secret_hash, member, digest, now_s)

    async def enrol(self, secret_hash: bytes, member: bytes, data: bytes, digest: bytes, received_at: float) -> int:
        """Spend an invitation and append the enrolment, in one transaction.

        Parameters
        ----------
        secret_hash, member
            As in `admits`.
        data, digest, received_at
            As in `append`.

        Returns
        -------
        int
            Position of the enrolment.

        Raises
        ------
        RefusedError, ReplayError
            As in `admits`.
        """
        async with self._write() as connection:
            await _admit(connection, secret_hash, member, digest, received_at)
            await connection.execute(
                sa.update(invitations).where(invitations.c.secret_hash == secret_hash).values(used_by=member)
            )
            return await _append(connection, data, digest, received_at)


async def _admit(connection: AsyncConnection, secret_hash: bytes, member: bytes, digest: bytes, now_s: float) -> str:
    row = await _invitation(connection, secret_hash)
    if row is None:
        raise RefusedError("there is no such invitation")
    if row.used_by is not None:
        if row.used_by != member or await _find(connection, digest) is None:
            raise ReplayError("the invitation was used before")
    elif row.expires_at <= now_s:
        raise RefusedError("the invitation has expired")
    return row.name


async def _check_version(connection: AsyncConnection) -> None:
    version = await connection.scalar(sa.select(schema.c.version))
    if version is None:
        await connection.execute(sa.insert(schema).values(version=SCHEMA_VERSION))
    elif version != SCHEMA_VERSION:
        raise ConfigError(
            f"the database has schema version {version}, this release writes {SCHEMA_VERSION}",
            hint="run the release that wrote it, or a newer one that migrates it",
        )


async def _append(connection: AsyncConnection, data: bytes, digest: bytes, received_at: float) -> int:
    seq = await _find(connection, digest)
    if seq is None:
        seq = await _head(connection) + 1
        values = {"seq": seq, "digest": digest, "received_at": received_at, "data": data}
        await connection.execute(sa.insert(envelopes).values(values))
    return seq


async def _find(connection: AsyncConnection, digest: bytes) -> int | None:
    return await connection.scalar(sa.select(envelopes.c.seq).where(envelopes.c.digest == digest))


async def _head(connection: AsyncConnection) -> int:
    return await connection.scalar(sa.select(sa.func.coalesce(sa.func.max(envelopes.c.seq), 0))) or 0


async def _invitation(connection: AsyncConnection, secret_hash: bytes) -> sa.Row | None:
    result = await connection.execute(sa.select(invitations).where(invitations.c.secret_hash == secret_hash))
    return result.one_or_none()
