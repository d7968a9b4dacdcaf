"""From a table to the matrix that detectors see, and what is wrong with a table."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.errors import SchemaError
from fedanomaly.features.schema import Column, Schema
from fedanomaly.types import Floats

DAY_S = 86_400.0


def arrow_table(frame: Any) -> pa.Table:  # noqa: ANN401 - whatever narwhals knows
    """Return any data frame as an Arrow table.

    Parameters
    ----------
    frame : pandas, polars, pyarrow or other eager frame
        What narwhals can read.

    Raises
    ------
    SchemaError
        If it is none.
    """
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    try:
        return nw.from_native(frame, eager_only=True).to_arrow()
    except TypeError:
        raise SchemaError("this is no table", hint="pass a pandas, polars or pyarrow table") from None


def check(schema: Schema, frame: Any) -> None:  # noqa: ANN401 - whatever narwhals knows
    """Raise if a table does not fit a schema; the text names columns and never a value.

    Raises
    ------
    SchemaError
        With every column that does not fit, and why.
    """
    encode(schema, frame)


def encode(schema: Schema, frame: Any) -> Floats:  # noqa: ANN401 - whatever narwhals knows
    """Return the rows of a table as numbers.

    Parameters
    ----------
    schema : Schema
        What the columns mean.
    frame : pandas, polars or pyarrow table
        Columns that the schema does not name are left alone.

    Returns
    -------
    float64 array of shape (n_rows, n_features)
        In the order of ``schema.feature_names``. A missing number, truth value
        or time is NaN; a missing or unknown level is 0 in all of its features.

    Raises
    ------
    SchemaError
        With every column that does not fit, and why.
    """
    table = arrow_table(frame)
    out = np.zeros((table.num_rows, schema.n_features))
    problems: list[str] = []
    at = 0
    for field in schema.fields:
        width = len(field.feature_names)
        try:
            _ENCODERS[field.kind](field, _found(table, field), out[:, at : at + width])
        except SchemaError as error:
            problems.append(str(error.args[0]))
        at += width
    if problems:
        raise SchemaError("; ".join(problems), hint="correct the data, or the schema at every member")
    return out


def _found(table: pa.Table, field: Column) -> pa.ChunkedArray:
    found = table.schema.get_all_field_indices(field.name)
    if len(found) != 1:
        raise SchemaError(f"column {field.name!r} is {'there twice' if found else 'missing'}")
    column = table.column(found[0])
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numbers(field: Column, column: pa.ChunkedArray) -> Floats:
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (_is_number(kind) or pa.types.is_null(kind)):
        raise SchemaError(f"column {field.name!r} is {field.kind}, but holds {_named(kind)}")
    # Integers beyond 2^53 and decimals lose their last digits, which no detector misses.
    numbers = column.cast(pa.float64(), safe=False)
    return pc.fill_null(numbers, float("nan")).to_numpy()


def _named(kind: pa.DataType) -> str:
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _numeric(field: Column, column: pa.ChunkedArray, out: Floats) -> None:
    values = _numbers(field, column)
    if np.isinf(values).any():
        raise SchemaError(f"column {field.name!r} holds infinite readings")
    low = -np.inf if field.lower is None else field.lower
    high = np.inf if field.upper is None else field.upper
    if ((values < low) | (values > high)).any():
        raise SchemaError(f"column {field.name!r} holds readings outside its bounds")
    out[:, 0] = values


def _boolean(field: Column, column: pa.ChunkedArray, out: Floats) -> None:
    values = _numbers(field, column)
    if not (np.isnan(values) | (values == 0) | (values == 1)).all():
        raise SchemaError(f"column {field.name!r} is boolean, but holds other numbers than 0 and 1")
    out[:, 0] = values


def _categorical(field: Column, column: pa.ChunkedArray, out: Floats) -> None:
    try:
        texts = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise SchemaError(f"column {field.name!r} is categorical, but holds {column.type}") from None
    known = pc.SetLookupOptions(value_set=pa.array(field.levels, pa.string()))
    level = pc.call_function("index_in", [texts], known)
    level = pc.fill_null(level, -1).to_numpy()
    rows = np.flatnonzero(level >= 0)
    out[rows, level[rows]] = 1.0


def _time(field: Column, column: pa.ChunkedArray, out: Floats) -> None:
    if not (pa.types.is_timestamp(column.type) or pa.types.is_null(column.type)):
        raise SchemaError(f"column {field.name!r} is a time, but holds {_named(column.type)}")
    micros = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    missing = micros.is_null().to_numpy()
    angle = np.mod(pc.fill_null(micros, 0).to_numpy() / 1e6, DAY_S) / DAY_S * (2 * np.pi)
    out[:, 0] = np.where(missing, np.nan, np.sin(angle))
    out[:, 1] = np.where(missing, np.nan, np.cos(angle))


_ENCODERS = {"numeric": _numeric, "boolean": _boolean, "categorical": _categorical, "time": _time}
