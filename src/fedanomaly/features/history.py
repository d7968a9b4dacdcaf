"""An entity window over a stream: what it must remember of every entity, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedanomaly.errors import SchemaError
from fedanomaly.features.kinds import digests_of
from fedanomaly.features.reading import Reading
from fedanomaly.features.statistics import NOTHING, Sorted, statistics_of
from fedanomaly.features.window import Window
from fedanomaly.types import Floats, Integers

_FARTHEST_US = 2**61
"""Times are held within it, so that no difference overflows."""


@dataclass(frozen=True, kw_only=True)
class Events:
    """Rows that count for a window.

    Parameters
    ----------
    rows : int64 array of shape (n_events,)
        Which rows of the batch.
    times_us : int64 array of shape (n_events,)
        Their times in microseconds.
    """

    rows: Integers
    times_us: Integers


class Clock:
    """The newest time so far; says how late rows come.

    Parameters
    ----------
    window : Window
        Whose times.
    """

    def __init__(self, window: Window) -> None:
        self._late_us = window.late_us
        self.now_us = -_FARTHEST_US

    def told(self, times_us: Integers) -> Integers:
        """Return the newest time at every row, its own included."""
        return np.maximum(np.maximum.accumulate(times_us), self.now_us)

    def too_late(self, times_us: Integers) -> npt.NDArray[np.bool_]:
        """Whether each row comes later than is allowed."""
        return self.told(times_us) - times_us > self._late_us


class Order:
    """Whether the rows of a stream come in the order of time that windows need.

    Parameters
    ----------
    windows : sequence of Window
        Of one schema.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        self._clocks = [(window, Clock(window)) for window in windows]

    def late(self, reading: Reading) -> list[tuple[Window, Integers]]:
        """Return the next rows that come too late for a window, for every window that has any."""
        out = []
        for window, clock in self._clocks:
            events = events_of(window, reading)
            rows = events.rows[clock.too_late(events.times_us)]
            if len(rows):
                out.append((window, rows))
            clock.now_us = int(clock.told(events.times_us).max(initial=clock.now_us))
        return out

    def refuse(self, reading: Reading) -> None:
        """Raise if any of the next rows comes too late.

        Raises
        ------
        SchemaError
            With the columns of time.
        """
        for window, _ in self.late(reading):
            raise too_late(window)


def too_late(window: Window) -> SchemaError:
    """Return what to say of rows that come too late for a window."""
    return SchemaError(
        f"column {window.time!r} goes back by more than {window.late}",
        hint="sort the rows by time, or allow more with `late`",
    )


class EntityWindow:
    """The features of one window, batch after batch.

    It keeps the rows that some later row may still see: of every entity those
    within the widest span, and entities that were idle for longer are dropped.

    Parameters
    ----------
    window : Window
        Which.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self._clock = Clock(window)
        self._swept_us = -_FARTHEST_US
        self._rows: dict[tuple[str, ...], Integers] = {}

    def events(self, reading: Reading) -> Events:
        """Return the rows that have a time and an entity; nothing is counted yet.

        Raises
        ------
        SchemaError
            If a row comes too late.
        """
        events = events_of(self.window, reading)
        if self._clock.too_late(events.times_us).any():
            raise too_late(self.window)
        return events

    def encode(self, reading: Reading, events: Events, out: Floats) -> None:
        """Write the features of a batch and remember its rows.

        Parameters
        ----------
        reading : Reading
            Rows in the order of time.
        events : Events
            What `events` gave of them.
        out : float64 array of shape (n_rows, n_features)
            NaN in rows without a time or an entity.
        """
        out[:] = np.nan
        if not len(events.rows):
            return
        times = self._clock.told(events.times_us)
        codes, keys = _entities(self.window, reading, events.rows)
        names, entities = np.unique(codes, return_inverse=True)
        nothing = np.empty((2 + len(self.window.others), 0), np.int64)
        known = [self._rows.get(keys[name], nothing) for name in names.tolist()]
        lengths = [block.shape[1] for block in known]
        held = np.concatenate([*known, self._block(reading, events.rows, times)], axis=1)
        owners = np.concatenate([np.repeat(np.arange(len(names)), lengths), entities])
        order = np.argsort(owners, kind="stable")
        held, owners = held[:, order], owners[order]
        rows = Sorted(entities=owners, times=held[0], values=held[1].view(np.float64), codes=held[2:])
        new = np.flatnonzero(order >= sum(lengths))
        out[events.rows[order[new] - sum(lengths)]] = statistics_of(self.window, rows, new)
        self._clock.now_us = int(times[-1])
        self._remember([keys[name] for name in names.tolist()], owners, held)

    def _block(self, reading: Reading, rows: Integers, times: Integers) -> Integers:
        """Return what is remembered of rows: time, value (its bits), and a code for every text to count."""
        value = self.window.value
        values = reading.floats(value)[rows] if value is not None else np.full(len(rows), np.nan)
        out = [times, values.view(np.int64)]
        for name in self.window.others:
            texts = reading.columns[name].take(pa.array(rows))
            # 64 bits of SHA-256: even of a billion texts hardly two share a code.
            codes = digests_of(texts, 8).view(np.int64)
            out.append(np.where(texts.is_null().to_numpy(zero_copy_only=False), NOTHING, codes))
        return np.stack(out)

    def _remember(self, keys: list[tuple[str, ...]], owners: Integers, held: Integers) -> None:
        oldest = self._clock.now_us - self.window.reach_us
        edges = np.searchsorted(owners, np.arange(len(keys) + 1))
        gone = np.concatenate([[0], np.cumsum(held[0] <= oldest)])[edges]
        firsts = edges[:-1] + np.diff(gone)
        for key, first, end in zip(keys, firsts.tolist(), edges[1:].tolist(), strict=True):
            # A copy: a view would keep the whole batch alive.
            self._rows[key] = held[:, first:end].copy()
        if self._clock.now_us - self._swept_us > self.window.reach_us:
            self._swept_us = self._clock.now_us
            self._rows = {key: block for key, block in self._rows.items() if block.size and block[0, -1] > oldest}


def events_of(window: Window, reading: Reading) -> Events:
    """Return the rows that have a time and an entity."""
    cells = reading.columns[window.time]
    there = np.ones(len(cells), dtype=bool)
    for name in (window.time, *window.entity):
        there &= reading.columns[name].is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(there)
    times = cells.cast(pa.int64()).take(pa.array(rows)).to_numpy()
    return Events(rows=rows, times_us=np.clip(times, -_FARTHEST_US, _FARTHEST_US))


def _entities(window: Window, reading: Reading, rows: Integers) -> tuple[Integers, list[tuple[str, ...]]]:
    """Return the entity of each row as a number, and the texts that each number stands for."""
    codes, keys = np.zeros(len(rows), dtype=np.int64), [()]
    for name in window.entity:
        coded = reading.columns[name].take(pa.array(rows)).dictionary_encode()
        texts = coded.dictionary.to_pylist()
        both = codes * len(texts) + coded.indices.to_numpy(zero_copy_only=False)
        pairs, codes = np.unique(both, return_inverse=True)
        keys = [(*keys[pair // len(texts)], texts[pair % len(texts)]) for pair in pairs.tolist()]
    return codes, keys
