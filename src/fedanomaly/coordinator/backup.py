"""Backup and restore of a coordinator's home.

The backup holds the coordinator's key: whoever has it can speak as this
coordinator. It holds no data and no share of a secret, as the home does not.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from fedanomaly import __version__
from fedanomaly.coordinator.home import Home
from fedanomaly.errors import DataError
from fedanomaly.storage.archive import Manifest, read_backup, restoring, sqlite_copy, write_backup

KIND = "coordinator"


def back_up(folder: Path, target: Path) -> Manifest:
    """Write a backup of the home `folder`; also while it is served.

    The log is copied first: every attachment that it names was durable before it
    was appended, and none ever changes, so what is copied after it is complete.

    Raises
    ------
    ConfigError
        If the home is not usable, or the file exists.
    UnavailableError
        If the log cannot be copied.
    """
    home = Home(folder)
    home.check()
    with ExitStack() as stack:
        files = [("coordinator.toml", home.config_path), ("coordinator.key", home.key_path)]
        if home.database_path.exists():
            copy = stack.enter_context(sqlite_copy(home.database_path, target))
            files.append((home.database_path.name, copy))
        return write_backup(
            target,
            kind=KIND,
            package=__version__,
            made_at=time.time(),
            files=(*files, *_attachments(home), *_certificates(home)),
        )


def restore(source: Path, folder: Path) -> Home:
    """Restore a backup into a new home.

    Members go on with it only if it has all that they have seen of its log.

    Raises
    ------
    ConfigError
        If there is something in the home already.
    DataError
        If the backup is damaged, or of something else.
    """
    with restoring(folder) as unpacked:
        read_backup(source, unpacked, kind=KIND)
        made = Home(unpacked)
        made.check()
        if made.database_path.exists():
            _check_log(made.database_path)
    return Home(folder)


def _attachments(home: Home) -> Iterator[tuple[str, Path]]:
    kept = home.blobs_path / "kept"
    # Listed after the log was copied; a later one does no harm. Uploads under way begin anew.
    for path in sorted(kept.glob("??/*")):
        if len(path.name) == 64:
            yield path.relative_to(home.folder).as_posix(), path


def _certificates(home: Home) -> Iterator[tuple[str, Path]]:
    """Yield the TLS files that lie in the home; those elsewhere are their owner's."""
    own = {home.folder / name for name in (home.config.tls_certificate, home.config.tls_key, home.config.tls_ca)}
    own |= set((home.folder / "tls").glob("*"))
    for path in sorted(own):
        if path.is_file() and path.is_relative_to(home.folder):
            yield path.relative_to(home.folder).as_posix(), path


def _check_log(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DataError(f"the log in the backup is damaged: {found}", hint="take an earlier backup")
