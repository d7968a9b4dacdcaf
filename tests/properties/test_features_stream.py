"""One schema for batch and stream: the same numbers to the last bit, and those that the definition says."""

import datetime as dt
import os
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.features import Column, Encoder, Schema, Window, encode

BOUNDED = settings(max_examples=int(os.environ.get("FEDANOMALY_EXAMPLES", "25")), deadline=None)
START = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - a column without a zone
MINUTE_US = 60_000_000
STATISTICS = ("count", "sum", "mean", "max", "ratio", "since_last", "distinct:shop")
SPANS = ("10m", "1h", "1d")
NOW = Window(entity=("card",), time="at", value="amount", statistics=STATISTICS, spans=SPANS)
THEN = Window(entity=("card", "shop"), time="at", value="amount", statistics=STATISTICS, spans=SPANS, delay="15m")
SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", transform="log", clip=(-1e6, 1e6)),
        Column(name="shop", kind="categorical", encode="frequency", buckets=4),
        Column(name="at", kind="time", parts=("hour", "weekday")),
        Column(name="note", kind="text", length=3),
        Column(name="calls", kind="events", length=2),
    ),
    (NOW, THEN),
)
ROW = st.tuples(
    st.integers(-30, 90),
    st.sampled_from(["a", "a", "b", None]),
    st.sampled_from([0.1, 0.2, 0.3, -7.7, 1e15, -1e15, 1e300, 0.0, None]),
    st.sampled_from(["s", "t", "u", None]),
)


@st.composite
def tables(draw):
    """Draw rows whose times mostly rise."""
    drawn = draw(st.lists(ROW, max_size=40))
    minutes = np.cumsum([step for step, *_ in drawn]) if drawn else []
    newest = np.maximum.accumulate(minutes) if drawn else []
    at = [max(int(minute), int(now) - 60) for minute, now in zip(minutes, newest, strict=True)]
    missing = draw(st.sets(st.integers(0, 39), max_size=3))
    times = [None if row in missing else START + dt.timedelta(minutes=minute) for row, minute in enumerate(at)]
    _, cards, amounts, shops = zip(*drawn, strict=True) if drawn else ((), (), (), ())
    return pa.table(
        {
            "at": pa.array(times, pa.timestamp("us")),
            "card": pa.array(cards, pa.string()),
            "amount": pa.array(amounts, pa.float64()),
            "shop": pa.array(shops, pa.string()),
            "note": pa.array(shops, pa.string()),
            "calls": pa.array(cards, pa.string()),
        }
    )


def bits(rows):
    return np.ascontiguousarray(rows).view(np.uint64)


def in_parts(table, cuts):
    encoder, edges = Encoder(SCHEMA), [0, *sorted(cuts), table.num_rows]
    return np.vstack([encoder.encode(table.slice(a, b - a)) for a, b in pairwise(edges)])


@BOUNDED
@given(tables(), st.data())
def test_any_division_into_batches_gives_the_same_numbers_to_the_last_bit(table, data):
    whole = bits(encode(SCHEMA, table))
    cuts = data.draw(st.lists(st.integers(0, table.num_rows), max_size=6))
    np.testing.assert_array_equal(bits(in_parts(table, cuts)), whole)
    np.testing.assert_array_equal(bits(in_parts(table, range(table.num_rows))), whole)


@BOUNDED
@given(tables())
def test_windows_are_what_their_definition_says(table):
    features = encode(Schema((), (NOW, THEN)), table)
    expected = np.hstack([by_definition(window, table.to_pylist()) for window in (NOW, THEN)])
    np.testing.assert_allclose(features, expected, rtol=1e-12, atol=0)


def by_definition(window, rows):
    """Return the features of a window, row by row and with fractions."""
    now, seen, out = None, [], []
    for row in rows:
        entity = tuple(row[name] for name in window.entity)
        if row["at"] is None or None in entity:
            out.append([np.nan] * len(window.measures))
            continue
        us = int((row["at"] - START) / dt.timedelta(microseconds=1))
        now = us if now is None else max(now, us)
        me = (now, entity, row["amount"], row["shop"])
        seen.append(me)
        out.append([one(window, statistic, window.spans_us[at], me, seen) for statistic, at in window.measures])
    return np.array(out, dtype=float).reshape(len(rows), len(window.measures))


def one(window, statistic, span_us, me, seen):
    now, entity, amount, _shop = me
    end = now - window.delay_us
    inside = [row for row in seen if row[1] == entity and end - span_us < row[0] <= end]
    values = [in_units(row[2]) for row in inside if row[2] is not None]
    mean = sum(values) / len(values) if values else None
    others = [row for row in inside if row is not me]
    return {
        "count": len(inside),
        "sum": float(sum(values)),
        "mean": np.nan if mean is None else float(mean),
        "max": max((clipped(row[2]) for row in inside if row[2] is not None), default=np.nan),
        "ratio": np.nan if not mean or amount is None else clipped(amount) / float(mean),
        "since_last": (now - others[-1][0]) / 1e6 if others else np.nan,
        "distinct:shop": len({row[3] for row in inside} - {None}),
    }[statistic]


def clipped(value):
    return min(max(value, -(2.0**60)), 2.0**60)


def in_units(value):
    return Fraction(round(Fraction(clipped(value)) * 2**20), 2**20)
