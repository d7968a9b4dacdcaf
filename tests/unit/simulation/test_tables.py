"""Tables with a feature schema are encoded by each organisation alone, then compared and simulated as arrays are."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fedanomaly as fa
from fedanomaly.detectors import Mahalanobis
from fedanomaly.errors import DataError, SchemaError, ShapeError
from fedanomaly.features import Schema, encode

SCHEMA = Schema.from_toml("""
version = 2
[[columns]]
name = "amount"
kind = "numeric"
transform = "log"
[[columns]]
name = "channel"
kind = "categorical"
levels = ["chip", "online"]
[[windows]]
entity = "card"
time = "at"
value = "amount"
statistics = ["count", "sum"]
spans = ["1h"]
""")


def payments(seed, rows=90, begin=0):
    """Return a table in the order of time, one payment a minute from `begin` on, and which of them are odd."""
    rng = np.random.default_rng(seed)
    odd = (rng.random(rows) < 0.15).astype(np.int64)
    table = pa.table(
        {
            "card": [f"c{number}" for number in rng.integers(4, size=rows)],
            "amount": rng.lognormal(2 + 3 * odd),
            "channel": rng.choice(["chip", "online"], size=rows),
            "at": np.datetime64("2026-01-01T10:00", "us") + np.arange(begin, begin + rows) * np.timedelta64(1, "m"),
            "note": ["left alone"] * rows,
        }
    )
    return table, odd


PARTS = [payments(seed)[0] for seed in range(3)]
TESTS = [payments(seed, begin=90)[0] for seed in range(10, 13)]
LABELS = [payments(seed)[1] for seed in range(10, 13)]
ENCODED = [encode(SCHEMA, part) for part in PARTS]


def compared(parts, **more):
    return fa.compare(Mahalanobis(), parts, test_labels=LABELS, budget=0.05, replicates=20, **more)


@pytest.mark.parametrize(
    "made", [lambda table: table, pa.Table.to_pandas, pl.from_arrow], ids=["pyarrow", "pandas", "polars"]
)
def test_tables_are_compared_as_their_numbers_are_and_own_test_rows_come_after_the_part(made, tmp_path):
    file = tmp_path / "payments.toml"
    file.write_text(SCHEMA.to_toml(), encoding="utf-8")
    after = [encode(SCHEMA, pa.concat_tables(both))[90:] for both in zip(PARTS, TESTS, strict=True)]
    assert not np.array_equal(after[0], encode(SCHEMA, TESTS[0]))

    found = compared([made(part) for part in PARTS], schema=file, test=[made(test) for test in TESTS])

    assert found.to_dict() == compared(ENCODED, test=after).to_dict()


def test_one_table_for_all_starts_afresh():
    found = fa.compare(Mahalanobis(), PARTS, schema=SCHEMA, test=TESTS[0], test_labels=LABELS[0], replicates=20)
    by_hand = fa.compare(Mahalanobis(), ENCODED, test=encode(SCHEMA, TESTS[0]), test_labels=LABELS[0], replicates=20)
    assert found.to_dict() == by_hand.to_dict()


def test_parts_serve_to_judge_if_there_is_nothing_else():
    labels = [payments(seed)[1] for seed in range(3)]
    found = fa.compare(Mahalanobis(), PARTS, labels, schema=SCHEMA, replicates=20)

    assert found.to_dict() == fa.compare(Mahalanobis(), ENCODED, labels, replicates=20).to_dict()


def test_tables_teach_under_encryption_what_each_organisation_makes_of_its_own():
    run = fa.simulate(Mahalanobis(), [PARTS[0].to_pandas(), pl.from_arrow(PARTS[1]), PARTS[2]], schema=SCHEMA)

    assert run.max_abs_difference == 0.0
    assert run.detector.state_.to_bytes() == Mahalanobis().fit(np.vstack(ENCODED)).state_.to_bytes()


def test_tables_of_numbers_need_no_schema():
    frames = [pd.DataFrame(rows) for rows in ENCODED]

    assert fa.compare(Mahalanobis(), frames).to_dict() == fa.compare(Mahalanobis(), ENCODED).to_dict()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: fa.compare(Mahalanobis(), PARTS), DataError, "part 0 is no array.*give a schema"),
        (lambda: fa.simulate(Mahalanobis(), PARTS), DataError, "part 0 is no array.*give a schema"),
        (
            lambda: compared([*PARTS[:2], TESTS[2].drop_columns("amount")], schema=SCHEMA),
            SchemaError,
            "part 2: .*amount",
        ),
        (lambda: compared(ENCODED, schema=SCHEMA), SchemaError, "part 0: this is no table"),
        (lambda: compared(PARTS, schema="no such file.toml"), SchemaError, "no schema can be read"),
        (lambda: compared(PARTS, schema=SCHEMA, test=TESTS[:2]), ShapeError, "one array for each organisation"),
        (lambda: compared(TESTS, schema=SCHEMA, test=PARTS), SchemaError, "part 0: column 'at' goes back"),
        (lambda: compared([PARTS[0], PARTS[1].slice(0, 0)], schema=SCHEMA), DataError, "part 1 has no rows"),
    ],
    ids=["compare", "simulate", "column", "array", "file", "tests", "order", "empty"],
)
def test_what_does_not_fit_is_told_with_its_part(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_reasons_name_the_features_of_the_schema():
    run = fa.simulate(Mahalanobis(), PARTS, schema=SCHEMA)

    assert run.detector.feature_names_in_.tolist() == list(SCHEMA.feature_names)
    rows = encode(SCHEMA, PARTS[0])[:1]
    rows[0, 0] += 9.0
    (said,) = run.detector.reasons(rows)
    assert any("amount" in sentence for sentence in said)
