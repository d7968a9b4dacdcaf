"""One schema, and everything that does not fit it."""

from __future__ import annotations

import datetime as dt
import gzip

import pyarrow as pa

from fedanomaly.features import Column, Schema

SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", lower=0.0, upper=1000.0),
        Column(name="chip", kind="boolean"),
        Column(name="kind", kind="categorical", levels=("card", "sepa")),
        Column(name="at", kind="time"),
    )
)
HEADER = "amount,chip,kind,at\n"
ROW = "1.5,true,card,2026-01-31 13:00:00\n"

_NOON = dt.datetime(2026, 1, 31, 12, 0, 0)  # noqa: DTZ001 - data have times without a zone


def table(**changed: list) -> pa.Table:
    """Return two rows that fit, with some columns replaced."""
    columns = {"amount": [1.5, 2.5], "chip": [True, False], "kind": ["card", "sepa"], "at": [_NOON, _NOON]}
    return pa.table({name: values for name, values in {**columns, **changed}.items() if values})


TABLES = {
    "missing": (table(amount=[]), "'amount' is missing"),
    "text for a number": (table(amount=["private", "1"]), "'amount' is numeric, but holds text"),
    "below the bounds": (table(amount=[-1.0, 1.0]), "'amount' holds readings outside its bounds"),
    "above the bounds": (table(amount=[1.0, 2**53]), "'amount' holds readings outside its bounds"),
    "infinite": (table(amount=[1.0, float("inf")]), "'amount' holds infinite readings"),
    "text for a truth value": (table(chip=["private", "true"]), "'chip' is boolean, but holds text"),
    "number for a truth value": (table(chip=[2, 3]), "'chip' is boolean, but holds other numbers"),
    "text for a time": (table(at=["private", "31/01/2026"]), "'at' is a time, but holds text"),
    "number for a time": (table(at=[1.0, 2.0]), "'at' is a time, but holds double"),
}
"""Tables that do not fit, and what is said of them."""

FILES = {
    "missing.csv": (b"amount,chip,kind\n1,true,card\n", "FA202", "'at' is missing"),
    "text.csv": (f"{HEADER}private,true,card,2026-01-31 13:00:00\n".encode(), "FA202", "'amount'"),
    "late.csv": (
        (HEADER + ROW * 400_000 + ROW.replace("1.5", "private")).encode(), "FA202", "'amount' of late.csv holds",
    ),
    "range.csv": (f"{HEADER}-5,true,card,2026-01-31 13:00:00\n".encode(), "FA202", "outside its bounds"),
    "infinite.csv": (f"{HEADER}inf,true,card,2026-01-31 13:00:00\n".encode(), "FA202", "infinite"),
    "huge.csv": (f"{HEADER}{'9' * 40},true,card,2026-01-31 13:00:00\n".encode(), "FA202", "outside its bounds"),
    "mixed.csv": (f"{HEADER}{ROW}2,maybe,card,2026-01-31 13:00:00\n".encode(), "FA202", "'chip' is boolean"),
    "dates.csv": (f"{HEADER}{ROW}2,true,card,31/01/2026\n".encode(), "FA202", "'at' is a time, but holds text"),
    "empty.csv": (b"", "FA200", "empty.csv is empty"),
    "header.csv": (HEADER.encode(), "FA200", "no rows"),
    "latin.csv": (f"{HEADER}1,true,caf\xe9,2026-01-31 13:00:00\n".encode("latin-1"), "FA200", "not UTF-8"),
    "utf16.csv": ((HEADER + ROW).encode("utf-16"), "FA200", "not UTF-8"),
    "semicolons.csv": ((HEADER + ROW).replace(",", ";").encode(), "FA200", "separated by commas"),
    "commas.tsv": ((HEADER + ROW).encode(), "FA200", "separated by tabs"),
    "twice.csv": (b"amount,amount,chip,kind,at\n1,2,true,card,2026-01-31 13:00:00\n", "FA202", "'amount' twice"),
    "ragged.csv": (f"{HEADER}1,private\n".encode(), "FA200", "Expected 4 columns, got 2 in a row"),
    "quote.csv": (f'{HEADER}1,true,"card,2026-01-31\n'.encode(), "FA200", "cannot be read"),
    "noise.csv.gz": (b"no gzip", "FA200", "cannot be read"),
    "cut.csv.gz": (gzip.compress((HEADER + ROW * 2000).encode(), mtime=0)[:-20], "FA200", "cannot be read"),
    "noise.parquet": (b"nothing of the kind", "FA200", "cannot be read"),
    "noise.arrow": (b"nothing of the kind", "FA200", "cannot be read"),
    "rows.xlsx": (b"PK", "FA200", "no kind that is read here"),
}  # fmt: skip
"""Files that cannot be added: bytes, code, and what is said of them."""
