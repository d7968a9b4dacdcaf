import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Schema, encode

NOON = dt.datetime(2025, 3, 1, 12)  # noqa: DTZ001 - a column without a zone
TABLE = pa.table(
    {
        "amount": pa.array([1, None, 3]),
        "chip": pa.array([True, False, None]),
        "channel": pa.array(["b", None, "z"]),
        "at": pa.array([NOON, None, NOON + dt.timedelta(hours=6)]),
        "note": pa.array(["x", "y", "z"]),
    }
)
SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric"),
        Column(name="chip", kind="boolean"),
        Column(name="channel", kind="categorical", levels=("a", "b")),
        Column(name="at", kind="time"),
    )
)


def test_rows_become_numbers_in_the_order_of_the_feature_names():
    nan = np.nan
    expected = [[1, 1, 0, 1, 0, -1], [nan, 0, 0, 0, nan, nan], [3, nan, 0, 0, -1, 0]]
    assert np.allclose(encode(SCHEMA, TABLE), expected, equal_nan=True, atol=1e-12)


@pytest.mark.parametrize("kind", ["pandas", "polars", "batch", "dictionary"])
def test_every_kind_of_table_gives_the_same_numbers(kind):
    frames = {
        "pandas": TABLE.to_pandas,
        "polars": lambda: pl.from_arrow(TABLE),
        "batch": lambda: TABLE.to_batches()[0],
        "dictionary": lambda: TABLE.set_column(2, "channel", TABLE["channel"].dictionary_encode()),
    }
    frame = frames[kind]()
    assert isinstance(frame, pd.DataFrame | pl.DataFrame | pa.RecordBatch | pa.Table)
    assert np.allclose(encode(SCHEMA, frame), encode(SCHEMA, TABLE), equal_nan=True)


def test_an_empty_table_gives_no_rows():
    assert encode(SCHEMA, TABLE.slice(0, 0)).shape == (0, 6)


def test_columns_without_any_value_are_missing_throughout():
    empty = pa.table({name: pa.nulls(2) for name in SCHEMA.columns})
    rows = encode(SCHEMA, empty)
    assert np.isnan(rows[:, [0, 1, 4, 5]]).all()
    assert (rows[:, 2:4] == 0).all()


def test_decimals_and_large_integers_are_numbers():
    table = pa.table({"x": pa.array([2**60 + 1]), "y": pa.array([1]).cast(pa.decimal128(30, 2))})
    schema = Schema((Column(name="x", kind="numeric"), Column(name="y", kind="numeric")))
    assert encode(schema, table).tolist() == [[2.0**60, 1.0]]


def test_numbers_may_be_levels():
    schema = Schema((Column(name="x", kind="categorical", levels=("1", "2")),))
    assert encode(schema, pa.table({"x": [2, 1, 5]})).tolist() == [[0, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("amount", pa.array(["a", "b", "secret-value"]), "amount.* is numeric, but holds text"),
        ("amount", pa.array([1.0, np.inf, 2.0]), "amount.* infinite"),
        ("chip", pa.array([0, 1, 77]), "chip.* other numbers than 0 and 1"),
        ("chip", pa.array(["a", "b", "c"]), "chip.* is boolean, but holds text"),
        ("channel", pa.array([[1], [2], [77]]), "channel.* is text, but holds list"),
        ("at", pa.array([1, 2, 77]), "at.* is a time, but holds int64"),
    ],
)
def test_what_does_not_fit_names_the_column_and_no_value(column, values, text):
    table = TABLE.set_column(TABLE.column_names.index(column), column, values)
    with pytest.raises(SchemaError, match=text) as caught:
        encode(SCHEMA, table)
    assert "77" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_readings_outside_their_bounds_are_an_error_and_missing_ones_are_not():
    schema = Schema((Column(name="amount", kind="numeric", lower=1.0, upper=3.0),))
    encode(schema, TABLE)
    for bounds in ({"lower": 2.0}, {"upper": 2.0}):
        with pytest.raises(SchemaError, match="outside its bounds"):
            encode(Schema((Column(name="amount", kind="numeric", **bounds),)), TABLE)


def test_all_problems_are_told_at_once():
    table = pa.table([pa.array(["a"]), pa.array([1]), pa.array([1])], names=["amount", "chip", "chip"])
    with pytest.raises(SchemaError) as caught:
        encode(SCHEMA, table)
    assert all(part in str(caught.value) for part in ("'amount'", "'chip' is there twice", "'channel' is missing"))


def test_what_is_no_table_is_refused():
    with pytest.raises(SchemaError, match="no table"):
        encode(SCHEMA, [1, 2])
