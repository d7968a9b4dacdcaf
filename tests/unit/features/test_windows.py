"""Windows by hand: what each statistic is, and what missing, new and late rows give."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Encoder, Schema, Window, encode

START = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - a column without a zone
NAN = np.nan


def rows(minutes, cards, amounts=None, shops=None):
    amounts = [1.0] * len(cards) if amounts is None else amounts
    at = [None if minute is None else START + dt.timedelta(minutes=minute) for minute in minutes]
    return pa.table(
        {
            "at": pa.array(at, pa.timestamp("us")),
            "card": pa.array(cards, pa.string()),
            "amount": pa.array(amounts, pa.float64()),
            "shop": pa.array(shops or ["s"] * len(cards), pa.string()),
        }
    )


def schema(*statistics, spans=("1h",), entity=("card",), **more):
    value = "amount" if set(statistics) & {"sum", "mean", "max", "ratio"} else None
    window = Window(entity=entity, time="at", statistics=statistics, spans=spans, value=value, **more)
    return Schema((), (window,))


def column(*statistics, table, **more):
    return encode(schema(*statistics, **more), table)[:, 0].tolist()


def same(found, expected):
    np.testing.assert_array_equal(np.array(found), np.array(expected, dtype=float))


def test_a_window_holds_the_row_itself_and_ends_before_what_is_a_span_old():
    same(column("count", table=rows([0, 59, 60, 119], ["a"] * 4)), [1, 2, 2, 2])


def test_rows_of_one_time_follow_each_other():
    same(column("count", table=rows([0, 0, 0], ["a"] * 3)), [1, 2, 3])
    same(column("since_last", table=rows([0, 0, 30], ["a"] * 3)), [NAN, 0, 1800])


def test_entities_do_not_see_each_other():
    same(column("count", table=rows([0, 1, 2, 3], ["a", "b", "a", "b"])), [1, 1, 2, 2])


def test_two_columns_together_are_an_entity():
    table = rows([0, 1, 2, 3], ["a", "a", "b", "a"], shops=["s", "t", "s", "s"])
    same(column("count", table=table, entity=("card", "shop")), [1, 1, 1, 2])


def test_every_statistic_of_values():
    table = rows([0, 1, 2, 70], ["a"] * 4, [2.0, -4.0, 8.0, 5.0])
    found = encode(schema("sum", "mean", "max", "ratio"), table)
    same(found, [[2, 2, 2, 1], [-2, -1, 2, 4], [6, 2, 8, 4], [5, 5, 5, 1]])


def test_a_missing_value_counts_as_a_row_and_as_no_value():
    table = rows([0, 1, 2], ["a"] * 3, [None, 4.0, None])
    found = encode(schema("count", "sum", "mean", "max", "ratio"), table)
    same(found, [[1, 0, NAN, NAN, NAN], [2, 4, 4, 4, 1], [3, 4, 4, 4, NAN]])


def test_a_ratio_to_a_mean_of_nothing_is_missing():
    same(column("ratio", table=rows([0, 1], ["a"] * 2, [1.0, -1.0])), [1, NAN])


def test_different_texts_are_counted_while_they_are_in_the_window():
    table = rows([0, 1, 2, 30, 60, 61, 200], ["a"] * 7, shops=["s", "t", "s", None, "u", "u", None])
    same(column("distinct:shop", table=table), [1, 2, 2, 2, 3, 2, 0])


def test_since_last_has_the_widest_span_only_and_is_missing_beyond():
    table = rows([0, 90, 91, 300], ["a"] * 4)
    found = schema("since_last", spans=("2h", "1h"))
    assert found.feature_names == ("card:since_last:2h",)
    same(encode(found, table)[:, 0], [NAN, 5400, 60, NAN])


def test_a_delayed_window_sees_what_is_older_and_not_the_row():
    table = rows([0, 30, 60, 61, 150], ["a"] * 5, [1.0, 2.0, 4.0, 8.0, 16.0], ["s", "t", "s", "u", "v"])
    found = encode(schema("count", "sum", "mean", "max", "ratio", "distinct:shop", "since_last", delay="1h"), table)
    nothing = [0, 0, NAN, NAN, NAN, 0, NAN]
    one = [1, 1, 1, 1]
    same(found[:4], [nothing, nothing, [*one, 4, 1, 3600], [*one, 8, 1, 3660]])
    same(found[4], [2, 12, 6, 8, 16 / 6, 2, 89 * 60])


@pytest.mark.parametrize("gap", [{"minutes": [0, None, 1]}, {"cards": ["a", None, "a"]}])
def test_a_row_without_entity_or_time_has_no_features_and_counts_nowhere(gap):
    table = rows(**{"minutes": [0, 5, 1], "cards": ["a"] * 3, **gap})
    found = encode(schema("count", "sum", "distinct:shop"), table)
    same(found, [[1, 1, 1], [NAN] * 3, [2, 2, 1]])


def test_a_late_row_counts_at_the_newest_time_and_a_later_one_is_refused():
    table = rows([0, 60, 30], ["a", "b", "a"])
    same(column("count", table=table, spans=("45m",)), [1, 1, 1])
    same(column("since_last", table=table, spans=("2h",)), [NAN, NAN, 3600])
    with pytest.raises(SchemaError, match="'at' goes back by more than 29m") as caught:
        column("count", table=table, late="29m")
    assert "sort" in caught.value.hint


def test_what_is_refused_was_not_counted():
    encoder = Encoder(schema("count", late="0s"))
    encoder.encode(rows([10], ["a"]))
    for bad in (rows([11, 5], ["a", "a"]), rows([12], ["a"]).drop(["card"])):
        with pytest.raises(SchemaError):
            encoder.encode(bad)
    same(encoder.encode(rows([11], ["a"])), [[2]])


def test_sums_are_exact_however_different_the_values_are():
    table = rows(range(5), ["a"] * 5, [1e15, 0.25, -1e15, 1e300, -1e300])
    same(column("sum", table=table), [1e15, 1e15 + 0.25, 0.25, 2.0**60, 0.25])
    same(column("max", table=table), [1e15, 1e15, 1e15, 2.0**60, 2.0**60])


def test_infinite_values_are_refused():
    with pytest.raises(SchemaError, match="'amount' holds infinite readings"):
        column("sum", table=rows([0], ["a"], [np.inf]))


def test_times_at_the_ends_of_what_can_be_written_do_no_harm():
    times = pa.array([-(2**63), 2**63 - 1, 2**63 - 1]).cast(pa.timestamp("us"))
    table = rows([0, 1, 2], ["a"] * 3).set_column(0, "at", times)
    same(column("count", table=table, spans=("3650d",), delay="3650d"), [0, 0, 0])
    same(column("count", table=table, spans=("3650d",)), [1, 1, 2])


def test_what_no_later_row_can_see_is_forgotten():
    encoder = Encoder(schema("count", spans=("1h", "5m"), delay="1h"))
    window = encoder._windows[0]
    for minute in range(0, 1200, 2):
        encoder.encode(rows([minute, minute], ["always", f"once {minute}"]))
    assert window._rows["always",].shape[1] <= 61
    assert len(window._rows) <= 125


def test_what_a_later_row_can_see_is_kept_to_the_last_moment():
    encoder = Encoder(schema("count"))
    counts = [encoder.encode(rows([minute], ["a"]))[0, 0] for minute in (0, 59.9, 59.99, 60)]
    same(counts, [1, 2, 3, 3])


def test_numbers_and_texts_name_the_same_entity():
    table = rows([0, 1, 2], ["1", "2", "1"])
    numbers = table.set_column(1, "card", pa.array([1.0, 2.0, 1.0]))
    same(column("count", table=table), column("count", table=numbers))
