"""The rows of several organisations as numbers: from arrays, or from tables with a feature schema."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import DataError, SchemaError, ShapeError
from fedanomaly.features import Schema, encode
from fedanomaly.features.schema_file import read_schema
from fedanomaly.types import Floats

SchemaLike = Schema | str | os.PathLike[str]
"""A schema, or the path of its file."""


def schema_of(schema: SchemaLike | None) -> Schema | None:
    """Return the schema, read from its file if it is a path.

    Raises
    ------
    SchemaError
        If there is no such file, or it holds no schema.
    """
    return schema if schema is None or isinstance(schema, Schema) else read_schema(schema)


def arrays_of(
    parts: Sequence[Any], schema: Schema | None = None, histories: Sequence[Any] | None = None
) -> list[Floats]:
    """Return the rows of every organisation as numbers.

    Parameters
    ----------
    parts : sequence of array-likes of shape (n_samples_i, n_features), or of tables
        One for each organisation.
    schema : Schema, optional
        What the columns of tables mean. Each is encoded by itself: windows and
        frequencies are those of one organisation.
    histories : sequence of tables, optional
        What each organisation saw before its rows.

    Returns
    -------
    list of float64 arrays of shape (n_samples_i, n_features)

    Raises
    ------
    DataError
        If the parts cannot be used; what is wrong with which part is said.
    """
    if schema is not None:
        given = [None] * len(parts) if histories is None else histories
        pairs = zip(parts, given, strict=True)
        return [_encoded(number, schema, part, before) for number, (part, before) in enumerate(pairs)]
    arrays = [_numbers(number, part) for number, part in enumerate(parts)]
    if any(array.ndim != 2 or array.shape[1] != arrays[0].shape[1] for array in arrays):
        raise ShapeError("every part must be an array of shape (n_samples, n_features) with the same columns")
    return arrays


def _encoded(number: int, schema: Schema, part: Any, before: Any) -> Floats:  # noqa: ANN401 - any table
    try:
        rows = encode(schema, part, before if schema.looks_back else None)
    except SchemaError as error:
        raise SchemaError(f"part {number}: {error.args[0]}", hint=error.hint) from None
    return _some(number, rows)


def _numbers(number: int, part: npt.ArrayLike) -> Floats:
    try:
        rows = np.asarray(part, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"part {number} is no array of numbers", hint="give a schema that says what texts and times mean"
        ) from None
    return _some(number, rows)


def _some(number: int, rows: Floats) -> Floats:
    if rows.shape[:1] == (0,):
        raise DataError(f"part {number} has no rows", hint="leave it out")
    return rows
