"""From generated payments or the user's own files to one table for each organisation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fedanomaly.datasets import make_payments
from fedanomaly.errors import DataError
from fedanomaly.features import Schema, encode, infer_schema
from fedanomaly.node.sources import FileSource
from fedanomaly.types import Floats, Integers

MAX_MEMBERS = 30
TEST_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Organisation:
    """One organisation's own events.

    Parameters
    ----------
    name : str
        Name in the federation.
    train, test : pyarrow.Table
        What it trains on, and later events to evaluate with. Both hold the label
        column, where there is one.
    """

    name: str
    train: pa.Table
    test: pa.Table


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes part, with which columns.

    Parameters
    ----------
    organisations : tuple of Organisation
        At least three.
    schema : Schema
        The columns in use, agreed by all.
    label : str or None
        Column for evaluation only.
    ignored : dict of str to str
        Columns left out, and why.
    notes : tuple of str
        What to tell the user before it starts.
    """

    organisations: tuple[Organisation, ...]
    schema: Schema
    label: str | None
    ignored: dict[str, str]
    notes: tuple[str, ...]

    def pooled(self) -> Floats:
        """Return the training rows of all organisations together: what nobody has in a real federation."""
        return np.vstack([encode(self.schema, entry.train) for entry in self.organisations])

    def matrices(self, entry: Organisation) -> tuple[Floats, Floats, Integers]:
        """Return training rows, test rows and test labels of one organisation; no label column: zeros."""
        test = encode(self.schema, entry.test)
        labels = labels_of(entry.test, self.label) if self.label else np.zeros(len(test), dtype=np.int64)
        return encode(self.schema, entry.train), test, labels


def organisations_of(
    paths: Sequence[Path],
    *,
    split_by: str | None,
    members: int | None,
    label: str | None,
    drop: Sequence[str],
    seed: int,
    events: int,
) -> Plan:
    """Return who takes part: banks of generated payments, or whom the files hold.

    Raises
    ------
    DataError
        If the files cannot be split into at least three organisations.
    SchemaError
        If no column can be used.
    """
    if not paths:
        return _generated(members or 3, seed, events)
    tables = [pa.Table.from_batches(list(FileSource(path).batches())) for path in paths]
    check_columns(tables, paths)
    if len(tables) == 1:
        parts, owner_columns = split_table(tables[0], split_by=split_by, members=members, seed=seed)
    elif split_by or members:
        raise DataError("--split-by and --members split one file; here each file is an organisation")
    else:
        parts, owner_columns = {path.stem: table for path, table in zip(paths, tables, strict=True)}, []
    if len(parts) < 3 or len(parts) < len(tables):
        raise DataError("a federation has at least three organisations, with files of different names")
    left_out = [*drop, *owner_columns, *([label] if label else [])]
    inference = infer_schema(pa.concat_tables(parts.values(), promote_options="permissive"), drop=left_out)
    organisations = tuple(train_and_test(name, table, seed=seed) for name, table in parts.items())
    for organisation in organisations if label else ():
        labels_of(organisation.test, str(label))
    ignored = {name: _why(name, reason, label, owner_columns) for name, reason in inference.ignored.items()}
    return _plan(organisations, inference.schema, label, ignored)


def _generated(members: int, seed: int, events: int) -> Plan:
    payments = make_payments(events, members, random_state=seed)
    organisations = []
    for bank in payments.banks:
        before, after = payments.split(bank)
        organisations.append(Organisation(name=bank, train=before, test=after))
    inference = infer_schema(payments.table.select(payments.features))
    ignored = {name: "no feature" for name in payments.table.column_names if name not in payments.features}
    ignored["fraud"] = "label, for evaluation only"
    return _plan(tuple(organisations), inference.schema, "fraud", ignored)


