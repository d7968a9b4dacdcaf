"""From the columns of a table to typed cells, and every cell that does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.errors import SchemaError
from fedanomaly.features.cells import STORED, Misfit, cells_of
from fedanomaly.features.schema import Schema
from fedanomaly.types import Floats


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What does not fit in one column.

    Parameters
    ----------
    column : str
        Its name.
    what : str
        What is wrong; never a value.
    rows : int64 array, optional
        Which rows; without, the column as a whole.
    """

    column: str
    what: str
    rows: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The columns of a table that a schema reads.

    Parameters
    ----------
    columns : dict of str to Arrow array
        By name, each of the type of its role; a cell that does not fit is null.
    problems : tuple of Problem
        All that does not fit.
    n_rows : int
        Number of rows.
    """

    columns: dict[str, pa.Array]
    problems: tuple[Problem, ...]
    n_rows: int

    def refuse(self) -> None:
        """Raise if anything does not fit; the text names columns and never a value.

        Raises
        ------
        SchemaError
            With every column that does not fit, and why.
        """
        if self.problems:
            told = "; ".join(f"column {problem.column!r} {problem.what}" for problem in self.problems)
            raise SchemaError(told, hint="correct the data, or the schema at every member")

    def floats(self, name: str) -> Floats:
        """Return a numeric or boolean column as float64, NaN where a reading is missing."""
        return pc.fill_null(self.columns[name], float("nan")).to_numpy(zero_copy_only=False)


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


def read(schema: Schema, frame: Any) -> Reading:  # noqa: ANN401 - whatever narwhals knows
    """Return the columns of a table that a schema reads, and all that does not fit.

    Parameters
    ----------
    schema : Schema
        What the columns mean.
    frame : pandas, polars or pyarrow table
        Columns that the schema does not name are left alone.

    Raises
    ------
    SchemaError
        If it is no table.
    """
    table = arrow_table(frame)
    separators = {field.name: field.separator for field in schema.fields}
    columns: dict[str, pa.Array] = {}
    problems: list[Problem] = []
    for name, role in schema.roles.items():
        places = table.schema.get_all_field_indices(name)
        columns[name] = pa.nulls(table.num_rows, STORED[role])
        if len(places) != 1:
            problems.append(Problem(column=name, what="is there twice" if places else "is missing"))
            continue
        try:
            cells, misfits = cells_of(table.column(places[0]), role, separators.get(name))
        except SchemaError as error:
            problems.append(Problem(column=name, what=str(error.args[0])))
            continue
        columns[name] = cells
        problems += [Problem(column=name, what=what, rows=np.flatnonzero(rows)) for what, rows in misfits]
    reading = Reading(columns=columns, problems=(), n_rows=table.num_rows)
    for name, what, rows in _out_of_bounds(schema, reading):
        problems.append(Problem(column=name, what=what, rows=np.flatnonzero(rows)))
    return Reading(columns=columns, problems=tuple(problems), n_rows=table.num_rows)


def _out_of_bounds(schema: Schema, reading: Reading) -> list[tuple[str, *Misfit]]:
    bounds = {field.name: (field.lower, field.upper) for field in schema.fields}
    out: list[tuple[str, *Misfit]] = []
    for name in (name for name, role in schema.roles.items() if role == "numeric"):
        values = reading.floats(name)
        lower, upper = bounds.get(name, (None, None))
        infinite = np.isinf(values)
        beyond = (values < (-np.inf if lower is None else lower)) | (values > (np.inf if upper is None else upper))
        out.append((name, "holds infinite readings", infinite))
        out.append((name, "holds readings outside its bounds", beyond & ~infinite))
    return [(name, what, rows) for name, what, rows in out if rows.any()]
