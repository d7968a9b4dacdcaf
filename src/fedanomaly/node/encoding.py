"""Rows as they are stored: they encode to the same numbers as the rows they came from."""

from __future__ import annotations

import pyarrow as pa

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Schema, check

_STORED = {
    "numeric": pa.float64(),
    "boolean": pa.float64(),
    "categorical": pa.string(),
    "time": pa.timestamp("us"),
}
_READ = {"numeric": pa.float64(), "categorical": pa.string()}


def types_of(schema: Schema) -> dict[str, pa.DataType]:
    """Return how columns of a text file are read, where that must not be guessed.

    A level such as ``007`` stays text, and a number is one however its first
    rows look.
    """
    return {field.name: _READ[field.kind] for field in schema.fields if field.kind in _READ}


def conformed(schema: Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the columns of a schema, in its order, each of one type for all batches.

    Raises
    ------
    SchemaError
        If the rows do not fit; the text names columns and never a value.
    """
    check(schema, batch)
    columns = [_stored(field, batch.column(field.name)) for field in schema.fields]
    types = pa.schema([(field.name, _STORED[field.kind]) for field in schema.fields])
    return pa.RecordBatch.from_arrays(columns, schema=types)


def _stored(field: Column, column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        if field.kind == "time" and not pa.types.is_null(column.type):
            zone = getattr(column.type, "tz", None)
            # Through the integer: what is stored is UTC, whatever the zone.
            column = column.cast(pa.timestamp("us", tz=zone), safe=False).cast(pa.int64())
        if pa.types.is_boolean(column.type) and field.kind in {"numeric", "boolean"}:
            column = column.cast(pa.uint8())
        return column.cast(_STORED[field.kind], safe=False)
    except pa.ArrowException:
        raise SchemaError(f"column {field.name!r} cannot be stored as {field.kind}") from None
