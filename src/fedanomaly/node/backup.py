"""Backup and restore of a node's home.

What is in a backup is sealed under the keystore, and the keystore under its
passphrase; settings and the pinned key of the coordinator are not secret. Left
out are:

- the secrets of key epochs, which must be gone once their epoch has ended. A
  backup would keep them: its thief could open what members dealt to this node, as
  recorded from the network, and t such thieves everybody's contributions. A
  restored node waits for a new key epoch instead;
- frozen statistics and undelivered deals, which no restored node may use;
- the token of the loopback API: a restored home gets a fresh one.

A restored node is a clone (DESIGN.md section 4, rule 6), whatever it holds: it
cannot know what this identity has said since the backup. So no rows that are in
the backup are summed again, and numbers of data snapshots jump ahead of any that
may have been given out since.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from fedanomaly import __version__
from fedanomaly.errors import ConfigError, DataError, UnavailableError
from fedanomaly.node.durable import make_folder
from fedanomaly.node.home import TOKEN_BYTES, Home
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.registry import Registry
from fedanomaly.protocol.rules import Ledger
from fedanomaly.storage import SealedRows, write_durably
from fedanomaly.storage.archive import Manifest, read_backup, restoring, sqlite_copy, write_backup

KIND = "node"
PLAIN = ("node.toml", "policy.toml", "keystore.json", "federation.json", "log.json", "ca.pem", "restored.json")
LEDGER = "rows.sqlite"
LEFT_OUT = ("frozen", "deal")
"""Kinds of rows that no restored node may use."""


class Restored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mark of a home that was restored.

    Parameters
    ----------
    backup_at, restored_at : float
        Unix seconds.
    generation : int
        Rows up to this generation are not summed again.
    """

    backup_at: float
    restored_at: float
    generation: int


def back_up(home: Home, target: Path) -> Manifest:
    """Write a backup of a home; also while its node runs. It needs no passphrase.

    Data sets cannot be added until it is written.

    Raises
    ------
    ConfigError
        If the file exists.
    UnavailableError
        If the ledger cannot be copied.
    """
    with ExitStack() as stack:
        files = [(name, home.root / name) for name in PLAIN if (home.root / name).is_file()]
        if (home.root / LEDGER).exists():
            copy = stack.enter_context(sqlite_copy(home.root / LEDGER, target))
            _leave_out(copy)
            files.append((LEDGER, copy))
        stack.enter_context(Registry.locked(home.root / "data"))
        return write_backup(
            target, kind=KIND, package=__version__, made_at=time.time(), files=(*files, *_kept(home.root))
        )


def restore(source: Path, folder: Path, passphrase: str, *, now_s: float | None = None) -> Home:
    """Restore a backup into a new home; the other copy, if any, must never run again.

    Parameters
    ----------
    source : Path
        The backup.
    folder : Path
        The home to make.
    passphrase : str
        Of the keystore in it.
    now_s : float, optional
        Unix seconds; the clock's, if not given.

    Raises
    ------
    ConfigError
        If there is something in the home already.
    KeystoreError
        If the backup does not open with this passphrase.
    DataError
        If it is damaged, or of something else.
    """
    now_s = time.time() if now_s is None else now_s
    with restoring(folder) as unpacked:
        manifest = read_backup(source, unpacked, kind=KIND)
        if "node.toml" not in manifest.files or "keystore.json" not in manifest.files:
            raise DataError(f"{source.name} holds no keystore or no settings")
        for name in ("epochs", "data", "models", "evaluations"):
            make_folder(unpacked / name)
        home = Home(unpacked)
        generation = _make_clone(home, home.unlock(passphrase), now_s)
        mark = Restored(backup_at=manifest.made_at, restored_at=now_s, generation=generation)
        write_durably(unpacked / "restored.json", msgspec.json.encode(mark) + b"\n")
        write_durably(unpacked / "token", secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n")
    return Home(folder)


def restored(home: Home) -> Restored | None:
    """Return the mark of a home that was restored, or None."""
    try:
        return msgspec.json.decode((home.root / "restored.json").read_bytes(), type=Restored)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigError(f"{home.root / 'restored.json'} is damaged") from None


def _make_clone(home: Home, keystore: Keystore, now_s: float) -> int:
    """Make the restored ledger a clone, and return the last generation that it does not join with."""
    with Registry(home.root / "data", keystore).changing() as contents:
        # The lost node may have numbered further rows. It gave out less than one number a second, and so has
        # every node that was restored before this one: the time is ahead of all of them.
        contents.counter = max(contents.counter + 1, int(now_s))
        generation = contents.counter
    with SealedRows(home.root / LEDGER, keystore.key_for("ledger")) as rows:
        Ledger(rows, b"").mark_clone(generation)
    return generation


def _leave_out(copy: Path) -> None:
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as database:
            database.execute("PRAGMA secure_delete=ON").fetchall()
            database.executemany("DELETE FROM rows WHERE kind = ?", [(kind,) for kind in LEFT_OUT])
            database.execute("VACUUM")
    except sqlite3.Error as error:
        raise UnavailableError(f"the ledger cannot be copied: {error}") from error


def _kept(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the data sets, models and evaluations: files that never change once they have their name."""
    for folder in ("data", "models", "evaluations"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in {".sealed", ".parquet", ".model"}:
                yield path.relative_to(root).as_posix(), path
