"""A node's ledger: write-once rows, sealed at rest.

What a node has once said (what it froze, which manifests it joined, how it
answered) must never be said differently, so a row is written once. `put` is
atomic, and durable when it returns: WAL with `synchronous=FULL` syncs at every
commit (https://sqlite.org/pragma.html).

Values are sealed with AES-256-GCM; the additional data name the row, so that a
sealed value moved to another row does not open. Kinds and keys stay readable:
they are labels and hashes. `erase` overwrites the row in the database and cuts
the write-ahead log, which is as far as a file goes: what the medium or a backup
keeps is still sealed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedanomaly.errors import ConfigError, KeystoreError, ReplayError
from fedanomaly.storage.durable import database_error
from fedanomaly.types.canonical import begin, item

KEY_BYTES = 32
NONCE_BYTES = 12
BUSY_TIMEOUT_S = 10.0
SCHEMA_VERSION = 1
# "FDAR": a file of another program is not taken for a ledger.
APPLICATION_ID = 0x46444152

_CHECK_KIND = "."


class MemoryRows:
    """Write-once rows that live as long as the process; for simulated members."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, bytes], bytes] = {}
        self._lock = threading.Lock()

    def get(self, kind: str, key: bytes) -> bytes | None:
        """Return the value of a row, or None if there is no such row."""
        with self._lock:
            return self._rows.get((kind, key))

    def all(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Return the keys and values of a kind, in the order they were written."""
        with self._lock:
            return iter([(key, value) for (of, key), value in self._rows.items() if of == kind])

    def put(self, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Write all of `rows`, each a kind, a key and a value, or none of them.

        Raises
        ------
        ReplayError
            If one of them exists with another value.
        """
        with self._lock:
            fresh: dict[tuple[str, bytes], bytes] = {}
            for kind, key, value in rows:
                known = fresh.get((kind, key), self._rows.get((kind, key)))
                if known is not None and known != value:
                    raise _other_value(kind)
                if known is None:
                    fresh[kind, key] = value
            self._rows |= fresh

    def erase(self, kind: str, key: bytes) -> None:
        """Forget a row; it may then be written anew."""
        with self._lock:
            self._rows.pop((kind, key), None)


class SealedRows:
    """Write-once rows in an SQLite file, their values sealed; safe to share between threads.

    Parameters
    ----------
    path : Path
        The file; made with mode 0600 if it is not there.
    key : bytes
        Data key of 32 bytes.

    Raises
    ------
    KeystoreError
        If the file was sealed under another key.
    ConfigError
        If the file is not a ledger, or of a version that is not known here.
    UnavailableError
        If another process holds it locked.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeystoreError(f"the data key must have {KEY_BYTES} bytes")
        self._aead = AESGCM(key)
        self._lock = threading.Lock()
        try:
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigError(f"the ledger {path.name} cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._db.close()
            raise database_error("the ledger", error) from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ConfigError(f"{path.name} is not a ledger: {error}") from None
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        with self._transaction():
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if (application, version) == (0, 0):
                self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                self._db.execute(
                    "CREATE TABLE rows (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key BLOB NOT NULL,"
                    " sealed BLOB NOT NULL, UNIQUE (kind, key)) STRICT"
                )
                self._insert(_CHECK_KIND, b"", b"")
            elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
                raise ConfigError(f"not a ledger of version {SCHEMA_VERSION}")
            elif self._value(_CHECK_KIND, b"") is None:
                raise KeystoreError("the ledger has lost its check row")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def get(self, kind: str, key: bytes) -> bytes | None:
        """Return the value of a row, or None if there is no such row.

        Raises
        ------
        KeystoreError
            If the value was changed on the disk.
        """
        with self._lock:
            return self._value(_checked(kind), key)

    def all(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Return the keys and values of a kind, in the order they were written."""
        query = "SELECT key, sealed FROM rows WHERE kind = ? ORDER BY id"
        with self._lock:
            found = self._db.execute(query, (_checked(kind),)).fetchall()
        return ((key, self._open(kind, key, sealed)) for key, sealed in found)

    def verify(self) -> int:
        """Open every row and return how many there are.

        Raises
        ------
        KeystoreError
            If one was changed on the disk.
        """
        with self._lock:
            found = self._db.execute("SELECT kind, key, sealed FROM rows").fetchall()
        for kind, key, sealed in found:
            self._open(kind, key, sealed)
        return len(found)

    def put(self, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Write all of `rows`, each a kind, a key and a value, or none of them; durable on return.

        Raises
        ------
        ReplayError
            If one of them exists with another value.
        StorageError
            If the disk does not take the write.
        """
        with self._lock, self._transaction():
            for kind, key, value in rows:
                known = self._value(_checked(kind), key)
                if known is None:
                    self._insert(kind, key, value)
                elif known != value:
                    raise _other_value(kind)

    def erase(self, kind: str, key: bytes) -> None:
        """Forget a row and overwrite its bytes; it may then be written anew."""
        with self._lock:
            with self._transaction():
                self._db.execute("DELETE FROM rows WHERE kind = ? AND key = ?", (_checked(kind), key))
            # Old pages live on in the write-ahead log until it is cut.
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError as error:
                raise database_error("the ledger", error) from error

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _insert(self, kind: str, key: bytes, value: bytes) -> None:
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._aead.encrypt(nonce, value, _row_name(kind, key))
        self._db.execute("INSERT INTO rows (kind, key, sealed) VALUES (?, ?, ?)", (kind, key, sealed))

    def _value(self, kind: str, key: bytes) -> bytes | None:
        found = self._db.execute("SELECT sealed FROM rows WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return None if found is None else self._open(kind, key, found[0])

    def _open(self, kind: str, key: bytes, sealed: bytes) -> bytes:
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _row_name(kind, key))
        except (InvalidTag, ValueError):
            raise KeystoreError("a row of the ledger does not open under this key") from None


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, so that what is read inside stays true until the end."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise database_error("the ledger", error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._db.execute("COMMIT")
        except sqlite3.OperationalError as failed:
            error = failed
            raise database_error("the ledger", failed) from failed
        finally:
            # Some failures, a full disk among them, have rolled back already.
            if error is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise database_error("the ledger", error) from error


def _checked(kind: str) -> str:
    if kind == _CHECK_KIND:
        raise ValueError(f"the kind {kind!r} is the ledger's own")
    return kind


def _row_name(kind: str, key: bytes) -> bytes:
    return begin("row") + item("kind", kind.encode("ascii")) + item("key", key)


def _other_value(kind: str) -> ReplayError:
    return ReplayError(f"a row of kind {kind} exists with another value")
