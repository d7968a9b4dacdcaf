"""Encrypted scores of events that come one by one, in a thread or on an event loop."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors import Detector
from fedanomaly.detectors.scoring import check_no_infinity
from fedanomaly.errors import ConfigError, DataError, ShapeError
from fedanomaly.scoring.micro_batches import MicroBatches
from fedanomaly.scoring.resending import Stop
from fedanomaly.scoring.scored import Scored, Scores
from fedanomaly.types import Floats

Score = Callable[[Floats, Stop], Scored]
"""Scores rows, and gives up between two batches or tries once it is told to."""
MAX_DELAY_MS = 3_600_000.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When a micro-batch begins.

    Parameters
    ----------
    max_events : int
        Once so many events wait.
    max_delay_ms : float
        Once the oldest has waited so long.
    workers : int
        Batches under way at a time; while there are so many, none begins.

    Raises
    ------
    ConfigError
        If there is no such pace.
    """

    max_events: int
    max_delay_ms: float
    workers: int

    def __post_init__(self) -> None:
        if self.max_events < 1 or self.workers < 1 or not 0.0 <= self.max_delay_ms <= MAX_DELAY_MS:
            raise ConfigError("a micro-batch has at least 1 event and waits for 0 ms to an hour")


@dataclass(frozen=True, eq=False)
class _Given:
    rows: Floats
    checked: bool
    """Whether they are checked already."""


def stream(detector: Detector, score: Score, source: Iterable[Any], pace: Pace, stop: Stop) -> Iterator[Scores]:
    """Yield the scores of each input, in order; `EncryptedScorer.stream` says how."""
    batches = _batches(detector, score, pace, stop)

    def read() -> None:
        try:
            for item in source:
                given = _given(detector, item)
                if not batches.put(given, _size(given)):
                    return
        except BaseException as error:  # noqa: BLE001 - whoever reads the stream raises it
            batches.end(error)
        else:
            batches.end()

    try:
        # Nobody can end a thread that waits for a source, so it is left alone when the stream is closed.
        threading.Thread(target=read, name="encrypted-stream", daemon=True).start()
        while True:
            batch = batches.next()
            if batch.error is not None:
                raise batch.error
            yield from batch.results
            if batch.last:
                return
    finally:
        stop.set()
        batches.close()
        batches.join()


async def astream(
    detector: Detector, score: Score, source: AsyncIterable[Any], pace: Pace, stop: Stop
) -> AsyncIterator[Scores]:
    """Yield the scores of each input, in order; `EncryptedScorer.astream` says how."""
    loop = asyncio.get_running_loop()
    room, ready = asyncio.Event(), asyncio.Event()

    def wake() -> None:
        room.set()
        ready.set()

    def changed() -> None:
        if not stop.is_set():
            loop.call_soon_threadsafe(wake)

    batches = _batches(detector, score, pace, stop, changed)

    async def read() -> None:
        try:
            async for item in source:
                given = _given(detector, item)
                room.clear()
                while not batches.offer(given, _size(given)):
                    await room.wait()
                    room.clear()
        except BaseException as error:  # noqa: BLE001 - whoever reads the stream raises it
            batches.end(error)
        else:
            batches.end()

    reader = asyncio.create_task(read())
    try:
        while True:
            ready.clear()
            batch = batches.pop()
            if batch is None:
                await ready.wait()
                continue
            if batch.error is not None:
                raise batch.error
            for scores in batch.results:
                yield scores
            if batch.last:
                return
    finally:
        stop.set()
        batches.close()
        reader.cancel()
        await asyncio.wait([reader])
        await asyncio.to_thread(batches.join)


async def ascore(detector: Detector, score: Score, X: npt.ArrayLike, stop: Stop) -> Scored:
    """Return the scores of rows while the event loop goes on; `EncryptedScorer.ascore` says how."""
    work = asyncio.ensure_future(asyncio.to_thread(lambda: score(detector.checked(X), stop)))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        work.exception()  # seen: the caller has other plans
        raise


def _batches(
    detector: Detector, score: Score, pace: Pace, stop: Stop, changed: Callable[[], None] = lambda: None
) -> MicroBatches[_Given, Scores]:
    def scores_of(inputs: list[_Given]) -> list[Scores]:
        ends = np.cumsum([len(given.rows) for given in inputs]).tolist()
        scored = score(_rows(detector, inputs), stop)
        return [scored[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    return MicroBatches(
        scores_of,
        max_events=pace.max_events,
        max_delay_s=pace.max_delay_ms / 1000.0,
        workers=pace.workers,
        changed=changed,
    )


def _given(detector: Detector, item: Any) -> _Given:  # noqa: ANN401 - whatever detectors take
    """Return an input, checked, so that a bad one is known by its place; a copy, for its owner may fill it anew."""
    if hasattr(item, "columns"):
        return _Given(np.array(detector.checked(item)), checked=True)
    try:
        rows = np.array(item, dtype=np.float64, ndmin=2)
    except (TypeError, ValueError):
        raise DataError("an input of a stream is one event or several, in numbers") from None
    if rows.ndim != 2 or rows.shape[1] != detector.n_features_in_:
        raise ShapeError(f"an event has {detector.n_features_in_} readings, and the input is of shape {np.shape(item)}")
    check_no_infinity(rows)
    return _Given(rows, checked=False)


def _rows(detector: Detector, inputs: list[_Given]) -> Floats:
    if not any(given.checked for given in inputs):
        return detector.checked(np.concatenate([given.rows for given in inputs]))
    return np.concatenate([given.rows if given.checked else detector.checked(given.rows) for given in inputs])


def _size(given: _Given) -> int:
    return max(1, len(given.rows))
