"""What happened at this node, for whoever watches: a ring with a cursor, and the log.

An event names who did what, when, and how many bytes it took; it never holds a
statistic, a score or a key.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

CAPACITY = 2000


class Event(NamedTuple):
    """One line of the feed.

    Parameters
    ----------
    cursor : int
        Position, from 1.
    at : float
        Unix seconds.
    name : str
        What happened, such as ``"contribution"``.
    details : dict
        Who, which job, how many bytes.
    """

    cursor: int
    at: float
    name: str
    details: dict[str, Any]


class Feed:
    """The last 2,000 events; every one is a log line as well.

    Parameters
    ----------
    clock : callable
        Returns Unix seconds.
    watch : callable, optional
        Told the name and the details of every event.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, *, watch: Callable[[str, dict[str, Any]], None] | None = None
    ) -> None:
        self._clock = clock
        self._watch = watch or (lambda _name, _details: None)
        self._events: deque[Event] = deque(maxlen=CAPACITY)
        self._cursor = 0
        self._lock = threading.Lock()
        self._log = structlog.get_logger("fedanomaly.node")

    def add(self, name: str, **details: Any) -> None:  # noqa: ANN401 - JSON values
        """Record an event."""
        self._keep(name, details)
        self._log.info(name, **details)

    def problem(self, name: str, **details: Any) -> None:  # noqa: ANN401 - JSON values
        """Record something that needs a person's eyes."""
        self._keep(name, {**details, "problem": True})
        self._log.warning(name, **details)

    def _keep(self, name: str, details: dict[str, Any]) -> None:
        with self._lock:
            self._cursor += 1
            self._events.append(Event(self._cursor, self._clock(), name, details))
        self._watch(name, details)

    def after(self, cursor: int) -> list[Event]:
        """Return the events after a cursor that are still kept, oldest first."""
        with self._lock:
            return [event for event in self._events if event.cursor > cursor]
