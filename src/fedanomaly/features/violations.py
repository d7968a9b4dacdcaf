"""Every cell of a table that does not fit a schema, for people: where, and never what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.features.history import Order
from fedanomaly.features.reading import read
from fedanomaly.features.schema import Schema


@dataclass(kw_only=True)
class Violation:
    """One way in which one column does not fit.

    Parameters
    ----------
    column : str
        Its name.
    what : str
        What is wrong.
    total : int
        Number of rows; all of them, if it is the column that does not fit.
    rows : list of int
        The first of them; the first row of all is 0. Empty, if it is the column.
    """

    column: str
    what: str
    total: int
    rows: list[int]


class Checker:
    """Holds a table against a schema, batch after batch.

    Parameters
    ----------
    schema : Schema
        What the columns mean.
    first : int
        How many rows to name of every violation.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from fedanomaly.features import Column
    >>> checker = Checker(Schema((Column(name="amount", kind="numeric", lower=0.0),)))
    >>> checker.add(pa.table({"amount": [1.0, -1.0, -2.0]}))
    >>> checker.violations
    [Violation(column='amount', what='holds readings outside its bounds', total=2, rows=[1, 2])]
    """

    def __init__(self, schema: Schema, *, first: int = 10) -> None:
        self._schema = schema
        self._first = first
        self._found: dict[tuple[str, str], Violation] = {}
        self._order = Order(schema.windows)
        self.n_rows = 0

    def add(self, frame: Any) -> None:  # noqa: ANN401 - whatever narwhals knows
        """Hold the next rows against the schema."""
        reading = read(self._schema, frame)
        for problem in reading.problems:
            self._note(problem.column, problem.what, problem.rows, reading.n_rows)
        for window, rows in self._order.late(reading):
            self._note(window.time, f"goes back by more than {window.late}", rows, reading.n_rows)
        self.n_rows += reading.n_rows

    @property
    def violations(self) -> list[Violation]:
        """All that was found, in the order of the schema's columns."""
        places = {name: at for at, name in enumerate(self._schema.columns)}
        return sorted(self._found.values(), key=lambda found: places[found.column])

    def _note(self, column: str, what: str, rows: npt.NDArray[np.int64] | None, n_rows: int) -> None:
        found = self._found.setdefault((column, what), Violation(column=column, what=what, total=0, rows=[]))
        found.total += n_rows if rows is None else len(rows)
        if rows is not None:
            found.rows += (rows[: self._first - len(found.rows)] + self.n_rows).tolist()
