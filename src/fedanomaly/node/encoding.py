"""Rows as they are stored: they encode to the same numbers as the rows they came from."""

from __future__ import annotations

import pyarrow as pa

from fedanomaly.features import Order, Schema, read

_READ = {"numeric": pa.float64(), "text": pa.string(), "events": pa.string()}


def types_of(schema: Schema) -> dict[str, pa.DataType]:
    """Return how columns of a text file are read, where that must not be guessed.

    A level or an event such as ``007`` stays text, and a number is one however
    its first rows look.
    """
    return {name: _READ[role] for name, role in schema.roles.items() if role in _READ}


def conformed(schema: Schema, batch: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """Return the columns that a schema reads, in its order, each of one type for all batches.

    Raises
    ------
    SchemaError
        If the rows do not fit, or come too late after those that `order` has
        seen; the text names columns and never a value.
    """
    reading = read(schema, batch)
    reading.refuse()
    order.refuse(reading)
    return pa.RecordBatch.from_pydict(reading.columns)
