"""The rules of every store, run on every implementation of it."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from fedanomaly.errors import RefusedError, ReplayError
from fedanomaly.storage import MemoryRows, SealedRows
from fedanomaly.storage.envelopes import EnvelopeLog

KEY = bytes(range(32))


def memory_rows(_tmp_path):
    return MemoryRows()


def sealed_rows(tmp_path):
    return SealedRows(tmp_path / "rows.sqlite", KEY)


@pytest.fixture(params=[memory_rows, sealed_rows])
def rows(request, tmp_path):
    opened = request.param(tmp_path)
    yield opened
    if isinstance(opened, SealedRows):
        opened.close()


class TestRows:
    def test_what_was_put_is_read_back(self, rows):
        rows.put([("join", b"k", b"value")])
        assert rows.get("join", b"k") == b"value"

    def test_what_was_not_put_is_none(self, rows):
        rows.put([("join", b"k", b"value")])
        assert rows.get("join", b"other") is None
        assert rows.get("open", b"k") is None
        assert list(rows.all("open")) == []

    def test_the_same_value_again_is_fine(self, rows):
        rows.put([("join", b"k", b"value")])
        rows.put([("join", b"k", b"value"), ("join", b"l", b"more")])
        assert list(rows.all("join")) == [(b"k", b"value"), (b"l", b"more")]

    def test_an_empty_value_is_a_value(self, rows):
        rows.put([("join", b"", b"")])
        assert rows.get("join", b"") == b""
        with pytest.raises(ReplayError):
            rows.put([("join", b"", b"x")])

    def test_another_value_is_refused_and_nothing_of_its_batch_is_written(self, rows):
        rows.put([("open", b"k", b"first")])
        with pytest.raises(ReplayError):
            rows.put([("join", b"before", b"1"), ("open", b"k", b"second"), ("join", b"after", b"2")])
        assert rows.get("open", b"k") == b"first"
        assert list(rows.all("join")) == []

    def test_a_batch_that_contradicts_itself_is_refused_whole(self, rows):
        with pytest.raises(ReplayError):
            rows.put([("open", b"k", b"first"), ("open", b"k", b"second")])
        assert rows.get("open", b"k") is None

    def test_a_batch_may_repeat_itself(self, rows):
        rows.put([("open", b"k", b"first"), ("open", b"k", b"first")])
        assert list(rows.all("open")) == [(b"k", b"first")]

    def test_a_refused_batch_does_not_stop_the_next_one(self, rows):
        rows.put([("open", b"k", b"first")])
        with pytest.raises(ReplayError):
            rows.put([("open", b"k", b"second")])
        rows.put([("open", b"l", b"third")])
        assert rows.get("open", b"l") == b"third"

    def test_all_keeps_the_order_of_writing(self, rows):
        keys = [bytes([n * 37 % 256]) for n in range(20)]
        for key in keys:
            rows.put([("join", key, b"v" + key), ("other", key, b"")])
        assert [key for key, _ in rows.all("join")] == keys

    def test_an_erased_row_is_gone_and_may_be_written_anew_at_the_end(self, rows):
        rows.put([("f", b"a", b"1"), ("f", b"b", b"2"), ("f", b"c", b"3")])
        rows.erase("f", b"a")
        assert rows.get("f", b"a") is None
        rows.put([("f", b"a", b"other")])
        assert list(rows.all("f")) == [(b"b", b"2"), (b"c", b"3"), (b"a", b"other")]

    def test_erasing_what_is_not_there_is_fine(self, rows):
        rows.erase("f", b"a")
        assert list(rows.all("f")) == []

    def test_of_many_threads_exactly_one_value_wins(self, rows):
        start = threading.Barrier(8)

        def claim(n: int) -> bool:
            start.wait()
            try:
                rows.put([("open", b"k", bytes([n]))])
            except ReplayError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(claim, range(8)))
        assert won.count(True) == 1
        assert rows.get("open", b"k") == bytes([won.index(True)])


@pytest.fixture(params=[EnvelopeLog.open])
def open_log(request, tmp_path):
    return lambda: request.param(tmp_path / "coordinator.sqlite")


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def add(log: EnvelopeLog, data: bytes, at: float = 5.0) -> int:
    return await log.append(data, digest(data), at)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
class TestEnvelopeLog:
    @pytest.fixture
    async def log(self, open_log):
        log = await open_log()
        yield log
        await log.close()

    async def test_positions_count_from_one_without_gaps(self, log):
        assert await log.head() == 0
        assert [await add(log, bytes([n])) for n in range(4)] == [1, 2, 3, 4]
        assert await log.head() == 4

    async def test_the_same_envelope_keeps_its_first_position(self, log):
        await add(log, b"a")
        await add(log, b"b")
        assert await add(log, b"a", at=9.0) == 1
        assert [(r.seq, r.received_at, r.data) for r in await log.read(0, 10)] == [(1, 5.0, b"a"), (2, 5.0, b"b")]

    async def test_concurrent_writers_leave_no_gap(self, log):
        async def write(n: int) -> None:
            await add(log, bytes([n]))

        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(write, n)
        records = await log.read(0, 100)
        assert [r.seq for r in records] == list(range(1, 21))
        assert {r.data for r in records} == {bytes([n]) for n in range(20)}

    async def test_reading_starts_after_the_cursor_and_ends_at_the_limit(self, log):
        for n in range(5):
            await add(log, bytes([n]))
        assert [r.seq for r in await log.read(2, 2)] == [3, 4]
        assert await log.read(5, 2) == []

    async def test_reading_stops_at_the_byte_limit_but_always_moves_on(self, log):
        for n in range(3):
            await add(log, bytes([n]) * 100)
        assert [r.seq for r in await log.read(0, 10, limit_bytes=250)] == [1, 2]
        assert [r.seq for r in await log.read(2, 10, limit_bytes=1)] == [3]

    async def test_find_tells_where_an_envelope_is(self, log):
        await add(log, b"a")
        assert await log.find(digest(b"a")) == 1
        assert await log.find(digest(b"b")) is None

    async def test_an_invitation_admits_one_enrolment(self, log):
        await log.invite(b"h" * 32, "north", 100.0)
        assert await log.enrol(b"h" * 32, b"m" * 32, b"env", digest(b"env"), 50.0) == 1
        with pytest.raises(ReplayError):
            await log.enrol(b"h" * 32, b"n" * 32, b"env2", digest(b"env2"), 50.0)
        with pytest.raises(ReplayError):
            await log.enrol(b"h" * 32, b"m" * 32, b"env3", digest(b"env3"), 50.0)
        assert await log.head() == 1

    async def test_an_enrolment_whose_answer_was_lost_may_be_sent_again(self, log):
        await log.invite(b"h" * 32, "north", 100.0)
        await log.enrol(b"h" * 32, b"m" * 32, b"env", digest(b"env"), 50.0)
        assert await log.enrol(b"h" * 32, b"m" * 32, b"env", digest(b"env"), 500.0) == 1

    async def test_an_unknown_or_expired_invitation_admits_nobody(self, log):
        await log.invite(b"h" * 32, "north", 100.0)
        for secret_hash in (b"h" * 32, b"i" * 32):
            with pytest.raises(RefusedError):
                await log.admits(secret_hash, b"m" * 32, digest(b"env"), 100.0)
            with pytest.raises(RefusedError):
                await log.enrol(secret_hash, b"m" * 32, b"env", digest(b"env"), 100.0)
        assert await log.head() == 0

    async def test_an_invitation_is_made_once(self, log):
        await log.invite(b"h" * 32, "north", 100.0)
        with pytest.raises(ReplayError):
            await log.invite(b"h" * 32, "south", 200.0)
        assert await log.admits(b"h" * 32, b"m" * 32, b"d" * 32, 99.0) == "north"

    async def test_of_concurrent_enrolments_with_one_invitation_one_wins(self, log):
        await log.invite(b"h" * 32, "north", 100.0)
        won = []

        async def enrol(n: int) -> None:
            try:
                await log.enrol(b"h" * 32, bytes([n]) * 32, bytes([n]), digest(bytes([n])), 50.0)
            except ReplayError:
                return
            won.append(n)

        async with anyio.create_task_group() as group:
            for n in range(6):
                group.start_soon(enrol, n)
        assert len(won) == 1
        assert [r.data for r in await log.read(0, 9)] == [bytes(won)]

    async def test_everything_is_there_after_reopening(self, log, open_log):
        await log.invite(b"h" * 32, "north", 100.0)
        await add(log, b"a")
        await log.close()
        again = await open_log()
        assert [r.data for r in await again.read(0, 9)] == [b"a"]
        assert await again.admits(b"h" * 32, b"m" * 32, b"d" * 32, 99.0) == "north"
        assert await add(again, b"b") == 2
        await again.close()
