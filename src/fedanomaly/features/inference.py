"""A first schema from data, for people to read and correct."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fedanomaly.errors import SchemaError
from fedanomaly.features.encoding import arrow_table
from fedanomaly.features.schema import Column, Kind, Schema

MOST_LEVELS = 64


@dataclass(frozen=True, kw_only=True)
class Inference:
    """A schema and what it leaves out.

    Parameters
    ----------
    schema : Schema
        The columns in use.
    ignored : dict of str to str
        The other columns, and why.
    """

    schema: Schema
    ignored: dict[str, str]


def infer_schema(frame: Any, *, drop: Collection[str] = (), most_levels: int = MOST_LEVELS) -> Inference:  # noqa: ANN401
    """Return a schema that fits a table.

    Parameters
    ----------
    frame : pandas, polars or pyarrow table
        Rows of one organisation. Its levels become part of the schema, which
        every member sees: remove those that are nobody else's business.
    drop : collection of str
        Columns to leave out, such as labels and identifiers.
    most_levels : int, default=64
        Text with more different values is left out.

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
    if not fields:
        raise SchemaError("no column can be used", hint="numbers, truth values, times and texts of few levels can")
    return Inference(schema=Schema(tuple(fields)), ignored=ignored)


def _described(name: str, column: pa.ChunkedArray, most_levels: int) -> Column | str:
    """Return the column's description, or why it is left out."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    for plain, fits in _PLAIN.items():
        if any(fit(kind) for fit in fits):
            return Column(name=name, kind=plain)
    if not any(fit(kind) for fit in _TEXT):
        return "empty" if pa.types.is_null(kind) else f"holds {kind}"
    levels = sorted(level for level in column.cast(pa.string()).unique().to_pylist() if level is not None)
    if not levels:
        return "empty"
    if len(levels) > most_levels:
        return f"more than {most_levels} different texts"
    return Column(name=name, kind="categorical", levels=tuple(levels))


_PLAIN: dict[Kind, tuple[Callable[[pa.DataType], bool], ...]] = {
    "boolean": (pa.types.is_boolean,),
    "numeric": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    "time": (pa.types.is_timestamp,),
}
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
