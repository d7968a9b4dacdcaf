"""Backups: one tar file that is there whole or not at all, and a home that is restored whole or not at all.

The last entry of the tar is a manifest with the size and the SHA-256 of every
file. It finds damage, not forgery: whoever can write a backup can write its
manifest. What must be secret in a backup is sealed before it gets here.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from fedanomaly.errors import ConfigError, DataError, UnavailableError
from fedanomaly.storage.durable import TEMPORARY_SUFFIX, NewFile, sync_folder

MANIFEST = "manifest.json"
FORMAT = "fedanomaly backup"
VERSION = 1
MAX_MANIFEST_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a backup: its size and its SHA-256 (hex)."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup holds.

    Parameters
    ----------
    kind : str
        Whose home it is: ``"coordinator"`` or ``"node"``.
    package : str
        Version of the package that made it.
    made_at : float
        Unix seconds.
    files : dict of str to FileEntry
        By name, relative to the home.
    format, version
        Of this form.
    """

    kind: str
    package: str
    made_at: float
    files: dict[str, FileEntry]
    format: str = FORMAT
    version: int = VERSION


class _Hashing:
    """A file that is hashed and counted while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._hash.update(piece)
        self._size += len(piece)
        return piece

    @property
    def entry(self) -> FileEntry:
        return FileEntry(size=self._size, sha256=self._hash.hexdigest())


def write_backup(
    target: Path, *, kind: str, package: str, made_at: float, files: Iterable[tuple[str, Path]]
) -> Manifest:
    """Write a backup durably, with mode 0600.

    Parameters
    ----------
    target : Path
        The file to make.
    kind, package, made_at
        As in `Manifest`.
    files : iterable of (str, Path)
        Names in the backup, and where each file lies. None may change while it is read.

    Raises
    ------
    ConfigError
        If there is such a file already.
    """
    if target.exists():
        raise ConfigError(f"{target} exists", hint="a backup replaces nothing: choose another file")
    entries: dict[str, FileEntry] = {}
    with NewFile(target.parent) as out:
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for name, path in files:
                with path.open("rb") as file:
                    hashing = _Hashing(file)
                    tar.addfile(_head(name, os.fstat(file.fileno()).st_size, made_at), hashing)  # type: ignore[arg-type]
                entries[name] = hashing.entry
            manifest = Manifest(kind=kind, package=package, made_at=made_at, files=entries)
            text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            tar.addfile(_head(MANIFEST, len(text), made_at), io.BytesIO(text))
        out.commit(target)
    return manifest


def read_backup(source: Path, folder: Path, *, kind: str) -> Manifest:
    """Unpack a backup into an empty folder and check every byte of it.

    Parameters
    ----------
    source : Path
        The backup.
    folder : Path
        Where its files go, each with mode 0600, durably. What lies there after an error is to be thrown away.
    kind : str
        The only one that is taken.

    Raises
    ------
    DataError
        If it is no backup of this kind, or damaged.
    UnavailableError
        If the disk does not take it.
    """
    entries: dict[str, FileEntry] = {}
    text = None
    try:
        with source.open("rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for info in tar:
                piece = tar.extractfile(info) if info.isreg() else None
                if piece is None or text is not None:
                    raise _damaged(source)
                if info.name == MANIFEST:
                    text = piece.read(MAX_MANIFEST_BYTES)
                    continue
                if info.name in entries or not _is_safe(info.name):
                    raise _damaged(source)
                entries[info.name] = _unpack(piece, folder / info.name)  # type: ignore[arg-type]
        manifest = msgspec.json.decode(text or b"", type=Manifest)
    except (tarfile.TarError, EOFError, msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(source) from None
    except OSError as error:
        raise UnavailableError(f"the backup cannot be unpacked: {error.strerror}") from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise DataError(f"{source.name} is a backup of a form that is not known here", hint="use a newer release")
    if manifest.kind != kind:
        raise DataError(f"{source.name} is the backup of a {manifest.kind}, not of a {kind}")
    if manifest.files != entries:
        raise _damaged(source)
    for path in {folder, *folder.rglob("*")}:
        if path.is_dir():
            sync_folder(path)
    return manifest


@contextmanager
def restoring(home: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes the home once the block ends without an error.

    Raises
    ------
    ConfigError
        If there is something at `home` already.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise ConfigError(f"there is something in {home} already", hint="a backup is restored into a new home")
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{home.name}-", suffix=TEMPORARY_SUFFIX, dir=home.parent))
    try:
        yield folder
        folder.rename(home)
        sync_folder(home.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sqlite_copy(path: Path, beside: Path) -> Iterator[Path]:
    """Yield a consistent copy of a database that others may be writing to (SQLite's online backup).

    Parameters
    ----------
    path : Path
        The database.
    beside : Path
        The copy lies next to this file until the block ends.

    Raises
    ------
    UnavailableError
        If it cannot be copied.
    """
    handle, name = tempfile.mkstemp(suffix=TEMPORARY_SUFFIX, dir=beside.parent)
    os.close(handle)
    try:
        try:
            with (
                closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(name)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # all of it in one file
        except sqlite3.Error as error:
            raise UnavailableError(f"{path.name} cannot be copied: {error}") from error
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _head(name: str, size: int, made_at: float) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(made_at)
    return info


def _is_safe(name: str) -> bool:
    """Whether a name stays inside the folder that it is unpacked into."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and "\0" not in name and ".." not in parts


def _unpack(piece: BinaryIO, path: Path) -> FileEntry:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hashing = _Hashing(piece)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        while chunk := hashing.read(CHUNK_BYTES):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return hashing.entry


def _damaged(source: Path) -> DataError:
    return DataError(f"{source.name} is damaged, or no backup", hint="take another copy of it")
