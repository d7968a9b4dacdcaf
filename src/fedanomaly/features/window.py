"""Entity windows, declared: what an entity did lately, as features of its next row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fedanomaly.errors import SchemaError
from fedanomaly.features.column import is_text

PLAIN_STATISTICS = ("count", "sum", "mean", "max", "ratio", "since_last")
OF_VALUES = ("sum", "mean", "max", "ratio")
"""Statistics of the value column; the others count rows."""
DISTINCT = "distinct:"
MOST_DAYS = 3650
_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


@dataclass(frozen=True, kw_only=True)
class Window:
    """Statistics over the earlier rows of the same entity.

    Row i sees the rows of its entity that come before it, and itself, whose time
    lies in (t_i - delay - span, t_i - delay]. Rows of the same time follow each
    other as they stand in the data.

    Parameters
    ----------
    entity : tuple of str
        The columns that together say whose row it is.
    time : str
        The column of times.
    statistics : tuple of str
        "count" of rows; "sum", "mean" and "max" of the values; "ratio" of the
        row's own value to the mean; "since_last", the seconds since the entity's
        last row, over the widest span only; "distinct:COLUMN", the number of
        different texts in another column.
    spans : tuple of str
        Lengths, such as "30m", "1h", "7d".
    value : str, optional
        The numeric column of sum, mean, max and ratio.
    delay : str, default="0s"
        How far back the windows end: with "7d" they see what is a week old.
    late : str, default="1h"
        A row that comes later than that after a row of a newer time is an error;
        one that comes less late counts as if it had the newer time.
    name : str, optional
        What the features are named after instead of the entity.

    Raises
    ------
    SchemaError
        If a value is impossible, or one is missing.

    Examples
    --------
    >>> window = Window(entity=("card",), time="at", statistics=("count", "since_last"), spans=("1h", "7d"))
    >>> window.feature_names
    ('card:count:1h', 'card:count:7d', 'card:since_last:7d')
    """

    entity: tuple[str, ...]
    time: str
    statistics: tuple[str, ...]
    spans: tuple[str, ...]
    value: str | None = None
    delay: str = "0s"
    late: str = "1h"
    name: str | None = None

    def __post_init__(self) -> None:
        columns = [*self.entity, self.time, *(() if self.value is None else (self.value,))]
        if not self.entity or not all(column and is_text(column) for column in columns):
            raise SchemaError("a window names no entity or no time", hint="give it columns of the data")
        _once(self.entity, "entity")
        _once(self.statistics, "statistic")
        _once([str(span) for span in self.spans_us], "span")
        if not self.statistics or not self.spans or min(self.spans_us, default=0) < 1:
            raise self._wrong("has no statistic, no span, or an empty one", 'such as ["count"] and ["1h", "1d"]')
        for statistic in self.statistics:
            if statistic not in PLAIN_STATISTICS and not _distinct(statistic):
                raise self._wrong(
                    f"has the unknown statistic {statistic!a}", f"use {', '.join(PLAIN_STATISTICS)}, distinct:COLUMN"
                )
        if (self.value is not None) != bool(set(self.statistics) & set(OF_VALUES)):
            raise self._wrong(
                "must have a value if, and only if, a statistic is of values", f"those are {', '.join(OF_VALUES)}"
            )
        if self.name is not None and not (self.name and is_text(self.name)):
            raise self._wrong("has an empty name", "leave it out, or give one")
        _ = self.delay_us, self.late_us

    @cached_property
    def spans_us(self) -> tuple[int, ...]:
        """Lengths in microseconds."""
        return tuple(_microseconds(span) for span in self.spans)

    @cached_property
    def delay_us(self) -> int:
        """How far back the windows end, in microseconds."""
        return _microseconds(self.delay)

    @cached_property
    def late_us(self) -> int:
        """How late a row may come, in microseconds."""
        return _microseconds(self.late)

    @cached_property
    def reach_us(self) -> int:
        """How far back the widest window sees, in microseconds."""
        return self.delay_us + max(self.spans_us)

    @cached_property
    def others(self) -> tuple[str, ...]:
        """Columns whose different texts are counted."""
        return tuple(name for name in map(_distinct, self.statistics) if name)

    @cached_property
    def measures(self) -> tuple[tuple[str, int], ...]:
        """Statistic and place of the span of every feature, in order."""
        widest = self.spans_us.index(max(self.spans_us))
        return tuple(
            (statistic, at)
            for statistic in self.statistics
            for at in range(len(self.spans))
            if statistic != "since_last" or at == widest
        )

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features: ``ENTITY:statistic:span``, with ``@delay`` behind the entity if there is one."""
        name = self.name or "+".join(self.entity) + (f"@{self.delay}" if self.delay_us else "")
        return tuple(f"{name}:{statistic}:{self.spans[at]}" for statistic, at in self.measures)

    def plain(self) -> dict[str, Any]:
        """Return what JSON and TOML hold."""
        out: dict[str, Any] = {"entity": list(self.entity), "time": self.time}
        if self.value is not None:
            out["value"] = self.value
        out |= {"statistics": list(self.statistics), "spans": list(self.spans)}
        if self.delay_us:
            out["delay"] = self.delay
        if self.late != "1h":
            out["late"] = self.late
        return out if self.name is None else out | {"name": self.name}

    def _wrong(self, what: str, step: str) -> SchemaError:
        return SchemaError(f"the window of {' and '.join(map(repr, self.entity))} {what}", hint=step)


def _distinct(statistic: str) -> str:
    """Return the column whose different texts are counted, or nothing."""
    name = statistic.removeprefix(DISTINCT)
    return name if name != statistic and is_text(name) else ""


def _microseconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    length = int(found[1]) * _UNITS_US[found[2]] if found else -1
    if not 0 <= length <= MOST_DAYS * _UNITS_US["d"]:
        raise SchemaError(f"a window has the length {text!a}", hint=f"write 30s, 5m, 1h or 7d; at most {MOST_DAYS}d")
    return length


def _once(names: Sequence[str], what: str) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise SchemaError(f"a window names the {what} {twice[0]!a} twice", hint="keep one of them")
