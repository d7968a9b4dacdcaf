"""Blobs in a local folder, named by their SHA-256.

    kept/ab/abcd…               whole blobs that everybody may read
    staged/OWNER/DIGEST.SIZE/   an upload under way; only its owner can touch it
        00000.PARTDIGEST        a part that has arrived
        whole                   all of it, checked; a blob of one part arrives as this

An upload is staged under its owner's name, so nobody can spoil or fill up the
upload of somebody else; it is kept once its owner has put it to use. An owner who
stages too much loses the oldest, so a bad one cannot fill the disk and an unlucky
one is never stuck. Every file is durable and whole before it has its name
(`durable`): a crash at any point leaves nothing or all of it.

Plain files, not obstore: parts are hashed and counted while they stream in, and
staging needs list, rename and sync, which an object store's interface hides.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from fedanomaly.errors import CapacityError, MessageError, NotFoundError, ReplayError, UnavailableError
from fedanomaly.protocol import Stored
from fedanomaly.storage.durable import TEMPORARY_SUFFIX, NewFile, remove_left_overs, sync_folder
from fedanomaly.storage.parts import Disk, PartWriter, name_of

CHUNK_BYTES = 128 * 1024
# An upload counts as this much at least: folders of tiny ones fill a disk as well.
LEAST_STAGED_BYTES = 64 * 1024
_WHOLE = "whole"


class StoredBlob:
    """A blob on disk, read a window at a time; its file is open during a read only.

    Parameters
    ----------
    path : Path
        Where it lies; it is whole.
    size : int
        Its length in bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self.size = path, size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on.

        Raises
        ------
        NotFoundError
            If the blob has been removed.
        UnavailableError
            If the disk does not give them.
        """
        with Disk():
            try:
                with self._path.open("rb", buffering=0) as file:
                    data = os.pread(file.fileno(), length, offset)
            except FileNotFoundError:
                raise NotFoundError("no such blob") from None
        if len(data) != length:
            raise UnavailableError("a blob is cut short")
        return data


class BlobStore:
    """Content-addressed files with resumable uploads; safe to share between threads.

    Parameters
    ----------
    root : Path
        Its folder; made if it is not there.
    part_bytes : int
        Size of all parts of an upload but the last.
    max_blob_bytes : int
        Size that no blob may exceed.
    max_staged_bytes : int
        Bytes that one owner may have announced and not yet put to use; no less
        than `max_blob_bytes`.
    """

    def __init__(self, root: Path, *, part_bytes: int, max_blob_bytes: int, max_staged_bytes: int) -> None:
        self.max_blob_bytes = max_blob_bytes
        self._part_bytes = part_bytes
        self._max_staged_bytes = max(max_staged_bytes, max_blob_bytes)
        self._kept = root / "kept"
        self._staged = root / "staged"
        self._lock = threading.Lock()
        with Disk():
            for folder in (self._kept, self._staged):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_left_overs(root)

    def has(self, digest: bytes) -> bool:
        """Whether a blob is kept."""
        return self._kept_path(digest).is_file()

    def parts(self, owner: bytes, digest: bytes, size: int) -> dict[int, bytes] | None:
        """Return number and digest of every part that has arrived; None if the blob is whole.

        Raises
        ------
        CapacityError
            If no blob may have this size.
        """
        self._check_size(size)
        folder = self._folder(owner, digest, size)
        if self.has(digest) or (folder / _WHOLE).is_file():
            return None
        names = [path.name for path in folder.glob("?????.*") if path.suffix != TEMPORARY_SUFFIX]
        return {int(name[:5]): bytes.fromhex(name[6:]) for name in names}

    def part(self, owner: bytes, digest: bytes, size: int, number: int, part_digest: bytes) -> PartWriter | None:
        """Return a writer for one part, or None if this very part is there.

        The only part of a blob is the blob: its writer completes the upload.

        Parameters
        ----------
        owner : bytes
            Public key of whoever uploads.
        digest : bytes
            Name of the blob.
        size : int
            Size of the blob in bytes.
        number : int
            Which part, from 0.
        part_digest : bytes
            SHA-256 of the part.

        Raises
        ------
        CapacityError
            If no blob may have this size.
        MessageError
            If there is no such part, or it is all of the blob and not what its name says.
        ReplayError
            If the part is there with another digest.
        """
        count = self._part_count(size)
        if not 0 <= number < count:
            raise MessageError("the blob has no such part")
        if count == 1 and part_digest != digest:
            raise MessageError("the blob is not what its digest says")
        expected = min(self._part_bytes, size - number * self._part_bytes)
        with self._lock, Disk():
            present = self.parts(owner, digest, size)
            if present is None or present.get(number) == part_digest:
                return None
            if number in present:
                raise ReplayError("this part of the blob is there with another digest")
            folder = self._folder(owner, digest, size)
            if not folder.is_dir():
                self._make_room(folder.parent, size)
                folder.mkdir(mode=0o700, parents=True)
            name = _WHOLE if count == 1 else f"{number:05d}.{name_of(part_digest)}"
            return PartWriter(folder / name, expected, part_digest)

    def complete(self, owner: bytes, digest: bytes, size: int) -> None:
        """Join the parts of an upload and check the whole; the same again is fine.

        Raises
        ------
        MessageError
            If a part is missing; or if the whole is not what its name says, and
            then the upload starts over.
        """
        with self._lock, Disk():
            present = self.parts(owner, digest, size)
            if present is None:
                return
            if len(present) != self._part_count(size):
                raise MessageError("parts of the blob are missing")
            folder = self._folder(owner, digest, size)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            parts = [folder / f"{number:05d}.{present[number].hex()}" for number in range(len(present))]
            if not _join(parts, folder / _WHOLE, digest):
                shutil.rmtree(folder)
                raise MessageError("the blob is not what its digest says")
            for path in parts:
                path.unlink()

    def staged(self, owner: bytes, digest: bytes, size: int) -> StoredBlob:
        """Return a blob that is kept, or that `owner` has completed.

        Raises
        ------
        NotFoundError
            If it is neither, or has another size.
        """
        for path in (self._kept_path(digest), self._folder(owner, digest, size) / _WHOLE):
            if path.is_file() and path.stat().st_size == size:
                return StoredBlob(path, size)
        raise NotFoundError("no such blob has been uploaded")

    def keep(self, owner: bytes, digest: bytes, size: int) -> None:
        """Move a completed upload to where everybody may read it; the same again is fine."""
        with self._lock, Disk():
            folder = self._folder(owner, digest, size)
            if not self.has(digest):
                if not (folder / _WHOLE).is_file():
                    raise NotFoundError("no such blob has been uploaded")
                (folder / _WHOLE).rename(self._kept_path(digest, make_folder=True))
                sync_folder(self._kept_path(digest).parent)
            shutil.rmtree(folder, ignore_errors=True)

    def store(self, pieces: Iterable[bytes]) -> Stored:
        """Keep durably what comes piece by piece; nothing is kept if `pieces` raises."""
        hashed, size = hashlib.sha256(), 0
        with NewFile(self._kept) as file:
            for piece in pieces:
                hashed.update(piece)
                size += len(piece)
                with Disk():
                    file.write(piece)
            digest = hashed.digest()
            if not self.has(digest):
                with self._lock, Disk():
                    file.commit(self._kept_path(digest, make_folder=True))
        return Stored(digest, size)

    def open(self, digest: bytes) -> StoredBlob:
        """Return a kept blob to read from.

        Raises
        ------
        NotFoundError
            If there is no such blob.
        """
        path = self._kept_path(digest)
        try:
            return StoredBlob(path, path.stat().st_size)
        except FileNotFoundError:
            raise NotFoundError("no such blob") from None

    def remove(self, digest: bytes) -> bool:
        """Remove a kept blob for good; returns whether there was one."""
        with self._lock, Disk():
            if not self.has(digest):
                return False
            self._kept_path(digest).unlink()
            return True

    def stream(self, digest: bytes, start: int, stop: int) -> Iterator[bytes]:
        """Return the bytes from `start` up to `stop` of a kept blob, in pieces."""
        with self._kept_path(digest).open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(CHUNK_BYTES, stop - start))):
                start += len(piece)
                yield piece

    def _part_count(self, size: int) -> int:
        return -(-size // self._part_bytes)

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.max_blob_bytes:
            raise CapacityError(f"a blob may have {self.max_blob_bytes} bytes at most")

    def _make_room(self, uploads: Path, size: int) -> None:
        """Drop the oldest uploads of an owner until one of `size` bytes more is allowed."""
        oldest_first = sorted(uploads.glob("*"), key=lambda upload: upload.stat().st_mtime_ns)
        staged = sum(_counted(upload) for upload in oldest_first) + max(size, LEAST_STAGED_BYTES)
        for upload in oldest_first:
            if staged <= self._max_staged_bytes:
                return
            staged -= _counted(upload)
            shutil.rmtree(upload)

    def _kept_path(self, digest: bytes, *, make_folder: bool = False) -> Path:
        name = name_of(digest)
        folder = self._kept / name[:2]
        if make_folder and not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._kept)
        return folder / name

    def _folder(self, owner: bytes, digest: bytes, size: int) -> Path:
        return self._staged / name_of(owner) / f"{name_of(digest)}.{size}"


def _counted(upload: Path) -> int:
    return max(int(upload.name.split(".")[1]), LEAST_STAGED_BYTES)


def _join(parts: list[Path], target: Path, digest: bytes) -> bool:
    hashed = hashlib.sha256()
    with NewFile(target.parent) as file:
        for part in parts:
            with part.open("rb") as source:
                while piece := source.read(CHUNK_BYTES):
                    hashed.update(piece)
                    file.write(piece)
        if hashed.digest() != digest:
            return False
        file.commit(target)
    return True
