"""Features of one column, each kind in its way; cells are typed already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.features.column import Column, Kind
from fedanomaly.types import Floats, Integers

DAY_S = 86_400.0
TOKEN_BYTES = 6
"""A token of 48 bits is a float64 exactly; of a million different events 0.2 % of all sets share one."""


def digests_of(texts: pa.Array, n_bytes: int) -> npt.NDArray[np.uint64]:
    """Return the first bytes of the SHA-256 of every text, as a number; 0 for a missing one.

    Each different text is hashed once.
    """
    coded = texts.dictionary_encode()
    hashed = [
        int.from_bytes(hashlib.sha256(text.encode()).digest()[:n_bytes], "big") for text in coded.dictionary.to_pylist()
    ]
    places = pc.fill_null(coded.indices, len(hashed)).to_numpy(zero_copy_only=False)
    return np.array([*hashed, 0], dtype=np.uint64)[places]


def buckets_of(texts: pa.Array, buckets: int) -> Integers:
    """Return the bucket of each text, -1 where it is missing: the first 8 bytes of its SHA-256, modulo `buckets`."""
    bucket = (digests_of(texts, 8) % np.uint64(buckets)).astype(np.int64)
    return np.where(texts.is_null().to_numpy(zero_copy_only=False), -1, bucket)


def encode_cells(field: Column, cells: pa.Array, out: Floats) -> None:
    """Write the features of a column that depend on the row alone.

    Parameters
    ----------
    field : Column
        What it means.
    cells : Arrow array
        Of the type of its role.
    out : float64 array of shape (n_rows, n_features of the column)
        Zeros.
    """
    _ENCODERS[field.kind](field, cells, out)


def _floats(cells: pa.Array) -> Floats:
    return pc.fill_null(cells, float("nan")).to_numpy(zero_copy_only=False)


def _numeric(field: Column, cells: pa.Array, out: Floats) -> None:
    values = _floats(cells)
    if field.clip is not None:
        values = np.clip(values, *field.clip)
    out[:, 0] = np.copysign(np.log1p(np.abs(values)), values) if field.transform == "log" else values


def _boolean(_field: Column, cells: pa.Array, out: Floats) -> None:
    out[:, 0] = _floats(cells)


def _categorical(field: Column, cells: pa.Array, out: Floats) -> None:
    if field.buckets is not None:
        level = buckets_of(cells, field.buckets)
    else:
        known = pc.SetLookupOptions(value_set=pa.array(field.levels, pa.string()))
        found = pc.call_function("index_in", [cells], known)
        level = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(level >= 0)
    out[rows, level[rows]] = 1.0


def _time(field: Column, cells: pa.Array, out: Floats) -> None:
    missing = cells.is_null().to_numpy(zero_copy_only=False)
    seconds = pc.fill_null(cells.cast(pa.int64()), 0).to_numpy(zero_copy_only=False) / 1e6
    for at, part in enumerate(field.parts):
        if part == "hour":
            angle = np.mod(seconds, DAY_S) / DAY_S * (2 * np.pi)
        else:  # 1 January 1970 was a Thursday; Monday is 0
            angle = np.mod(np.floor(seconds / DAY_S) + 3, 7) / 7 * (2 * np.pi)
        out[:, 2 * at] = np.where(missing, np.nan, np.sin(angle))
        out[:, 2 * at + 1] = np.where(missing, np.nan, np.cos(angle))


def _text(_field: Column, cells: pa.Array, out: Floats) -> None:
    whole = cells.cast(pa.large_binary())
    lists = pc.fill_null(whole, b"")
    _validity, offsets, data = lists.buffers()
    starts = np.frombuffer(offsets, np.int64, len(lists) + 1, lists.offset * 8) if len(lists) else np.zeros(1, np.int64)
    _spread(starts, np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8), out)


def _events(_field: Column, cells: pa.Array, out: Floats) -> None:
    lengths = pc.fill_null(cells.value_lengths(), 0).to_numpy(zero_copy_only=False)
    _spread(np.r_[0, np.cumsum(lengths, dtype=np.int64)], digests_of(cells.flatten(), TOKEN_BYTES), out)


def _spread(starts: Integers, values: npt.NDArray[np.integer], out: Floats) -> None:
    """Lay the values of every row side by side, NaN behind the last, cut at the width."""
    out[:] = np.nan
    lengths = np.minimum(np.diff(starts), out.shape[1])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    out[rows, places] = values[starts[rows] + places]


_ENCODERS: dict[Kind, Callable[[Column, pa.Array, Floats], None]] = {
    "numeric": _numeric,
    "boolean": _boolean,
    "categorical": _categorical,
    "time": _time,
    "text": _text,
    "events": _events,
}
