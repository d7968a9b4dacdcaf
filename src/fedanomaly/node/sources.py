"""Where rows come from: files, read in batches.

A source yields Arrow record batches of bounded size, whatever the file holds,
so a data set may be larger than memory.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fedanomaly.errors import DataError, SchemaError

BATCH_ROWS = 65_536
CSV_BLOCK_BYTES = 8 << 20
_HASH_PIECE_BYTES = 1 << 20
_HEADER_BYTES = 1 << 20
_KINDS = {"double": "number", "int64": "integer", "bool": "truth value", "timestamp": "time", "string": "text"}
"""Arrow's types, for people."""

CSV_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".csv.zst", ".tsv")
PARQUET_SUFFIXES = (".parquet", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")


class FileSource:
    """A CSV, Parquet or Arrow IPC (Feather) file.

    Parameters
    ----------
    path : Path
        The file; its kind follows from its suffix.
    types : mapping of str to Arrow type, optional
        Types that columns of a CSV file are read as; the rest is inferred from
        the first block.

    Raises
    ------
    DataError
        If there is no such file, or its kind is not known.
    """

    def __init__(self, path: Path, *, types: dict[str, pa.DataType] | None = None) -> None:
        if not path.is_file():
            raise DataError(f"{path} is a folder" if path.is_dir() else f"there is no file {path}", hint="name a file")
        self.path = path
        self._types = types or {}
        name = path.name.lower()
        if name.endswith(CSV_SUFFIXES):
            self._open = self._csv
        elif name.endswith(PARQUET_SUFFIXES):
            self._open = self._parquet
        elif name.endswith(ARROW_SUFFIXES):
            self._open = self._arrow
        else:
            known = ", ".join(CSV_SUFFIXES + PARQUET_SUFFIXES + ARROW_SUFFIXES)
            raise DataError(f"{path.name} is of no kind that is read here", hint=f"known: {known}")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches of at most 65,536, in the order of the file.

        Raises
        ------
        DataError
            If the file is damaged, or is not what its name says.
        SchemaError
            If a column is there twice, or cannot be read as its type.
        """
        try:
            for batch in self._open():
                self._check_names(batch.schema.names)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise self._failure(error) from None

    def columns(self) -> pa.Schema:
        """Return the names and types of the columns."""
        first = next(self.batches(), None)
        if first is None:
            raise DataError(f"{self.path.name} has no rows")
        return first.schema

    def digest(self) -> bytes:
        """Return the SHA-256 of the file's bytes."""
        total = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(_HASH_PIECE_BYTES):
                total.update(piece)
        return total.digest()

    def _check_names(self, names: list[str]) -> None:
        if len(set(names)) == len(names):
            return
        twice = next(name for name in names if names.count(name) > 1)
        raise SchemaError(f"{self.path.name} has the column {twice!r} twice", hint="rename or remove one of them")

    def _failure(self, error: BaseException) -> DataError:
        """Return what to say of an error of Arrow's; it may quote a cell, which does not belong into a log."""
        text, name = str(error), self.path.name
        if isinstance(error, PermissionError):
            return DataError(f"{name} cannot be read: permission denied", hint="let the user of the node read it")
        if "Empty CSV file" in text:
            return DataError(f"{name} is empty", hint="a CSV file begins with the names of its columns")
        header = self._header() if self._open == self._csv else b""
        if b"\x00" in header or "invalid UTF8" in text:
            return DataError(f"{name} is not UTF-8", hint="save it again as UTF-8")
        if found := re.search(r"In CSV column #(\d+): CSV conversion error to (\w+)", text):
            column = next(csv.reader([header.decode("utf-8", "replace").lstrip("\ufeff")], delimiter=self._delimiter))
            which = column[int(found[1])] if int(found[1]) < len(column) else f"number {found[1]}"
            return SchemaError(
                f"column {which!r} of {name} holds something that is no {_KINDS.get(found[2], found[2])}",
                hint="correct the data, or the schema at every member",
            )
        return DataError(f"{name} cannot be read: {_first_line(error)}")

    def _header(self) -> bytes:
        try:
            with pa.input_stream(str(self.path), compression="detect") as file:
                return file.read(_HEADER_BYTES).split(b"\n", 1)[0].rstrip(b"\r")
        except (pa.ArrowException, OSError):
            return b""

    @property
    def _delimiter(self) -> str:
        return "\t" if self.path.suffix.lower() == ".tsv" else ","

    def _csv(self) -> Iterator[pa.RecordBatch]:
        reader = pyarrow.csv.open_csv(
            self.path,
            read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=self._delimiter),
            convert_options=pyarrow.csv.ConvertOptions(column_types=self._types),
        )
        with reader:
            self._check_delimiter(reader.schema.names)
            yield from reader

    def _check_delimiter(self, names: list[str]) -> None:
        other = {",": ";", "\t": ";,"}[self._delimiter]
        if len(names) == 1 and any(mark in names[0] for mark in other + "\t|"):
            separator = "tabs" if self._delimiter == "\t" else "commas"
            raise DataError(
                f"{self.path.name} has one column only, and its name looks like several",
                hint=f"columns of this kind of file are separated by {separator}; .tsv is for tabs",
            )

    def _parquet(self) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS)

    def _arrow(self) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(self.path)) as file:
            try:
                reader = pa.ipc.open_file(file)
            except pa.ArrowInvalid:
                file.seek(0)
                yield from pa.ipc.open_stream(file)
                return
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)


def _first_line(error: BaseException) -> str:
    # Arrow quotes the cell or the row that it could not read; neither belongs into a log.
    line = str(error).split("\n", 1)[0].split(" Row", 1)[0]
    line = re.sub(r"(invalid value )?'.*", "...", line)
    return re.sub(r"(Expected \d+ columns, got \d+).*", r"\1 in a row", line)
