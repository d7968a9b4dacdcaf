"""Uploads in parts, and what they leave behind."""

from __future__ import annotations

import hashlib
import os

import pytest

from fedanomaly.errors import CapacityError, MessageError, NotFoundError, ReplayError, UnavailableError
from fedanomaly.protocol import Stored
from fedanomaly.storage import BlobStore, write_durably

A, B = b"a" * 32, b"b" * 32
PART = 1000


@pytest.fixture
def open_store(tmp_path):
    return lambda: BlobStore(tmp_path / "blobs", part_bytes=PART, max_blob_bytes=100_000, max_staged_bytes=200_000)


@pytest.fixture
def store(open_store):
    return open_store()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def whole(blob) -> bytes:
    return blob.read(0, blob.size)


def put_part(store, owner, data, number, *, part=None, said=None) -> None:
    part = data[number * PART : (number + 1) * PART] if part is None else part
    writer = store.part(owner, sha256(data), len(data), number, said or sha256(part))
    if writer is not None:
        with writer:
            writer.write(part[:7])
            writer.write(part[7:])
            writer.commit()


def upload(store, owner, data) -> bytes:
    for number in range(-(-len(data) // PART)):
        put_part(store, owner, data, number)
    store.complete(owner, sha256(data), len(data))
    return sha256(data)


def files(store) -> list[str]:
    return sorted(str(p.relative_to(store._kept.parent)) for p in store._kept.parent.rglob("*") if p.is_file())


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
def test_an_upload_is_kept_whole(store, size):
    data = os.urandom(size)
    digest = upload(store, A, data)
    assert not store.has(digest)
    assert whole(store.staged(A, digest, size)) == data
    store.keep(A, digest, size)
    assert whole(store.open(digest)) == data
    assert files(store) == [f"kept/{digest.hex()[:2]}/{digest.hex()}"]


def test_an_upload_resumes_where_it_stopped(store, open_store):
    data = os.urandom(2500)
    put_part(store, A, data, 2)
    put_part(store, A, data, 0)
    again = open_store()
    present = again.parts(A, sha256(data), 2500)
    assert present == {0: sha256(data[:1000]), 2: sha256(data[2000:])}
    put_part(again, A, data, 1)
    again.complete(A, sha256(data), 2500)
    assert again.parts(A, sha256(data), 2500) is None
    assert whole(again.staged(A, sha256(data), 2500)) == data


def test_a_part_with_another_digest_is_refused_and_the_first_is_kept(store):
    data = os.urandom(2500)
    put_part(store, A, data, 0)
    with pytest.raises(ReplayError):
        put_part(store, A, data, 0, part=bytes(1000))
    put_part(store, A, data, 0)
    assert store.parts(A, sha256(data), 2500) == {0: sha256(data[:1000])}


def test_nobody_spoils_the_upload_of_somebody_else(store):
    data = os.urandom(1500)
    put_part(store, B, data, 0, part=bytes(1000))
    upload(store, A, data)
    assert whole(store.staged(A, sha256(data), 1500)) == data
    with pytest.raises(NotFoundError):
        store.staged(B, sha256(data), 1500)
    with pytest.raises(NotFoundError):
        store.keep(B, sha256(data), 1500)


@pytest.mark.parametrize("piece", [b"", bytes(999), bytes(1001), os.urandom(1000)])
def test_a_part_that_is_not_what_it_says_leaves_nothing(store, piece):
    data = bytes(2000)
    with pytest.raises(MessageError):
        put_part(store, A, data, 0, part=piece, said=sha256(bytes(1000)))
    assert files(store) == []


def test_a_part_left_without_commit_leaves_nothing(store):
    with store.part(A, sha256(bytes(2000)), 2000, 0, sha256(bytes(1000))) as writer:
        writer.write(bytes(1000))
    assert files(store) == []


def test_a_whole_that_is_not_what_its_name_says_starts_over(store):
    data = os.urandom(2000)
    for number in (0, 1):
        put_part(store, A, data, number, part=bytes(1000))
    with pytest.raises(MessageError):
        store.complete(A, sha256(data), 2000)
    assert files(store) == []
    assert store.parts(A, sha256(data), 2000) == {}


def test_an_incomplete_upload_does_not_complete(store):
    data = os.urandom(2000)
    put_part(store, A, data, 1)
    with pytest.raises(MessageError):
        store.complete(A, sha256(data), 2000)
    assert store.parts(A, sha256(data), 2000) == {1: sha256(data[1000:])}


def test_an_empty_blob_has_one_name_only(store):
    with pytest.raises(MessageError):
        store.complete(A, sha256(b"x"), 0)


def test_completing_and_keeping_again_is_fine(store):
    data = os.urandom(1500)
    digest = upload(store, A, data)
    store.complete(A, digest, 1500)
    store.keep(A, digest, 1500)
    store.keep(A, digest, 1500)
    upload(store, A, data)
    upload(store, B, data)
    store.keep(B, digest, 1500)
    assert whole(store.staged(B, digest, 1500)) == data
    with pytest.raises(NotFoundError):
        store.staged(B, digest, 1499)


def test_a_blob_beyond_the_limit_is_refused(store):
    digest = sha256(b"x")
    for call in (
        lambda: store.part(A, digest, 100_001, 0, digest),
        lambda: store.parts(A, digest, 100_001),
        lambda: store.complete(A, digest, 100_001),
        lambda: store.complete(A, digest, -1),
    ):
        with pytest.raises(CapacityError):
            call()


@pytest.mark.parametrize("number", [-1, 2, 10**9])
def test_a_part_that_the_blob_does_not_have_is_refused(store, number):
    with pytest.raises(MessageError):
        store.part(A, sha256(b"x"), 2000, number, sha256(b"x"))


def test_who_stages_too_much_loses_the_oldest_and_others_lose_nothing(store):
    first, second, third = (os.urandom(90_000) for _ in range(3))
    put_part(store, B, first, 0)
    for at, data in enumerate((first, second)):
        put_part(store, A, data, 0)
        os.utime(store._folder(A, sha256(data), 90_000), (at, at))
    put_part(store, A, third, 0)
    assert store.parts(A, sha256(first), 90_000) == {}
    assert len(store.parts(A, sha256(second), 90_000)) == 1
    assert len(store.parts(A, sha256(third), 90_000)) == 1
    assert len(store.parts(B, sha256(first), 90_000)) == 1


def test_many_tiny_uploads_are_bounded(store):
    for n in range(20):
        put_part(store, A, bytes([n]), 0)
    assert len(files(store)) == 3


def test_what_a_crash_left_half_written_is_removed_at_the_next_start(store, open_store):
    data = os.urandom(2000)
    put_part(store, A, data, 0)
    crashed = store.part(A, sha256(data), 2000, 1, sha256(data[1000:]))
    crashed.write(data[1000:1500])
    crashed._file._file.flush()
    assert len(files(store)) == 2
    again = open_store()
    assert len(files(again)) == 1
    assert again.parts(A, sha256(data), 2000) == {0: sha256(data[:1000])}
    crashed._file.abandon()


def test_what_comes_piece_by_piece_is_kept_under_its_digest(store):
    for _ in range(2):
        assert store.store([b"mi", b"", b"ne"]) == Stored(sha256(b"mine"), 4)
        assert whole(store.open(sha256(b"mine"))) == b"mine"
    assert len(files(store)) == 1


def test_nothing_is_kept_of_pieces_that_end_in_an_error(store):
    def pieces():
        yield b"mine"
        raise MessageError("a part is malformed")

    with pytest.raises(MessageError, match="malformed"):
        store.store(pieces())
    assert files(store) == []


def test_what_was_removed_is_not_there_and_may_come_again(store):
    digest = store.store([b"mine"]).digest
    opened = store.open(digest)
    assert (store.remove(digest), store.remove(digest)) == (True, False)
    with pytest.raises(NotFoundError):
        opened.read(0, 4)
    assert store.store([b"mine"]).digest == digest
    assert opened.read(1, 2) == b"in"
    with pytest.raises(UnavailableError, match="cut short"):
        opened.read(1, 4)


def test_a_range_is_streamed(store, monkeypatch):
    monkeypatch.setattr("fedanomaly.storage.blobs.CHUNK_BYTES", 3)
    digest = store.store([b"0123456789"]).digest
    assert list(store.stream(digest, 2, 9)) == [b"234", b"567", b"8"]
    assert list(store.stream(digest, 8, 99)) == [b"89"]
    assert list(store.stream(digest, 4, 4)) == []


def test_what_is_not_there_is_not_found(store):
    with pytest.raises(NotFoundError):
        store.open(sha256(b"x"))


def test_a_disk_that_fails_may_be_retried(store):
    data = os.urandom(1000)
    with store.part(A, sha256(data), 1000, 0, sha256(data)) as writer:
        writer.write(data)
        writer._file._temporary.unlink()
        with pytest.raises(UnavailableError):
            writer.commit()
    (store._kept / sha256(b"y").hex()[:2]).write_bytes(b"a file where a folder should be")
    with pytest.raises(UnavailableError):
        store.store([b"y"])


@pytest.mark.parametrize("digest", [b"", b"../../../etc/passwd", bytes(31), bytes(33)])
def test_bytes_that_are_no_digest_make_no_path(store, digest):
    for call in (
        lambda: store.has(digest),
        lambda: store.parts(digest, A, 1),
        lambda: store.part(A, digest, 1, 0, A),
        lambda: store.part(A, A, 1, 0, digest),
    ):
        with pytest.raises(MessageError):
            call()


def test_a_durable_write_replaces_the_old_file_and_is_private(tmp_path):
    write_durably(tmp_path / "key", b"old")
    write_durably(tmp_path / "key", b"new")
    assert [(p.name, p.read_bytes(), p.stat().st_mode & 0o777) for p in tmp_path.iterdir()] == [("key", b"new", 0o600)]
