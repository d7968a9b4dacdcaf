"""Inputs that come one by one, scored in batches: what comes while batches are under way waits for the next.

A batch begins when a worker is free and enough events wait, or the oldest has
waited long enough. Under load batches so grow by themselves, and without load an
event waits no longer than was asked for. Nothing here knows what is scored.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Input = TypeVar("Input")
Result = TypeVar("Result")


class Clock:
    """Time, and how a thread waits for it."""

    def now_s(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        """Wait until the condition is notified, or for so long; the caller holds it."""
        condition.wait(timeout_s)


@dataclass(eq=False)
class Batch(Generic[Input, Result]):
    """Some inputs in their order, and what came of them.

    Parameters
    ----------
    inputs : list
        Empty once they are scored.
    results : sequence
        One for each input.
    error : BaseException, optional
        Why there are no results.
    done : bool
        Whether there is something to take.
    last : bool
        Whether nothing follows.
    """

    inputs: list[Input] = field(default_factory=list)
    results: Sequence[Result] = ()
    error: BaseException | None = None
    done: bool = False
    last: bool = False


class MicroBatches(Generic[Input, Result]):
    """Takes inputs, has workers score them, gives results in the order of the inputs. Safe for threads.

    It holds at most `max_events` events and one input that wait, and
    ``2 * workers`` batches that are scored or not yet taken; then it has no room.

    Parameters
    ----------
    score : callable
        Returns one result for each of a list of inputs; called by the workers.
    max_events : int
        Most events of a batch; an input that has more is a batch alone.
    max_delay_s : float
        As long an event waits for others, while a worker is free.
    workers : int
        Batches under way at a time.
    changed : callable, optional
        Called, by whatever thread, when there may be room or something to take.
    clock : Clock, optional
        For tests.
    """

    def __init__(
        self,
        score: Callable[[list[Input]], Sequence[Result]],
        *,
        max_events: int,
        max_delay_s: float,
        workers: int,
        changed: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._score = score
        self._max_events = max_events
        self._max_delay_s = max_delay_s
        self._max_batches = 2 * workers
        self._changed = changed
        self._clock = clock or Clock()
        self._condition = threading.Condition()
        self._waiting: deque[tuple[Input, int, float]] = deque()
        self._events = 0
        self._begun: deque[Batch[Input, Result]] = deque()
        self._ended = self._closed = False
        self._cause: BaseException | None = None
        self._workers = [
            threading.Thread(target=self._work, name=f"micro-batches-{n}", daemon=True) for n in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def offer(self, given: Input, events: int) -> bool:
        """Take an input of so many events if there is room for it; else return False."""
        with self._condition:
            return self._has_room and self._take_in(given, events)

    def put(self, given: Input, events: int) -> bool:
        """Take an input once there is room for it; return False if there never will be."""
        with self._condition:
            while not self._closed:
                if self._has_room:
                    return self._take_in(given, events)
                self._condition.wait()
            return False

    def end(self, error: BaseException | None = None) -> None:
        """Say that no input follows, and why, where that is an error."""
        with self._condition:
            self._ended, self._cause = True, error
            self._condition.notify_all()
        self._changed()

    def pop(self) -> Batch[Input, Result] | None:
        """Return the next batch in order, or None while it is under way."""
        with self._condition:
            return self._pop()

    def next(self) -> Batch[Input, Result]:
        """Return the next batch in order; waits for it."""
        with self._condition:
            while (batch := self._pop()) is None:
                self._condition.wait()
            return batch

    def close(self) -> None:
        """Forget what waits, and begin nothing more."""
        with self._condition:
            self._closed = True
            self._waiting.clear()
            self._condition.notify_all()

    def join(self) -> None:
        """Wait for the workers to end, after `close`; what they have begun they finish."""
        for worker in self._workers:
            worker.join()

    @property
    def _has_room(self) -> bool:
        return not self._closed and self._events < self._max_events

    def _take_in(self, given: Input, events: int) -> bool:
        self._waiting.append((given, events, self._clock.now_s()))
        self._events += events
        # Whoever waits has something to look at only if time begins to run, or the batch is full.
        if len(self._waiting) == 1 or not self._has_room:
            self._condition.notify_all()
        return True

    def _pop(self) -> Batch[Input, Result] | None:
        if self._begun:
            if not self._begun[0].done:
                return None
            self._condition.notify_all()
            return self._begun.popleft()
        if self._ended and not self._waiting:
            return Batch(error=self._cause, done=True, last=True)
        return None

    def _work(self) -> None:
        while (batch := self._begin()) is not None:
            try:
                batch.results = self._score(batch.inputs)
            except BaseException as error:  # noqa: BLE001 - whoever takes the batch raises it
                batch.error = error
            self._finish(batch)

    def _begin(self) -> Batch[Input, Result] | None:
        with self._condition:
            while not self._closed and not (self._ended and not self._waiting):
                wait_s = self._due_in_s()
                if wait_s is not None and wait_s <= 0.0:
                    batch = self._gathered()
                    break
                self._clock.wait(self._condition, wait_s)
            else:
                return None
            self._condition.notify_all()
        self._changed()
        return batch

    def _due_in_s(self) -> float | None:
        """Return after how long a batch is to begin; None: not before something changes."""
        if not self._waiting or len(self._begun) >= self._max_batches:
            return None
        if self._ended or not self._has_room:
            return 0.0
        return self._waiting[0][2] + self._max_delay_s - self._clock.now_s()

    def _gathered(self) -> Batch[Input, Result]:
        batch, events = Batch[Input, Result](), 0
        while self._waiting and (not batch.inputs or events + self._waiting[0][1] <= self._max_events):
            given, more, _ = self._waiting.popleft()
            batch.inputs.append(given)
            events += more
        self._events -= events
        self._begun.append(batch)
        return batch

    def _finish(self, batch: Batch[Input, Result]) -> None:
        with self._condition:
            batch.inputs = []
            batch.done = True
            if batch.error is not None:  # what follows would be given to nobody
                self._closed = True
                self._waiting.clear()
            self._condition.notify_all()
        self._changed()
