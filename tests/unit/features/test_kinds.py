"""What every kind makes of its cells, missing and unseen ones included."""

import datetime as dt
import hashlib
import math

import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Encoder, Schema, encode


def features(values, **described):
    return encode(Schema((Column(name="x", **described),)), pa.table({"x": values}))


def number(text, n_bytes):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:n_bytes], "big")


def same(rows, expected):
    np.testing.assert_array_equal(rows, np.array(expected, dtype=float))


def test_numbers_are_clipped_before_they_are_transformed():
    rows = features([-5.0, 100.0, None, 0.5], kind="numeric", clip=(-2, 3), transform="log")
    np.testing.assert_allclose(rows[:, 0], [-math.log(3), math.log(4), np.nan, math.log(1.5)], rtol=1e-15)


def test_extreme_numbers_stay_finite_under_the_logarithm():
    assert np.isfinite(features([1e300, -1e300, 1e-300, 0.0], kind="numeric", transform="log")).all()


def test_levels_are_hashed_into_buckets_by_their_sha256():
    rows = features(["a", "b", None, "a"], kind="categorical", encode="hash", buckets=8)
    expected = np.zeros((4, 8))
    expected[[0, 3], number("a", 8) % 8] = 1
    expected[1, number("b", 8) % 8] = 1
    same(rows, expected)


def test_a_level_surprises_less_each_time_and_a_missing_one_counts_nothing():
    described = {"kind": "categorical", "encode": "frequency", "buckets": 100}
    rows = features(["a", "b", None, "a", "a"], **described)[:, 0]
    np.testing.assert_allclose(
        rows, [-math.log(1 / 100), -math.log(1 / 101), np.nan, -math.log(2 / 102), -math.log(3 / 103)], rtol=1e-15
    )


def test_levels_of_one_bucket_count_together_and_the_state_does_not_grow():
    encoder = Encoder(Schema((Column(name="x", kind="categorical", encode="frequency", buckets=2),)))
    rows = encoder.encode(pa.table({"x": [str(at) for at in range(1000)]}))[:, 0]
    assert (rows[100:] < math.log(3)).all()
    assert (rows >= 0).all()
    assert encoder._surprises["x"]._counts.shape == (2,)


def test_a_week_is_a_circle_that_begins_on_monday():
    monday = dt.datetime(2026, 1, 5, 23, 59)  # noqa: DTZ001 - a column without a zone
    days = [monday + dt.timedelta(days=at) for at in range(7)]
    rows = features([*days, None], kind="time", parts=("weekday", "hour"))
    angles = 2 * np.pi * np.arange(7) / 7
    np.testing.assert_allclose(rows[:7, 0], np.sin(angles), atol=1e-12)
    np.testing.assert_allclose(rows[:7, 1], np.cos(angles), atol=1e-12)
    assert (rows[:7, 3] > 0.99).all()
    assert np.isnan(rows[7]).all()


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T10:00:00Z",
        "2026-01-31 12:00+02:00",
        "2026-01-31 08:00:00.0000001-0200",
        " 2026-01-31 10:00:00.000000000 ",
    ],
)
def test_iso_texts_are_times_in_utc(text):
    at = dt.datetime(2026, 1, 31, 10)  # noqa: DTZ001 - a column without a zone
    same(features([text], kind="time"), features([at], kind="time"))


def test_dates_are_midnight():
    same(features([dt.date(2026, 1, 31)], kind="time"), [[0, 1]])
    same(features(["2026-01-31", "NA", None], kind="time"), [[0, 1], [np.nan] * 2, [np.nan] * 2])


def test_a_day_that_does_not_exist_is_told():
    with pytest.raises(SchemaError, match="is a time, but holds text"):
        features(["2026-01-31", "2026-02-30"], kind="time")


def test_numbers_and_truth_values_may_be_spelt():
    same(features(["1e3", " -.5 ", "", "nan", None], kind="numeric"), [[1000], [-0.5]] + [[np.nan]] * 3)
    same(features(["true", "False", "1", "0.0", ""], kind="boolean"), [[1], [0], [1], [0], [np.nan]])
    with pytest.raises(SchemaError, match="infinite"):
        features(["1e999"], kind="numeric")


def test_a_text_is_its_bytes_and_nothing_behind_its_end():
    nan = np.nan
    rows = features(["ab", "ü", "", None, "abcdef"], kind="text", length=4)
    ue = list("ü".encode())
    same(rows, [[97, 98, nan, nan], [*ue, nan, nan], [nan] * 4, [nan] * 4, [97, 98, 99, 100]])


def test_a_slice_of_a_text_column_is_read_from_its_own_start():
    table = pa.table({"x": ["aa", "bb", "cc"]}).slice(1, 2)
    same(encode(Schema((Column(name="x", kind="text", length=2),)), table), [[98, 98], [99, 99]])


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (["  open\tread open", "", None], None),
        (["open;read;;open", ";", None], ";"),
        ([["open", None, "read", "", "open"], [], None], None),
        (pa.array([["open", "read", "open"], [], None], pa.large_list(pa.large_string())), None),
    ],
)
def test_events_are_tokens_however_they_are_written(values, separator):
    rows = features(values, kind="events", length=4, separator=separator)
    tokens = [float(number(text, 6)) for text in ("open", "read", "open")]
    same(rows, [[*tokens, np.nan], [np.nan] * 4, [np.nan] * 4])
    assert all(token < 2**48 for token in tokens)


def test_events_beyond_the_length_are_cut_and_numbers_are_their_digits():
    same(features([[5, 22, 5]], kind="events", length=2), [[number("5", 6), number("22", 6)]])


@pytest.mark.parametrize("kind", ["numeric", "boolean", "time", "text", "events"])
def test_no_rows_and_no_values_have_the_right_shape(kind):
    width = Schema((Column(name="x", kind=kind),)).n_features
    assert features(pa.nulls(0), kind=kind).shape == (0, width)
    assert np.isnan(features(pa.nulls(2), kind=kind)).all()
    assert np.isnan(features(pa.nulls(2, pa.string()), kind=kind)).all()


def test_what_cannot_be_text_or_events_is_told():
    with pytest.raises(SchemaError, match="'x' is text, but holds struct"):
        features([{"a": 1}], kind="text")
    with pytest.raises(SchemaError, match="'x' is events, but holds list"):
        features([[[1]]], kind="events")
