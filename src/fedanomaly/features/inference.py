"""A first schema from data, for people to read and correct."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.errors import SchemaError
from fedanomaly.features.cells import cells_of, is_text
from fedanomaly.features.column import DEFAULT_LENGTH, Column, Kind
from fedanomaly.features.reading import arrow_table
from fedanomaly.features.schema import Schema
from fedanomaly.features.window import Window

MOST_LEVELS = 64
LONG_TEXT = 24
"""Texts of that many bytes on average, most of them different, are read byte by byte."""
SPANS = ("1h", "1d", "7d", "30d")
_IDENTIFIER = re.compile(r"(^|[_\-. ])[iI][dD]$|[a-z]I[dD]$")
_AMOUNT = re.compile(r"amount|value|price|sum|total", re.IGNORECASE)
IDENTIFIER = "an identifier"


@dataclass(frozen=True, kw_only=True)
class Inference:
    """A schema and what it leaves out.

    Parameters
    ----------
    schema : Schema
        The columns in use.
    ignored : dict of str to str
        The other columns, and why.
    windows : tuple of Window
        Windows that the table suggests, in use or not.
    """

    schema: Schema
    ignored: dict[str, str]
    windows: tuple[Window, ...] = ()


def infer_schema(
    frame: Any,  # noqa: ANN401 - whatever narwhals knows
    *,
    drop: Collection[str] = (),
    most_levels: int = MOST_LEVELS,
    windows: bool = False,
) -> Inference:
    """Return a schema that fits a table.

    Parameters
    ----------
    frame : pandas, polars or pyarrow table
        Rows of one organisation. Its levels become part of the schema, which
        every member sees: remove those that are nobody else's business.
    drop : collection of str
        Columns to leave out, such as labels.
    most_levels : int, default=64
        Short text with more different values is left out.
    windows : bool, default=False
        Whether the schema has the windows that the table suggests: one for each
        column whose name ends like an identifier's and whose values repeat, if
        there is a time.

    Raises
    ------
    SchemaError
        If no column can be used, or `drop` names an unknown one.
    """
    table = arrow_table(frame)
    unknown = sorted(set(drop) - set(table.column_names))
    if unknown:
        raise SchemaError(f"there is no column {unknown[0]!r} to drop", hint="look at the header of the data")
    fields: list[Column] = []
    ignored: dict[str, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        found = "dropped" if name in drop else _described(name, column, most_levels)
        if isinstance(found, Column):
            fields.append(found)
        else:
            ignored[name] = found
    suggested = _windows(table, fields, ignored)
    if not fields and not (windows and suggested):
        raise SchemaError("no column can be used", hint="numbers, truth values, times and texts of few levels can")
    schema = Schema(tuple(fields), suggested if windows else ())
    left_out = {name: why for name, why in ignored.items() if name not in schema.columns}
    return Inference(schema=schema, ignored=left_out, windows=suggested)


def _described(name: str, column: pa.ChunkedArray, most_levels: int) -> Column | str:
    """Return the column's description, or why it is left out."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if column.null_count == len(column):
        return "empty"
    if _IDENTIFIER.search(name) and (is_text(kind) or pa.types.is_integer(kind)):
        return IDENTIFIER
    if pa.types.is_date(kind):
        return Column(name=name, kind="time", parts=("weekday",))
    if is_text(kind):
        return _described_text(name, column.cast(pa.string()), most_levels)
    plain: Kind | None = next((plain for plain, fits in _PLAIN.items() if any(fit(kind) for fit in fits)), None)
    return f"holds {kind}" if plain is None else Column(name=name, kind=plain)


def _described_text(name: str, column: pa.ChunkedArray, most_levels: int) -> Column | str:
    texts = column.drop_null()
    levels = sorted(texts.unique().to_pylist())
    times, misfits = cells_of(column, "time")
    if not misfits and times.null_count < len(times):
        return Column(name=name, kind="time")
    if len(levels) <= most_levels:
        return Column(name=name, kind="categorical", levels=tuple(levels))
    lengths = pc.call_function("binary_length", [texts]).to_numpy()
    if lengths.mean() >= LONG_TEXT and 2 * len(levels) > len(texts):
        longest = int(np.quantile(lengths, 0.99))
        return Column(name=name, kind="text", length=min(DEFAULT_LENGTH, 1 << (longest - 1).bit_length()))
    if 2 * len(levels) > len(texts):
        return f"more than {most_levels} different texts"
    return (
        f"more than {most_levels} different texts; name the frequent ones as levels, "
        'or add it with encode = "hash" or encode = "frequency"'
    )


def _windows(table: pa.Table, fields: list[Column], ignored: dict[str, str]) -> tuple[Window, ...]:
    time = next((field.name for field in fields if field.kind == "time" and "hour" in field.parts), None)
    if time is None:
        return ()
    value = next((field.name for field in fields if field.kind == "numeric" and _AMOUNT.search(field.name)), None)
    plain = Window(entity=(time,), time=time, statistics=("count", "since_last"), spans=SPANS)
    if value is not None:
        plain = replace(plain, value=value, statistics=("count", "sum", "mean", "ratio", "since_last"))
    return tuple(
        replace(plain, entity=(name,))
        for name, why in ignored.items()
        if why == IDENTIFIER and 2 * len(table[name].unique()) <= table.num_rows
    )


def _is_events(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and (is_text(kind.value_type) or pa.types.is_integer(kind.value_type))


_PLAIN: dict[Kind, tuple[Callable[[pa.DataType], bool], ...]] = {
    "boolean": (pa.types.is_boolean,),
    "numeric": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    "time": (pa.types.is_timestamp,),
    "events": (_is_events,),
}
