import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.errors import DataError
from fedanomaly.node.row_digest import RowDigest, held_out, row_hashes

ROWS = st.lists(
    st.fixed_dictionaries(
        {"amount": st.one_of(st.none(), st.floats()), "kind": st.one_of(st.none(), st.text(max_size=3))}
    ),
    min_size=1,
    max_size=12,
)
TYPES = pa.schema([("amount", pa.float64()), ("kind", pa.string())])


def digest_of(*batches):
    total = RowDigest()
    for batch in batches:
        total.add(row_hashes(batch))
    return total.digest


def batch_of(rows):
    return pa.RecordBatch.from_pylist(rows, schema=TYPES)


@given(rows=ROWS, seed=st.integers(0, 100))
def test_the_order_of_rows_and_columns_does_not_matter(rows, seed):
    shuffled = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]

    assert digest_of(batch_of(shuffled).select(["kind", "amount"])) == digest_of(batch_of(rows))


@given(rows=ROWS, cut=st.integers(0, 12))
def test_how_rows_are_cut_into_batches_does_not_matter(rows, cut):
    batch = batch_of(rows)
    cut = min(cut, len(rows))

    assert digest_of(batch.slice(0, cut), batch.slice(cut)) == digest_of(batch)


@given(rows=ROWS, more=ROWS)
def test_further_rows_change_it_even_if_they_are_there_already(rows, more):
    assert digest_of(batch_of(rows + more)) != digest_of(batch_of(rows))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], pa.int64()),
        ([1, 2, None], pa.int8()),
        ([1.0, 2.0, None], pa.float32()),
        ([1.0, 2.0, float("nan")], pa.float64()),
    ],
)
def test_numbers_are_the_same_however_they_are_written(values, kind):
    reference = pa.record_batch({"a": pa.array([1.0, 2.0, None])})

    assert digest_of(pa.record_batch({"a": pa.array(values, kind)})) == digest_of(reference)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_texts_are_the_same_however_they_are_written(kind):
    reference = pa.record_batch({"a": pa.array(["x", None, "y", "x"])})

    assert digest_of(pa.record_batch({"a": pa.array(["x", None, "y", "x"]).cast(kind)})) == digest_of(reference)


def test_minus_zero_is_zero_and_true_is_one():
    assert digest_of(pa.record_batch({"a": [-0.0]})) == digest_of(pa.record_batch({"a": [0.0]}))
    assert digest_of(pa.record_batch({"a": [True]})) == digest_of(pa.record_batch({"a": [1]}))


def test_the_names_of_columns_count():
    assert digest_of(pa.record_batch({"a": [1], "b": [2]})) != digest_of(pa.record_batch({"a": [2], "b": [1]}))


def test_labels_do_not_count():
    first, second = pa.record_batch({"a": [1, 2], "late": [0, 1]}), pa.record_batch({"late": [1, 1], "a": [1, 2]})

    assert row_hashes(first, "late") == row_hashes(second, "late") == row_hashes(first.select(["a"]))
    assert row_hashes(first) != row_hashes(second)
    assert len(row_hashes(first.select(["late"]), "late")) == 2


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1.50", 1.5), ("true", True), ("False", False), ("", None), ("007", 7.0)]
)
def test_a_cell_is_the_same_whether_it_was_read_as_text_or_not(text, value):
    assert digest_of(pa.record_batch({"a": [text, "x"]})) == digest_of(
        pa.record_batch({"a": pa.array([text, "x"], pa.large_string())})
    )
    assert digest_of(pa.record_batch({"a": [text]})) == digest_of(
        pa.record_batch({"a": pa.array([value], None if value is not None else pa.float64())})
    )


def test_a_column_that_holds_tables_is_refused_by_its_type():
    with pytest.raises(DataError, match="list<"):
        row_hashes(pa.record_batch({"a": [[1, 2]]}))


def test_the_same_rows_are_held_out_in_any_order():
    batch = pa.record_batch({"a": np.arange(500.0)})
    hashes = row_hashes(batch)
    order = np.random.default_rng(0).permutation(500)

    first = held_out(hashes, 0.2)
    second = held_out([hashes[at] for at in order], 0.2)

    np.testing.assert_array_equal(first[order], second)
    assert 60 <= first.sum() <= 140


def test_nothing_is_held_out_at_zero():
    assert not held_out(row_hashes(pa.record_batch({"a": np.arange(50.0)})), 0.0).any()
