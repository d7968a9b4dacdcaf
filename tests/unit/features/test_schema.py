from dataclasses import replace

import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Schema, Window

SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", lower=0.0, upper=1e6),
        Column(name='na"me\n\x7f', kind="boolean"),
        Column(name="channel", kind="categorical", levels=("chip", "ünline", "")),
        Column(name="at", kind="time"),
    )
)


VISITS = Window(entity=("card", "shop"), time="at", statistics=("count", "distinct:till"), spans=("1h", "1d"))
RICH = Schema(
    (
        Column(name="amount", kind="numeric", clip=(0, 500), transform="log"),
        Column(name="town", kind="categorical", encode="hash"),
        Column(name="branch", kind="categorical", encode="frequency", buckets=64),
        Column(name="at", kind="time", parts=("hour", "weekday")),
        Column(name="note", kind="text", length=4),
        Column(name="calls", kind="events", separator=";", length=2),
    ),
    (VISITS, Window(entity=("card",), time="at", value="amount", statistics=("mean",), spans=("7d",), delay="7d")),
)


@pytest.mark.parametrize("schema", [SCHEMA, RICH], ids=["today", "rich"])
def test_text_forms_read_back_to_an_equal_schema(schema):
    for again in (Schema.from_json(schema.to_json()), Schema.from_toml(schema.to_toml())):
        assert again == schema
        assert again.digest == schema.digest


def test_a_schema_is_written_in_the_oldest_form_that_can_say_it():
    assert SCHEMA.to_toml().startswith("version = 1\n")
    assert RICH.to_toml().startswith("version = 2\n")
    newer = Schema.from_toml(SCHEMA.to_toml().replace("version = 1", "version = 2"))
    assert newer.digest == SCHEMA.digest
    with pytest.raises(SchemaError, match="more than version 1 can") as caught:
        Schema.from_toml(RICH.to_toml().replace("version = 2", "version = 1"))
    assert caught.value.hint == "write version = 2"


def test_every_kind_names_its_features():
    assert RICH.feature_names == (
        "amount",
        *(f"town#{bucket}" for bucket in range(32)),
        "branch:surprise",
        *("at:hour_sin", "at:hour_cos", "at:weekday_sin", "at:weekday_cos"),
        *("note[0]", "note[1]", "note[2]", "note[3]"),
        *("calls[0]", "calls[1]"),
        *("card+shop:count:1h", "card+shop:count:1d", "card+shop:distinct:till:1h", "card+shop:distinct:till:1d"),
        "card@7d:mean:7d",
    )


def test_all_columns_that_are_read_are_listed_once():
    assert RICH.columns == ("amount", "town", "branch", "at", "note", "calls", "card", "shop", "till")


def test_a_single_entity_may_stand_without_a_list():
    text = 'version = 2\n[[windows]]\nentity = "card"\ntime = "at"\nstatistics = ["count"]\nspans = ["1h"]\n'
    assert Schema.from_toml(text).feature_names == ("card:count:1h",)


def test_features_are_named_after_columns_and_levels():
    assert SCHEMA.n_features == len(SCHEMA.feature_names) == 7
    assert SCHEMA.feature_names[2:] == ("channel=chip", "channel=ünline", "channel=", "at:hour_sin", "at:hour_cos")
    assert SCHEMA.columns[0] == "amount"


CHANGES = [
    {"entity": ("shop",)},
    {"time": "then"},
    {"value": "sum"},
    {"statistics": ("sum",)},
    {"spans": ("8d",)},
    {"delay": "6d"},
    {"late": "2h"},
    {"name": "other"},
]


def test_every_part_of_a_schema_changes_its_digest():
    others = [
        Schema(SCHEMA.fields[1:]),
        Schema(SCHEMA.fields[::-1]),
        Schema((Column(name="amount", kind="numeric", lower=0.0), *SCHEMA.fields[1:])),
        Schema((Column(name="amount", kind="numeric", upper=1e6), *SCHEMA.fields[1:])),
        Schema((*SCHEMA.fields[:2], Column(name="channel", kind="categorical", levels=("chip",)), SCHEMA.fields[3])),
    ]
    others += [
        Schema(RICH.fields),
        Schema(RICH.fields, RICH.windows[:1]),
        Schema(RICH.fields, RICH.windows[::-1]),
        *(Schema(RICH.fields[:at] + RICH.fields[at + 1 :], RICH.windows) for at in range(len(RICH.fields))),
        *(Schema(RICH.fields, (VISITS, replace(RICH.windows[1], **change))) for change in CHANGES),
        RICH,
    ]
    assert len({SCHEMA.digest, *(other.digest for other in others)}) == len(others) + 1
    assert len(SCHEMA.digest) == 32


