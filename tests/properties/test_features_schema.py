"""Any text is a schema that reads back as itself, or one of our errors; so is any table."""

import json
import os

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.errors import FedAnomalyError, SchemaError
from fedanomaly.features import Column, Schema, Window, encode

BOUNDED = settings(max_examples=int(os.environ.get("FEDANOMALY_EXAMPLES", "25")), deadline=None)
SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", lower=0.0, clip=(1, 5), transform="log"),
        Column(name="town", kind="categorical", encode="hash", buckets=3),
        Column(name="shop", kind="categorical", encode="frequency", buckets=3),
        Column(name="at", kind="time", parts=("weekday",)),
        Column(name="note", kind="text", length=2),
        Column(name="calls", kind="events", separator=";", length=2),
    ),
    (
        Window(
            entity=("card",), time="at", value="amount", statistics=("max", "distinct:town"), spans=("1h",), delay="1d"
        ),
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["1h", "card"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@BOUNDED
@given(st.data())
def test_a_changed_schema_reads_back_as_itself_or_is_refused(data):
    parts = [dict(part.plain()) for part in (*SCHEMA.fields, *SCHEMA.windows)]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.sampled_from([*part, "levels", "buckets", "length", "late", "clip"]))] = data.draw(JSON)
    text = json.dumps({"version": data.draw(st.sampled_from([1, 2])), "columns": parts[:-1], "windows": parts[-1:]})
    try:
        schema = Schema.from_json(text)
    except FedAnomalyError:
        return
    for again in (Schema.from_json(schema.to_json()), Schema.from_toml(schema.to_toml())):
        assert again == schema
        assert again.digest == schema.digest


CELL = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=2)
)
COLUMN = st.sampled_from([st.text(max_size=4), st.integers(-9, 9), st.floats(), st.datetimes(), st.booleans(), CELL])


@BOUNDED
@given(st.data())
def test_any_table_becomes_finite_or_missing_numbers_or_is_refused(data):
    columns = {}
    for name in SCHEMA.columns:
        cells = data.draw(st.lists(data.draw(COLUMN) | st.none(), min_size=3, max_size=3))
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            columns[name] = pa.nulls(3)
    try:
        rows = encode(SCHEMA, pa.table(columns))
    except SchemaError:
        return
    assert rows.shape == (3, SCHEMA.n_features)
    assert np.isfinite(rows[~np.isnan(rows)]).all()
