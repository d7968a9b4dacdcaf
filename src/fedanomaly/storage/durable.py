"""Files that are there whole or not at all.

A new file is written under a temporary name in the folder where it belongs,
synced, then renamed over its name, and the folder is synced: rename is atomic
within one file system, and without the last sync a power cut may forget it
(POSIX `rename`, Linux `fsync(2)`).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Self

TEMPORARY_SUFFIX = ".tmp"


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
        handle, name = tempfile.mkstemp(suffix=TEMPORARY_SUFFIX, dir=folder)
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.abandon()

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._file.write(piece)

    def commit(self, target: Path) -> None:
        """Make it durable under its name; an older file of that name is replaced."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.rename(target)
        sync_folder(target.parent)

    def abandon(self) -> None:
        """Close it, and remove it unless it was committed."""
        try:
            self._file.close()
        finally:
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
