"""Files that are there whole or not at all.

A new file is written under a temporary name in the folder where it belongs,
synced, then renamed over its name, and the folder is synced: rename is atomic
within one file system, and without the last sync a power cut may forget it
(POSIX `rename`, Linux `fsync(2)`).
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from fedanomaly.errors import StorageError, UnavailableError

TEMPORARY_SUFFIX = ".tmp"
ROOM = "make room there, or mount it writable; it goes on by itself"


@contextmanager
def disk(what: str) -> Iterator[None]:
    """Turn a full or failing disk into an error that may be retried; nobody but the operator can help.

    Parameters
    ----------
    what : str
        What was to be written.

    Raises
    ------
    StorageError
        Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what} cannot be written: {error.strerror or type(error).__name__}", hint=ROOM) from error


def database_error(what: str, error: sqlite3.Error) -> UnavailableError:
    """Return what an SQLite database that did not take a write means: it is in use, or its disk fails."""
    text = f"{what} did not take the write: {error}"
    if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnavailableError(text)
    return StorageError(text, hint=ROOM)


class NewFile:
    """A file in the making; nothing of it counts before `commit`.

    Use it as a context manager: leaving without `commit` forgets it. Its mode is
    0600 from the start.

    Parameters
    ----------
    folder : Path
        Where it will lie.
    """

    def __init__(self, folder: Path) -> None:
        with disk(f"a file in {folder.name}"):
            handle, name = tempfile.mkstemp(suffix=TEMPORARY_SUFFIX, dir=folder)
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.abandon()

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        with disk(f"a file in {self._temporary.parent.name}"):
            self._file.write(piece)

    def commit(self, target: Path) -> None:
        """Make it durable under its name; an older file of that name is replaced."""
        with disk(target.name):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.rename(target)
            sync_folder(target.parent)

    def abandon(self) -> None:
        """Close it, and remove it unless it was committed."""
        with suppress(OSError):  # what is left in its buffer does not fit either
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 so that a crash leaves the old one or the new one, never half."""
    with NewFile(path.parent) as file:
        file.write(data)
        file.commit(path)


def sync_folder(folder: Path) -> None:
    """Make names that were just made, renamed or removed in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_left_overs(root: Path) -> None:
    """Remove what a crash left under a temporary name; call it before anything is written."""
    for left_over in root.rglob(f"*{TEMPORARY_SUFFIX}"):
        left_over.unlink(missing_ok=True)
