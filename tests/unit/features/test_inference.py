import datetime as dt

import pyarrow as pa
import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import encode, infer_schema

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


def kinds(found):
    return {field.name: field.kind for field in found.schema.fields}


def test_inference_uses_what_it_can_and_says_what_it_leaves_out():
    table = TABLE.append_column("name", pa.array(["p", "q", "r"])).append_column("raw", pa.array([b"", b"", b""]))
    table = table.append_column("void", pa.nulls(3)).append_column("gap", pa.nulls(3, pa.string()))
    table = table.append_column("view", pa.array(["v", "w", "v"]).dictionary_encode())
    table = table.append_column("account_id", pa.array([1, 2, 3]))
    found = infer_schema(table, drop=["note"], most_levels=2)
    assert kinds(found) == {
        "amount": "numeric",
        "chip": "boolean",
        "channel": "categorical",
        "at": "time",
        "view": "categorical",
    }
    assert found.schema.fields[2].levels == ("b", "z")
    assert found.ignored == {
        "note": "dropped",
        "name": "more than 2 different texts",
        "raw": "holds binary",
        "void": "empty",
        "gap": "empty",
        "account_id": "an identifier",
    }
    assert encode(found.schema, table).shape == (3, 8)


def test_short_texts_of_many_levels_that_repeat_are_left_out_with_what_could_be_done():
    found = infer_schema(TABLE.append_column("town", pa.array(["p", "q", "r"])).take([0, 1, 2] * 3), most_levels=2)
    assert "hash" in found.ignored["town"]
    assert "frequency" in found.ignored["town"]


def test_long_texts_are_read_byte_by_byte_as_far_as_most_of_them_go():
    texts = pa.array([f"GET /search?term={at:04}&page=1" for at in range(100)])
    (field,) = infer_schema(pa.table({"request": texts})).schema.fields
    assert (field.kind, field.length) == ("text", 32)


def test_iso_times_in_text_are_times_and_other_texts_are_not():
    table = pa.table(
        {
            "at": ["2026-01-31T10:00:00Z", "", "2026-02-01"],
            "day": pa.array([dt.date(2026, 1, 1)] * 3),
            "almost": ["2026-01-31", "2026-02-30", "2026-03-01"],
            "epoch": [1_767_225_600, 1_767_225_601, 1_767_225_602],
        }
    )
    found = infer_schema(table)
    assert kinds(found) == {"at": "time", "day": "time", "almost": "categorical", "epoch": "numeric"}
    assert found.schema.fields[1].parts == ("weekday",)


def test_lists_are_sequences_of_events():
    calls = pa.array([["open", "read"], ["open"]], pa.large_list(pa.large_string()))
    found = infer_schema(pa.table({"calls": calls, "codes": [[1], [2, 3]]}))
    assert kinds(found) == {"calls": "events", "codes": "events"}


IDENTIFIED = pa.table(
    {
        "customerId": [7, 8, 7, 8],
        "event_id": [1, 2, 3, 4],
        "at": [NOON] * 4,
        "amount": [1.0, 2.0, 3.0, 4.0],
        "PAID": [0, 1, 2, 3],
    }
)


def test_identifiers_that_repeat_suggest_windows_if_there_is_a_time():
    found = infer_schema(IDENTIFIED)
    assert [window.entity for window in found.windows] == [("customerId",)]
    assert found.windows[0].value == "amount"
    assert found.schema.windows == ()
    assert kinds(found) == {"at": "time", "amount": "numeric", "PAID": "numeric"}
    assert infer_schema(IDENTIFIED, windows=True).schema.windows == found.windows
    assert set(found.ignored) == {"customerId", "event_id"}
    assert set(infer_schema(IDENTIFIED, windows=True).ignored) == {"event_id"}
    assert infer_schema(IDENTIFIED.drop(["at"]), windows=True).schema.windows == ()
    assert infer_schema(IDENTIFIED.drop(["amount"])).windows[0].statistics == ("count", "since_last")


def test_inference_refuses_unknown_columns_and_tables_without_a_usable_one():
    with pytest.raises(SchemaError, match="no column 'x' to drop"):
        infer_schema(TABLE, drop=["x"])
    with pytest.raises(SchemaError, match="no column can be used"):
        infer_schema(TABLE.select(["note"]), most_levels=2)
