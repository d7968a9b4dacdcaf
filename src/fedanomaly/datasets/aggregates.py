"""What a bank can compute of an event from its own earlier events."""

from __future__ import annotations

import numpy as np

from fedanomaly.types import Floats, Integers


class History:
    """Earlier events of the same group (customer or terminal), for every event.

    Parameters
    ----------
    group : int64 array of shape (n_events,)
        Group of every event.
    time : float64 array of shape (n_events,)
        Seconds, rising.
    """

    def __init__(self, group: Integers, time: Floats) -> None:
        self._order = np.lexsort((time, group))
        self._back = np.empty_like(self._order)
        self._back[self._order] = np.arange(len(group))
        # One rising key for both, so that one binary search finds a window's start.
        self._span = float(time.max()) + 1.0 if len(time) else 1.0
        self._key = group[self._order] * self._span + time[self._order]
        self._first = np.searchsorted(group[self._order], group[self._order], side="left")

    def _of(self, values: Floats) -> Floats:
        return values[self._back]

    def count(self, window_s: float) -> Floats:
        """Return how many events of the group lie in the window before each event, itself included."""
        return self._of((np.arange(len(self._key)) - self._start(window_s) + 1).astype(np.float64))

    def total(self, values: Floats, window_s: float) -> Floats:
        """Return the sum of `values` in the window before each event, itself included."""
        upto = np.concatenate([[0.0], np.cumsum(values[self._order])])
        return self._of(upto[1:] - upto[self._start(window_s)])

    def mean_before(self, values: Floats, prior: float, weight: float) -> Floats:
        """Return the mean of all earlier events, drawn to `prior` with the weight of some events."""
        upto = np.concatenate([[0.0], np.cumsum(values[self._order])])
        here = np.arange(len(self._key))
        return self._of((upto[here] - upto[self._first] + prior * weight) / (here - self._first + weight))

    def since_last(self, time: Floats, most_s: float) -> Floats:
        """Return the seconds since the group's last event, at most `most_s`."""
        ordered = time[self._order]
        gap = np.diff(ordered, prepend=0.0)
        gap[self._first == np.arange(len(gap))] = most_s
        return self._of(np.minimum(gap, most_s))

    def _start(self, window_s: float) -> Integers:
        return np.maximum(np.searchsorted(self._key, self._key - window_s, side="right"), self._first)


def first_time(left: Integers, right: Integers, size: int) -> Floats:
    """Return 1 where a pair occurs for the first time, else 0."""
    _, first = np.unique(left * size + right, return_index=True)
    out = np.zeros(len(left))
    out[first] = 1.0
    return out
