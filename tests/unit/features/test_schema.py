import pytest

from fedanomaly.errors import SchemaError
from fedanomaly.features import Column, Schema

SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", lower=0.0, upper=1e6),
        Column(name='na"me\n\x7f', kind="boolean"),
        Column(name="channel", kind="categorical", levels=("chip", "ünline", "")),
        Column(name="at", kind="time"),
    )
)


def test_text_forms_read_back_to_an_equal_schema():
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
    assert Schema.from_toml(SCHEMA.to_toml()) == SCHEMA


def test_features_are_named_after_columns_and_levels():
    assert SCHEMA.n_features == len(SCHEMA.feature_names) == 7
    assert SCHEMA.feature_names[2:] == ("channel=chip", "channel=ünline", "channel=", "at:hour_sin", "at:hour_cos")
    assert SCHEMA.columns[0] == "amount"


def test_every_part_of_a_schema_changes_its_digest():
    others = [
        Schema(SCHEMA.fields[1:]),
        Schema(SCHEMA.fields[::-1]),
        Schema((Column(name="amount", kind="numeric", lower=0.0), *SCHEMA.fields[1:])),
        Schema((Column(name="amount", kind="numeric", upper=1e6), *SCHEMA.fields[1:])),
        Schema((*SCHEMA.fields[:2], Column(name="channel", kind="categorical", levels=("chip",)), SCHEMA.fields[3])),
    ]
    assert len({SCHEMA.digest, *(other.digest for other in others)}) == len(others) + 1
    assert len(SCHEMA.digest) == 32


def test_the_digest_stays_what_it_is():
    # Members with different releases must agree on it; a change needs a new format number.
    schema = Schema((Column(name="amount", kind="numeric"), Column(name="c", kind="categorical", levels=("x", "y"))))
    assert schema.digest.hex() == "8eb93de2aeded8983495d5ea3cd7fa194311c75da3b9ecdf25c0f7f04acfc22e"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": ""}, "no name"),
        ({"kind": "text"}, "unknown kind"),
        ({"kind": "categorical"}, "must have levels"),
        ({"levels": ("a",)}, "must have levels"),
        ({"kind": "categorical", "levels": ("a", "a")}, "twice"),
        ({"kind": "boolean", "lower": 0.0}, "bounds"),
        ({"lower": float("nan")}, "bounds"),
        ({"lower": 1.0, "upper": 1.0}, "do not rise"),
    ],
)
def test_impossible_columns_are_refused(changes, text):
    with pytest.raises(SchemaError, match=text):
        Column(**{"name": "x", "kind": "numeric", **changes})


def test_impossible_schemas_are_refused():
    with pytest.raises(SchemaError, match="at least one"):
        Schema(())
    with pytest.raises(SchemaError, match="twice"):
        Schema((Column(name="x", kind="numeric"), Column(name="x", kind="boolean")))
    many = Column(name="x", kind="categorical", levels=tuple(map(str, range(2001))))
    with pytest.raises(SchemaError, match="2001 features"):
        Schema((many,))


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "[]",
        "{}",
        '{"version": 2, "columns": []}',
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