def test_the_digest_stays_what_it_is():
    # Members with different releases must agree on it; a change needs a new format number.
    schema = Schema((Column(name="amount", kind="numeric"), Column(name="c", kind="categorical", levels=("x", "y"))))
    assert schema.digest.hex() == "8eb93de2aeded8983495d5ea3cd7fa194311c75da3b9ecdf25c0f7f04acfc22e"
    assert RICH.digest.hex() == "7933e6b0a92e8f1a2df49098e69d06c63923d2eb44bb49812f442cab9af90ee1"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": ""}, "no name"),
        ({"kind": "colour"}, "unknown kind"),
        ({"kind": "categorical"}, "must have levels"),
        ({"levels": ("a",)}, "must have levels"),
        ({"kind": "categorical", "levels": ("a", "a")}, "twice"),
        ({"kind": "boolean", "lower": 0.0}, "bounds"),
        ({"lower": float("nan")}, "bounds"),
        ({"lower": 1.0, "upper": 1.0}, "do not rise"),
        ({"clip": (2.0, 1.0)}, "do not rise"),
        ({"clip": (0.0, float("inf"))}, "bounds"),
        ({"transform": "square"}, "unknown transform"),
        ({"kind": "boolean", "transform": "log"}, "is boolean and has transform"),
        ({"kind": "categorical", "encode": "hash", "levels": ("a",)}, "must have levels"),
        ({"kind": "categorical", "encode": "other"}, "unknown encode"),
        ({"kind": "categorical", "levels": ("a",), "buckets": 4}, "buckets"),
        ({"kind": "categorical", "encode": "hash", "buckets": 1}, "buckets"),
        ({"kind": "text", "buckets": 4}, "is text and has buckets"),
        ({"kind": "time", "parts": ("year",)}, "parts"),
        ({"kind": "time", "parts": ("hour", "hour")}, "parts"),
        ({"parts": ("hour",)}, "is numeric and has parts"),
        ({"kind": "text", "length": 0}, "no length"),
        ({"kind": "text", "separator": ";"}, "is text and has separator"),
        ({"kind": "events", "separator": ""}, "empty separator"),
    ],
)
def test_impossible_columns_are_refused(changes, text):
    with pytest.raises(SchemaError, match=text):
        Column(**{"name": "x", "kind": "numeric", **changes})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"entity": ()}, "no entity"),
        ({"time": ""}, "no time"),
        ({"entity": ("card", "card")}, "'card' twice"),
        ({"statistics": ()}, "no statistic"),
        ({"statistics": ("median",)}, "unknown statistic 'median'"),
        ({"statistics": ("distinct:",)}, "unknown statistic"),
        ({"statistics": ("mean",)}, "must have a value"),
        ({"value": "amount"}, "must have a value"),
        ({"spans": ()}, "no span"),
        ({"spans": ("0s",)}, "an empty one"),
        ({"spans": ("60m", "1h")}, "twice"),
        ({"spans": ("1w",)}, "length '1w'"),
        ({"spans": ("99999d",)}, "length '99999d'"),
        ({"delay": "soon"}, "length 'soon'"),
        ({"late": "-1h"}, "length '-1h'"),
        ({"name": ""}, "empty name"),
    ],
)
def test_impossible_windows_are_refused(changes, text):
    good = {"entity": ("card",), "time": "at", "statistics": ("count",), "spans": ("1h",)}
    with pytest.raises(SchemaError, match=text):
        Window(**{**good, **changes})


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (Column(name="card", kind="numeric"), "'card' is used as numeric and as text"),
        (Column(name="at", kind="text"), "'at' is used as text and as time"),
        (Column(name="card+shop:count:1h", kind="numeric"), "two features are named 'card"),
    ],
)
def test_a_column_is_used_in_one_way_and_a_feature_has_a_name_of_its_own(column, text):
    with pytest.raises(SchemaError, match=text):
        Schema((column,), (VISITS,))


def test_impossible_schemas_are_refused():
    with pytest.raises(SchemaError, match="at least one"):
        Schema(())
    with pytest.raises(SchemaError, match="twice"):
        Schema((Column(name="x", kind="numeric"), Column(name="x", kind="boolean")))
    many = Column(name="x", kind="categorical", levels=tuple(map(str, range(10_001))))
    with pytest.raises(SchemaError, match="10001 features"):
        Schema((many,))


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "[]",
        "{}",
        '{"version": 3, "columns": [{"name": "x", "kind": "numeric"}]}',
        '{"version": true, "columns": [{"name": "x", "kind": "numeric"}]}',
        '{"version": 2, "columns": []}',
        '{"version": 2, "columns": [{"name": "x", "kind": "numeric", "clip": [1]}]}',
        '{"version": 2, "columns": [{"name": "x", "kind": "text", "length": 1.5}]}',
        '{"version": 2, "columns": [{"name": "x", "kind": "text", "length": true}]}',
        '{"version": 2, "columns": [{"name": "\\ud800", "kind": "text"}]}',
        '{"version": 2, "windows": {}}',
        '{"version": 2, "windows": [{"entity": "c", "time": "t", "spans": ["1h"]}]}',
        '{"version": 1, "columns": [{"name": "x", "kind": "numeric", "lower": 1' + "0" * 400 + "}]}",
        '{"version": 1, "columns": {}}',
        '{"version": 1, "columns": []}',
        '{"version": 1, "columns": [1]}',
        '{"version": 1, "columns": [{"name": "x"}]}',
        '{"version": 1, "columns": [{"name": "x", "kind": "numeric", "other": 1}]}',
        '{"version": 1, "columns": [{"name": 1, "kind": "numeric"}]}',
        '{"version": 1, "columns": [{"name": "x", "kind": "categorical", "levels": "ab"}]}',
        '{"version": 1, "columns": [{"name": "x", "kind": "numeric", "lower": true}]}',
        "[" * 100_000,
    ],
)
def test_other_json_is_no_schema(text):
    with pytest.raises(SchemaError):
        Schema.from_json(text)


def test_other_toml_is_no_schema():
    with pytest.raises(SchemaError, match="not TOML"):
        Schema.from_toml("version = ")
