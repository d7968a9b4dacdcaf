import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Order, Schema, Window, encode
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

    np.testing.assert_array_equal(encode(SCHEMA, conformed(SCHEMA, batch, Order(()))), encode(SCHEMA, batch))


def test_all_batches_are_stored_with_the_same_types_and_without_further_columns():
    schemas = {
        str(conformed(SCHEMA, pa.record_batch({**columns, "more": [1, 2]}), Order(())).schema) for columns in BATCHES
    }

    assert len(schemas) == 1
    assert "more" not in schemas.pop()


WINDOWED = Schema(
    (
        Column(name="note", kind="text", length=4),
        Column(name="calls", kind="events", length=2),
        Column(name="shop", kind="categorical", encode="frequency"),
    ),
    (Window(entity=("card",), time="at", value="amount", statistics=("sum", "distinct:shop"), spans=("1h",)),),
)


@pytest.mark.parametrize("calls", [["open read", "007"], [["open", "read"], ["007"]], None])
@pytest.mark.parametrize("cards", [[7, 7], ["007", "007"], pa.array(["7", None]).dictionary_encode()])
def test_rows_that_windows_read_encode_the_same_after_they_are_stored(calls, cards):
    batch = pa.record_batch(
        {
            "note": ["é", None],
            "calls": pa.nulls(2) if calls is None else calls,
            "shop": [1, 2],
            "card": cards,
            "at": ["2026-01-31T10:00:00+01:00", "2026-01-31T10:00"],
            "amount": [1, None],
            "more": ["x", "y"],
        }
    )
    stored = conformed(WINDOWED, batch, Order(WINDOWED.windows))

    assert stored.schema.names == ["note", "calls", "shop", "card", "at", "amount"]
    np.testing.assert_array_equal(encode(WINDOWED, stored), encode(WINDOWED, batch))


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(SchemaError, match="amount"):
        conformed(SCHEMA, pa.record_batch({**BATCHES[0], "amount": ["a", "b"]}), Order(()))


def test_levels_and_numbers_of_a_text_file_are_not_guessed():
    assert types_of(SCHEMA) == {"amount": pa.float64(), "kind": pa.string()}
    assert types_of(WINDOWED) == {
        **dict.fromkeys(("note", "calls", "shop", "card"), pa.string()),
        "amount": pa.float64(),
    }


def test_a_time_that_cannot_be_read_is_refused():
    with pytest.raises(SchemaError, match="at"):
        conformed(SCHEMA, pa.record_batch({**BATCHES[0], "at": ["noon", "later"]}), Order(()))
