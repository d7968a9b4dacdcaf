import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Schema, encode
from fedanomaly.node.encoding import conformed, types_of

SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric"),
        Column(name="chip", kind="boolean"),
        Column(name="kind", kind="categorical", levels=("1", "x")),
        Column(name="at", kind="time"),
    )
)
NOON = dt.datetime(2024, 5, 1, 12, 30)  # noqa: DTZ001 - a zone comes below
ZONED = pa.array([NOON, None], pa.timestamp("ns", tz="Europe/Berlin"))

BATCHES = [
    {"amount": [1, None], "chip": [True, None], "kind": ["x", None], "at": pa.array([NOON, None], pa.timestamp("s"))},
    {"amount": [1.5, 2.5], "chip": [1, 0], "kind": [1, 2], "at": ZONED},
    {
        "amount": pa.array([True, False]),
        "chip": [0.0, 1.0],
        "kind": pa.array(["x", "y"]).dictionary_encode(),
        "at": pa.nulls(2),
    },
    {"amount": pa.nulls(2), "chip": pa.nulls(2), "kind": pa.nulls(2), "at": pa.array([NOON, NOON])},
]


@pytest.mark.parametrize("columns", BATCHES)
def test_rows_encode_the_same_before_and_after_they_are_stored(columns):
    batch = pa.record_batch(columns)

    np.testing.assert_array_equal(encode(SCHEMA, conformed(SCHEMA, batch)), encode(SCHEMA, batch))


def test_all_batches_are_stored_with_the_same_types_and_without_further_columns():
    schemas = {str(conformed(SCHEMA, pa.record_batch({**columns, "more": [1, 2]})).schema) for columns in BATCHES}

    assert len(schemas) == 1
    assert "more" not in schemas.pop()


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(SchemaError, match="amount"):
        conformed(SCHEMA, pa.record_batch({**BATCHES[0], "amount": ["a", "b"]}))


def test_levels_and_numbers_of_a_text_file_are_not_guessed():
    assert types_of(SCHEMA) == {"amount": pa.float64(), "kind": pa.string()}


def test_a_time_that_cannot_be_read_is_refused():
    with pytest.raises(SchemaError, match="at"):
        conformed(SCHEMA, pa.record_batch({**BATCHES[0], "at": ["noon", "later"]}))
