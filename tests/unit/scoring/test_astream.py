"""The same on an event loop: order, errors and cancellation."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from fedanomaly.errors import ShapeError, UnavailableError
from fedanomaly.scoring import EncryptedScorer, InProcess
from tests.unit.coordinator.conftest import until
from tests.unit.scoring.test_stream import DETECTOR, ROWS, Gate, close_to, nothing_stays, threads

__all__ = ["nothing_stays"]


async def given(rows):
    for row in rows:
        yield row


async def met(condition):
    """Wait for something that a thread does, while the loop goes on."""
    await asyncio.to_thread(until, condition)


def test_each_event_has_its_score_in_order_while_the_loop_goes_on():
    async def run():
        scorer, turns = EncryptedScorer(DETECTOR, InProcess(), workers=2), 0

        async def ticks():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        ticking = asyncio.create_task(ticks())
        found = [scored async for scored in scorer.astream(given(ROWS[:200]), max_events=16)]
        ticking.cancel()
        assert turns > 10
        return found

    found = asyncio.run(run())
    assert len(found) == 200
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))


def test_a_source_waits_while_there_is_no_room():
    async def run():
        service, read = Gate(), []

        async def endless():
            while True:
                read.append(1)
                yield ROWS[0]

        stream = EncryptedScorer(DETECTOR, service, workers=1).astream(endless(), max_events=4)
        await anext(stream)
        await met(lambda: service.answered >= 2)
        for _ in range(40):
            await anext(stream)
            assert len(read) <= 41 + 4 * 5
        await stream.aclose()
        assert service.asked == service.answered

    asyncio.run(run())


@pytest.mark.parametrize("error", [LookupError, ShapeError, UnavailableError])
def test_an_error_comes_after_the_results_before(error):
    class Failing(Gate):
        def answer(self, digest, batch, batch_id, meanwhile):
            if error is UnavailableError and self.answered == 3:
                raise UnavailableError("away")
            return super().answer(digest, batch, batch_id, meanwhile)

    async def source():
        for row in ROWS[:15]:
            yield row
        if error is ShapeError:
            yield np.zeros(3)
        if error is LookupError:
            raise LookupError
        for row in ROWS[15:30]:
            yield row

    async def run():
        stream = EncryptedScorer(DETECTOR, Failing(), workers=1).astream(source(), max_events=5)
        found = [await anext(stream) for _ in range(15)]
        with pytest.raises(error):
            await anext(stream)
        return found

    found = asyncio.run(run())
    assert len(found) == 15
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))


def test_a_cancelled_stream_ends_its_source_and_leaves_no_thread_and_no_request():
    ended = []

    async def source(more):
        try:
            yield ROWS[0]
            await more.wait()
        finally:
            ended.append(True)

    async def run():
        service, more, first = Gate(), asyncio.Event(), asyncio.Event()

        async def consume():
            async for _ in EncryptedScorer(DETECTOR, service).astream(source(more), max_delay_ms=0.0):
                first.set()

        task = asyncio.create_task(consume())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (service.asked, service.answered) == (1, 1)

    asyncio.run(run())
    assert ended == [True]
    assert threads() == []


def test_ascore_gives_what_score_gives():
    scorer = EncryptedScorer(DETECTOR, InProcess())
    scored = asyncio.run(scorer.ascore(ROWS))
    assert close_to(scored, ROWS)
    assert scored.batches == 1


def test_a_cancelled_call_ends_after_the_batch_under_way():
    rows = np.concatenate([ROWS] * 20)  # ten batches
    before = set(threading.enumerate())

    async def run():
        service = Gate()
        service.open.clear()
        scorer = EncryptedScorer(DETECTOR, service, workers=1)
        task = asyncio.create_task(scorer.ascore(rows))
        await met(lambda: service.asked == 1)
        task.cancel()
        service.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service.asked == service.answered <= 3
        return service

    service = asyncio.run(run())
    for thread in set(threading.enumerate()) - before:
        thread.join(30)  # they end once the scorer is gone
        assert not thread.is_alive()
    assert service.asked <= 3
