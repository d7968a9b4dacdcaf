"""The time that stamps entries: it follows the machine's clock, and never runs backwards."""

from __future__ import annotations

import time
from collections.abc import Callable


class ForwardClock:
    """A clock that goes on steadily from the latest time it knows when the machine's clock is set back.

    Standing still until the machine's clock has caught up would stop every
    deadline: for a year, if the clock was ahead by a year.

    Parameters
    ----------
    clock : callable
        Seconds since the Unix epoch, by the machine.
    steady : callable
        Seconds from anywhere, by a clock that nobody sets.
    """

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steady = steady
        self._last_s = 0.0
        self._steady_s = steady()

    def __call__(self) -> float:
        """Return seconds since the Unix epoch, no less than before."""
        machine_s, steady_s = self._clock(), self._steady()
        if machine_s >= self._last_s:
            self._last_s = machine_s
        else:
            self._last_s += steady_s - self._steady_s
        self._steady_s = steady_s
        return self._last_s

    def not_before(self, time_s: float) -> None:
        """Go on from a time that the log holds already, if that is later."""
        self._last_s = max(self._last_s, time_s)
