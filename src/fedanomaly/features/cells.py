"""Cells of one column as the type of its role: numbers, truth values, texts, times, events.

Texts that spell a number, a truth value or an ISO time are read as such, since
that is all that a CSV file has. What is typed already stays the same, so a
table that was read and stored reads as itself.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.errors import SchemaError
from fedanomaly.features.schema import Role

Misfit = tuple[str, npt.NDArray[np.bool_]]
"""What is wrong, and in which rows."""

STORED: dict[Role, pa.DataType] = {
    "numeric": pa.float64(),
    "boolean": pa.float64(),
    "text": pa.string(),
    "time": pa.timestamp("us"),
    "events": pa.list_(pa.string()),
}
"""The type of every role's cells; a time is UTC, or has no zone."""

_MISSING = {"", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "NULL", "null"}
"""Texts that say that a number, truth value or time is missing; as Arrow reads CSV."""
_NUMBER = re.compile(r"-?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|Inf|INF)")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE", "1", "1.0"), 1.0),
    **dict.fromkeys(("false", "False", "FALSE", "0", "0.0"), 0.0),
}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def cells_of(column: pa.ChunkedArray, role: Role, separator: str | None = None) -> tuple[pa.Array, list[Misfit]]:
    """Return the cells of a column as the type of its role, and what does not fit.

    Parameters
    ----------
    column : Arrow column
        Of whatever type.
    role : {"numeric", "boolean", "text", "time", "events"}
        What it is read as.
    separator : str, optional
        Between events in one text; white space if not said.

    Returns
    -------
    Arrow array
        Of the type ``STORED[role]``; a cell that does not fit is null.
    list of (str, bool array)
        What is wrong, and in which rows.

    Raises
    ------
    SchemaError
        If nothing in a column of that type could fit.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    cells = column.cast(kind).combine_chunks()
    if pa.types.is_null(kind):
        return pa.nulls(len(cells), STORED[role]), []
    if role == "events":
        return _events(cells, separator), []
    if role == "text":
        return _texts(cells), []
    return {"numeric": _numbers, "boolean": _truths, "time": _times}[role](cells)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _named(kind: pa.DataType) -> str:
    return "text" if is_text(kind) else str(kind)


def _numbers(cells: pa.Array) -> tuple[pa.Array, list[Misfit]]:
    if is_text(cells.type):
        return _spelt(cells, "is numeric, but holds text", _number, STORED["numeric"])
    if pa.types.is_boolean(cells.type):
        cells = cells.cast(pa.uint8())
    elif not _is_number(cells.type):
        raise SchemaError(f"is numeric, but holds {_named(cells.type)}")
    # Integers beyond 2^53 and decimals lose their last digits, which no detector misses.
    return cells.cast(pa.float64(), safe=False), []


def _truths(cells: pa.Array) -> tuple[pa.Array, list[Misfit]]:
    if is_text(cells.type):
        return _spelt(cells, "is boolean, but holds text", _TRUTHS.get, STORED["boolean"])
    if not (pa.types.is_boolean(cells.type) or _is_number(cells.type)):
        raise SchemaError(f"is boolean, but holds {_named(cells.type)}")
    numbers, _none = _numbers(cells)
    values = pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False)
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    return pa.array(values, mask=wrong), _misfits("is boolean, but holds other numbers than 0 and 1", wrong)


def _times(cells: pa.Array) -> tuple[pa.Array, list[Misfit]]:
    kind = cells.type
    if is_text(kind):
        return _spelt(cells, "is a time, but holds text", _micros, STORED["time"])
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise SchemaError(f"is a time, but holds {_named(kind)}")
    zone = getattr(kind, "tz", None)
    # Through the integer: what is stored is UTC, whatever the zone.
    return cells.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.int64()).cast(STORED["time"]), []


def _spelt(
    cells: pa.Array, what: str, read: Callable[[str], float | None], stored: pa.DataType
) -> tuple[pa.Array, list[Misfit]]:
    """Read what is spelt right, each different text once; `read` gives None for what is not."""
    coded = cells.cast(pa.string()).dictionary_encode()
    texts = [text.strip() for text in coded.dictionary.to_pylist()]
    values = [None if text in _MISSING else read(text) for text in texts]
    wrong = [value is None and text not in _MISSING for text, value in zip(texts, values, strict=True)]
    places = pc.fill_null(coded.indices, len(texts)).to_numpy(zero_copy_only=False)
    misfits = _misfits(what, np.array([*wrong, False])[places])
    return pa.array([*values, None], stored).take(pa.array(places)), misfits


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _micros(text: str) -> int | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:  # such as 30 February
        return None
    return (at.replace(tzinfo=at.tzinfo or dt.UTC) - _EPOCH) // dt.timedelta(microseconds=1)


def _texts(cells: pa.Array) -> pa.Array:
    try:
        return cells.cast(pa.string())
    except pa.ArrowException:
        raise SchemaError(f"is text, but holds {cells.type}") from None


def _events(cells: pa.Array, separator: str | None) -> pa.Array:
    """Return lists of texts; a missing or empty event is none."""
    kind = cells.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lists = cells
    else:
        lists = _split(_texts(cells), separator)
    try:
        events = lists.flatten().cast(pa.string())
    except pa.ArrowException:
        raise SchemaError(f"is events, but holds {kind}") from None
    lengths = pc.call_function("binary_length", [events])
    kept = pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False) > 0
    parents = lists.value_parent_indices().to_numpy()[kept]
    offsets = np.searchsorted(parents, np.arange(len(cells) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), events.filter(pa.array(kept)), mask=lists.is_null())


def _split(texts: pa.Array, separator: str | None) -> pa.Array:
    if separator is None:
        return pc.call_function("utf8_split_whitespace", [texts])
    return pc.call_function("split_pattern", [texts], pc.SplitPatternOptions(pattern=separator))


def _misfits(what: str, rows: npt.NDArray[np.bool_]) -> list[Misfit]:
    return [(what, rows)] if rows.any() else []