def _plan(organisations: tuple[Organisation, ...], schema: Schema, label: str | None, ignored: dict[str, str]) -> Plan:
    notes = [f"columns used: {', '.join(schema.columns)} ({schema.n_features} features)"]
    if ignored:
        notes.append("columns ignored: " + "; ".join(f"{name} ({reason})" for name, reason in ignored.items()))
    return Plan(organisations=organisations, schema=schema, label=label, ignored=ignored, notes=tuple(notes))


def _why(name: str, reason: str, label: str | None, owner_columns: Sequence[str]) -> str:
    if name == label:
        return "label, for evaluation only"
    return "says whose an event is" if name in owner_columns else reason


def split_table(
    table: pa.Table, *, split_by: str | None, members: int | None, seed: int
) -> tuple[dict[str, pa.Table], list[str]]:
    """Split one table among organisations.

    Parameters
    ----------
    table : pyarrow.Table
        All events.
    split_by : str or None
        Column that says whose an event is: one organisation for each value, or,
        with `members`, values hashed into that many.
    members : int or None
        Number of organisations; without `split_by` events are dealt at random.
    seed : int
        Of the random deal.

    Returns
    -------
    dict of str to pyarrow.Table
        By organisation.
    list of str
        Columns that say who an organisation is, and so are no features.
    """
    if split_by is None:
        count = members or 3
        owner = np.random.default_rng(seed).integers(count, size=table.num_rows)
        return {f"member-{index + 1}": table.filter(pa.array(owner == index)) for index in range(count)}, []
    if split_by not in table.column_names:
        raise DataError(f"there is no column {split_by}", hint=f"columns: {', '.join(table.column_names)}")
    values = table.column(split_by).cast(pa.string()).to_pylist()
    names, owner = np.unique([value or "missing" for value in values], return_inverse=True)
    if members is not None:
        names, owner = np.arange(members), np.array([_bucket(name, members) for name in names])[owner]
    elif not 3 <= len(names) <= MAX_MEMBERS:
        raise DataError(
            f"column {split_by} has {len(names)} values; a federation has 3 to {MAX_MEMBERS} members here",
            hint="add --members N to hash the values into N organisations",
        )
    titles = [f"member-{name + 1}" for name in names] if members else [str(name) for name in names]
    parts = {title: table.filter(pa.array(owner == index)) for index, title in enumerate(titles)}
    return parts, [] if members else [split_by]


def train_and_test(name: str, table: pa.Table, *, seed: int) -> Organisation:
    """Set a random share of the events aside for evaluation.

    Raises
    ------
    DataError
        If there are too few events to do so.
    """
    if table.num_rows < 10:
        raise DataError(f"{name} has {table.num_rows} events; at least 10 are needed to train and evaluate")
    order = np.random.default_rng(seed).permutation(table.num_rows)
    cut = round(table.num_rows * (1 - TEST_SHARE))
    return Organisation(name=name, train=table.take(np.sort(order[:cut])), test=table.take(np.sort(order[cut:])))


def labels_of(table: pa.Table, label: str) -> Integers:
    """Return 1 for every anomaly, else 0.

    Raises
    ------
    DataError
        If the column does not hold two classes that mean no and yes.
    """
    if label not in table.column_names:
        raise DataError(f"there is no label column {label}", hint=f"columns: {', '.join(table.column_names)}")
    column = table.column(label)
    if pa.types.is_boolean(column.type):
        return np.asarray(column.to_numpy(), dtype=np.int64)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(f"the label column {label} must hold 0 and 1")
    values = column.to_numpy()
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"the label column {label} must hold 0 and 1")
    return values.astype(np.int64)


def check_columns(tables: Sequence[pa.Table], paths: Sequence[Path]) -> None:
    """Refuse files that do not have the same columns."""
    for table, path in zip(tables[1:], paths[1:], strict=True):
        if set(table.column_names) != set(tables[0].column_names):
            odd = sorted(set(table.column_names) ^ set(tables[0].column_names))
            raise DataError(f"{path.name} and {paths[0].name} differ in the columns {', '.join(odd)}")


def _bucket(value: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], "big") % buckets
