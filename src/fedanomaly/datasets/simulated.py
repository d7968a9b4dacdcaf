"""What every generator returns, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.types import Floats, Integers

START_S = 1_735_689_600
"""Midnight of 1 January 2025, UTC."""
DAY_S = 86_400.0
LAUNCH = 0.6
"""Share of the time after which an organisation has what only the others had before."""
Columns = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated:
    """Simulated events of several organisations, in order of time.

    Parameters
    ----------
    table : pyarrow.Table
        One row an event: `features`, then the organisation, ``event_time``, the
        label (true is an anomaly), ``scenario`` (which anomaly; "none" is
        normal), and what windows are made of: accounts, hosts and the like.
    features : tuple of str
        Columns that a detector may see.
    organisation, label : str
        Names of these two columns.
    """

    table: pa.Table
    features: tuple[str, ...]
    organisation: str
    label: str

    @property
    def organisations(self) -> tuple[str, ...]:
        """Names of the organisations, the largest first."""
        return tuple(sorted(self.table[self.organisation].unique().to_pylist(), key=lambda name: (len(name), name)))

    def of(self, organisation: str) -> pa.Table:
        """Return the events of one organisation, in order of time."""
        return self.table.filter(pc.field(self.organisation) == organisation)

    def split(self, organisation: str, share: float = LAUNCH) -> tuple[pa.Table, pa.Table]:
        """Return the events of one organisation before and after `share` of the whole time."""
        events = self.of(organisation)
        times = self.table["event_time"].cast(pa.int64()).to_numpy()
        cut = times[0] + (times[-1] - times[0]) * share
        before = int(np.searchsorted(events["event_time"].cast(pa.int64()).to_numpy(), cut))
        return events.slice(0, before), events.slice(before)


def memberships(n: int, n_organisations: int) -> Integers:
    """Return the organisation of each of `n` people; the first has most, number i 1 / (1 + i / 2) times as many."""
    share = 1.0 / (1.0 + np.arange(n_organisations) / 2.0)
    ends = np.round(np.cumsum(share) / share.sum() * n).astype(np.int64)
    return np.searchsorted(ends, np.arange(n), side="right")


def spread(rng: np.random.Generator, n: int, end: float) -> Floats:
    """Return `n` rising moments, one in each n-th of the time from 0 to `end`."""
    return (np.arange(n) + rng.random(n)) / n * end


def waking(rng: np.random.Generator, n: int) -> Floats:
    """Return hours of the day: around noon and the evening, few at night."""
    evening = rng.random(n) < 0.45
    return np.mod(np.where(evening, rng.normal(18.5, 2.0, n), rng.normal(12.0, 3.0, n)), 24.0)


def in_order(parts: Sequence[Columns]) -> Columns:
    """Return the rows of all parts, in order of their column ``time``."""
    order = np.argsort(np.concatenate([part["time"] for part in parts]), kind="stable")
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def simulated(
    columns: Columns,
    *,
    features: Sequence[str],
    organisation: str,
    label: str,
    names: Mapping[str, Sequence[str]],
) -> Simulated:
    """Return columns as a table.

    Parameters
    ----------
    columns : dict of arrays of shape (n_events,)
        By name; ``time`` in seconds and ``scenario`` (0: normal) among them, in
        order of time. NaN becomes a missing value.
    features : sequence of str
        What a detector may see; these columns come first.
    organisation, label : str
        The column of organisations, numbered from 0, and the name of the label.
    names : dict of sequences of str
        For columns of codes, what they stand for; "scenario" among them.
    """
    most = int(columns[organisation].max()) + 1
    names = {organisation: [f"{organisation}-{at + 1}" for at in range(most)], **names}
    seconds = START_S + np.floor(columns["time"]).astype(np.int64)
    arrays = {name: _arrow(columns[name], names.get(name)) for name in (*features, organisation)}
    arrays["event_time"] = pa.array(seconds, pa.timestamp("s", tz="UTC"))
    arrays[label] = pa.array(columns["scenario"] != 0)
    arrays |= {name: _arrow(codes, names.get(name)) for name, codes in columns.items() if name not in {*arrays, "time"}}
    return Simulated(table=pa.table(arrays), features=tuple(features), organisation=organisation, label=label)


def _arrow(values: npt.NDArray[np.generic], names: Sequence[str] | None) -> pa.Array:
    if names is not None:
        return pa.DictionaryArray.from_arrays(pa.array(values, pa.int32()), pa.array(names)).cast(pa.string())
    return pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else None)
