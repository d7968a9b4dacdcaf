"""A sample of a node's rows, where a job asks for one: the same rows for ever, and never nearly all of them.

Two sums over N and N + 1 of the same rows would subtract to one row of every
member. So sizes are powers of two, and a node whose rows are fewer than twice
the sample adds all of them: any two of its sums are then over the same rows, or
over sets that differ in at least as many rows as the smaller one has. Which rows
are taken follows from these rows and their generation alone. A data set that
grew by a row has another sample altogether, not the old one and a row.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedanomaly.errors import ConfigError, RefusedError
from fedanomaly.protocol import JobRequest, Rows
from fedanomaly.types import Floats, Integers

KEY = "sample"
"""No detector may have a parameter of this name."""
LEAST = 1024
MOST = 1 << 40

_SCHEMA_ROW = "node/sample"


def check_size(rows: int) -> None:
    """Check the size of a sample.

    Raises
    ------
    ConfigError
        If it is no power of two, or too small.
    """
    if not LEAST <= rows <= MOST or rows & (rows - 1):
        nearest = min(max(1 << max(rows, 1).bit_length() - 1, LEAST), MOST)
        raise ConfigError(
            f"{rows} rows are no sample: two that differ by a few rows would show these",
            hint=f"choose a power of two from {LEAST} on, such as {nearest}",
        )


def params_with(params: Mapping[str, Any], rows: int | None) -> dict[str, Any]:
    """Return the parameters of a request for a sample of so many rows of each member; None: for all rows."""
    return dict(params) if rows is None else {**params, KEY: rows}


def split(request: JobRequest) -> tuple[JobRequest, int | None]:
    """Return the request to train the same on all rows, and how many rows to take of each member's.

    Raises
    ------
    RefusedError
        If the size is none that may be asked for.
    """
    try:
        params = json.loads(request.params)
    except (ValueError, RecursionError):
        return request, None
    if not isinstance(params, dict) or KEY not in params:
        return request, None
    if _written(params) != request.params:
        raise RefusedError("the parameters of the job are not in their canonical form")
    rows = params.pop(KEY)
    if type(rows) is not int:
        raise RefusedError("the size of a sample is no number of rows")
    try:
        check_size(rows)
    except ConfigError as error:
        raise RefusedError(Exception.__str__(error), hint=error.hint) from None
    return dataclasses.replace(request, params=_written(params)), rows


def _written(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some rows of a snapshot.

    Parameters
    ----------
    rows : int
        How many.
    of : int
        Generation of the rows that they are taken from.
    generation : int
        Number of the rows that are taken.
    """

    rows: int
    of: int
    generation: int

    def note(self, kept: Rows, schema: bytes) -> None:
        """Remember how the rows are encoded, before any is summed: their sample follows from it.

        Raises
        ------
        RefusedError
            If rows of another schema were sampled before: these may be others.
        """
        key = self.of.to_bytes(8, "little")
        if kept.get(_SCHEMA_ROW, key) not in {None, schema}:
            raise RefusedError(
                "the same rows were sampled under another schema before", hint="train on all rows, or on new ones"
            )
        kept.put([(_SCHEMA_ROW, key, schema)])

    def taken(self, encoded: Callable[[], Iterator[tuple[Floats, Integers | None]]]) -> Integers:
        """Return the places of the rows, rising, in one pass over all of them."""
        # Here: whoever adds data needs no detectors.
        from fedanomaly.detectors.sampling import first_by, places_of  # noqa: PLC0415

        places = [places_of(rows, self.of) for rows, _ in encoded()]
        return first_by(np.concatenate(places), self.rows)
