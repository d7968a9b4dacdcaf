"""One part of an upload on its way to disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Self

from fedanomaly.errors import MessageError, StorageError
from fedanomaly.storage.durable import ROOM, NewFile

DIGEST_BYTES = 32


class PartWriter:
    """Takes one part in, piece by piece; nothing of it counts before `commit`.

    Use it as a context manager: leaving without `commit` forgets the part.
    """

    def __init__(self, target: Path, size: int, digest: bytes) -> None:
        self._target, self._size, self._digest = target, size, digest
        self._hash = hashlib.sha256()
        self._written = 0
        self._file = NewFile(target.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.abandon()

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises
        ------
        MessageError
            If the part is longer than it may be.
        StorageError
            If the disk does not take it.
        """
        self._written += len(piece)
        if self._written > self._size:
            raise MessageError("the part is longer than the blob's size allows")
        self._hash.update(piece)
        with Disk():
            self._file.write(piece)

    def commit(self) -> None:
        """Make the part durable.

        Raises
        ------
        MessageError
            If it is cut short, or is not what its digest says.
        """
        if self._written != self._size or self._hash.digest() != self._digest:
            raise MessageError("the part is not what its size and digest say")
        with Disk():
            self._file.commit(self._target)


class Disk:
    """Turns a full or failing disk into an answer that may be retried."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise StorageError(f"the blob folder is not usable: {error.strerror}", hint=ROOM) from error


def name_of(digest: bytes) -> str:
    """Return the file name of a digest or owner.

    Raises
    ------
    MessageError
        If it is not one: no path can be made of anything else.
    """
    if len(digest) != DIGEST_BYTES:
        raise MessageError(f"a digest or owner has {DIGEST_BYTES} bytes")
    return digest.hex()
