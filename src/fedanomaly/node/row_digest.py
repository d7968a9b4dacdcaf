"""What makes rows the same rows, however a file writes them down.

The guard against differencing is keyed by rows (CRYPTO.md, section 2), so the
same rows must be recognised again: in another order, as CSV or Parquet, under
another schema, with other labels. Every row is hashed over all columns of its
file but the labels; a set of rows has the sum of its hashes modulo 2^256
(Bellare and Micciancio 1997, AdHash). That is no commitment against the owner
of the rows, who is the one person here with no reason to cheat.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.errors import DataError
from fedanomaly.types import item
from fedanomaly.types.canonical import begin

DIGEST_BYTES = 32
MODULUS = 1 << (8 * DIGEST_BYTES)
_MISSING = np.float64(np.nan).view(np.uint64)
_TRUTH = {"true": 1.0, "false": 0.0}


class RowDigest:
    """Adds up the hashes of rows.

    Parameters
    ----------
    start : int, default=0
        Sum so far.
    """

    def __init__(self, start: int = 0) -> None:
        self._sum = start

    def add(self, hashes: list[bytes]) -> None:
        """Add rows by their hashes."""
        for value in hashes:
            self._sum += int.from_bytes(value, "little")

    @property
    def digest(self) -> bytes:
        """The digest of the rows so far, 32 bytes."""
        return (self._sum % MODULUS).to_bytes(DIGEST_BYTES, "little")


def added(first: bytes, second: bytes) -> bytes:
    """Return the digest of two sets of rows together."""
    return RowDigest(int.from_bytes(first, "little") + int.from_bytes(second, "little")).digest


class Beginning:
    """Digests of the first rows and of those behind them, each in two spellings.

    Parameters
    ----------
    rows : int
        How many rows are the first ones.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._first = RowDigest(), RowDigest()
        self._rest = RowDigest(), RowDigest()
        self._left = rows

    def add(self, hashes: list[bytes], spelt_out: list[bytes]) -> None:
        """Add the next rows by their hashes: with labels left out, and as they are."""
        cut = min(self._left, len(hashes))
        self._left -= cut
        for values, first, rest in zip((hashes, spelt_out), self._first, self._rest, strict=True):
            first.add(values[:cut])
            rest.add(values[cut:])

    @property
    def first(self) -> tuple[bytes, bytes]:
        """The digests of the first rows."""
        return self._first[0].digest, self._first[1].digest

    @property
    def rest(self) -> tuple[bytes, bytes]:
        """The digests of the rows behind them."""
        return self._rest[0].digest, self._rest[1].digest


class OrderDigest:
    """Digest of rows in their order; where features look back in time, another order is other features."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256(begin("rows in their order"))

    def add(self, hashes: list[bytes]) -> None:
        """Add the next rows by their hashes."""
        self._sha.update(b"".join(hashes))

    @property
    def digest(self) -> bytes:
        """The digest of the rows so far, 32 bytes."""
        return self._sha.digest()


def row_hashes(batch: pa.RecordBatch, label: str | None = None) -> list[bytes]:
    """Return the SHA-256 of every row; the order of the columns does not matter, nor does that named `label`."""
    names = sorted(name for name in batch.schema.names if name != label)
    columns = [_cells(batch.column(name)) for name in names]
    cells = np.column_stack(columns) if names else np.empty((batch.num_rows, 0), np.uint64)
    head = begin("row of a data set") + b"".join(item("column", name.encode()) for name in names)
    start = hashlib.sha256(head)
    hashes = []
    for row in cells:
        total = start.copy()
        total.update(row.tobytes())
        hashes.append(total.digest())
    return hashes


def held_out(hashes: list[bytes], fraction: float) -> npt.NDArray[np.bool_]:
    """Return which rows are held out: the same ones whenever the same rows come.

    Equal rows go to the same side, so nothing that is trained on is held out.
    """
    limit = fraction * 2.0**64
    return np.array([int.from_bytes(value[-8:], "little") < limit for value in hashes], dtype=np.bool_)


def _cells(column: pa.Array) -> npt.NDArray[np.uint64]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _numbers(column.cast(pa.float64(), safe=False))
        if pa.types.is_boolean(kind):
            return _numbers(column.cast(pa.uint8()).cast(pa.float64()))
        return _texts(column.cast(pa.large_string()))
    except pa.ArrowException:
        raise DataError(f"a column of type {kind} cannot be used", hint="leave it out with --drop") from None


def _numbers(column: pa.Array) -> npt.NDArray[np.uint64]:
    values = pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
    cells = np.ascontiguousarray(values).view(np.uint64).copy()
    cells[np.isnan(values)] = _MISSING
    return cells


def _texts(column: pa.Array) -> npt.NDArray[np.uint64]:
    encoded = column.dictionary_encode()
    cells = [_cell(text) for text in encoded.dictionary.to_pylist()]
    return np.array([*cells, _MISSING], dtype=np.uint64)[pc.fill_null(encoded.indices, -1).to_numpy()]


def _cell(text: str) -> np.uint64:
    # A text file does not tell 1 from "1", nor an empty text from a missing one.
    if not text:
        return _MISSING
    try:
        return _numbers(pa.array([_TRUTH[text.lower()] if text.lower() in _TRUTH else float(text)]))[0]
    except ValueError:
        return np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype="<u8")[0]
