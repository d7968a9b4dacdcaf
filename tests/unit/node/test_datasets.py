import dataclasses

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedanomaly.errors import DataError, KeystoreError, NotFoundError, SchemaError
from fedanomaly.features import encode
from fedanomaly.node.datasets import KEPT_SNAPSHOTS, Datasets, Plan
from fedanomaly.node.encoding import types_of
from fedanomaly.node.sources import FileSource
from fedanomaly.protocol import Relation
from tests.unit.node.federation import SCHEMA, payments

PLAN = Plan(schema=SCHEMA, label="fraud")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def datasets(folder, keystore):
    return Datasets(folder, keystore)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path, payments(1, 500))


def write(tmp_path, table, name="rows.parquet"):
    pq.write_table(table, tmp_path / name)
    return FileSource(tmp_path / name)


def train(datasets, snapshot):
    return pa.Table.from_batches(datasets.train(snapshot))


def test_every_row_is_either_trained_on_or_held_out(datasets, source):
    snapshot = datasets.add("payments", source, PLAN).snapshot

    stored = pa.concat_tables([train(datasets, snapshot), datasets.holdout(snapshot)])
    original = pa.Table.from_batches(source.batches())
    assert (snapshot.rows, snapshot.holdout_rows) == (
        train(datasets, snapshot).num_rows,
        datasets.holdout(snapshot).num_rows,
    )
    assert 20 <= snapshot.holdout_rows <= 90
    assert sorted(stored["amount"].to_pylist()) == sorted(original["amount"].to_pylist())


def test_what_is_stored_encodes_like_the_rows_themselves(datasets, source):
    snapshot = datasets.add("payments", source, Plan(schema=SCHEMA, holdout_fraction=0.0)).snapshot

    original = pa.Table.from_batches(source.batches())
    np.testing.assert_array_equal(encode(SCHEMA, train(datasets, snapshot)), encode(SCHEMA, original))


def test_only_columns_of_the_schema_are_stored(datasets, source):
    snapshot = datasets.add("payments", source, PLAN).snapshot

    assert train(datasets, snapshot).column_names == ["amount", "age", "kind"]
    assert datasets.holdout(snapshot).column_names == ["amount", "age", "kind"]


def test_labels_lie_apart_and_in_the_order_of_the_held_out_rows(datasets, source):
    snapshot = datasets.add("payments", source, PLAN).snapshot

    original = pa.Table.from_batches(source.batches())
    fraud_of = dict(zip(original["amount"].to_pylist(), original["fraud"].to_pylist(), strict=True))
    amounts = datasets.holdout(snapshot)["amount"].to_pylist()
    assert datasets.labels(snapshot).to_pylist() == [fraud_of[amount] for amount in amounts]


def test_labels_of_training_rows_are_in_their_order(datasets, source):
    snapshot = datasets.add("payments", source, PLAN).snapshot

    original = pa.Table.from_batches(source.batches())
    fraud_of = dict(zip(original["amount"].to_pylist(), original["fraud"].to_pylist(), strict=True))
    labels = datasets.train_labels(snapshot)
    assert labels.tolist() == [int(fraud_of[amount]) for amount in train(datasets, snapshot)["amount"].to_pylist()]
    assert 0 < labels.sum() < len(labels)


@pytest.mark.parametrize(
    "labels", [["no", "yes"] * 250, [0, 1, None, 0] * 125, [0.0, float("nan")] * 250], ids=["text", "missing", "nan"]
)
def test_labels_that_nothing_can_learn_from_are_none(datasets, source, tmp_path, folder, labels):
    table = pa.Table.from_batches(source.batches())
    table = table.set_column(table.column_names.index("fraud"), "fraud", pa.array(labels))

    snapshot = datasets.add("payments", write(tmp_path, table, "b.parquet"), PLAN).snapshot

    assert not (folder / snapshot.folder / "train-labels.parquet").exists()
    with pytest.raises(DataError, match="no labels to learn from"):
        datasets.train_labels(snapshot)


def test_other_labels_of_the_same_rows_are_a_new_snapshot_of_the_same_generation(datasets, source, tmp_path):
    first = datasets.add("payments", source, PLAN).snapshot
    table = pa.Table.from_batches(source.batches())
    flipped = table.set_column(table.column_names.index("fraud"), "fraud", pa.array(np.arange(500) % 3 == 0))

    added = datasets.add("payments", write(tmp_path, flipped, "b.parquet"), PLAN)

    assert added.is_new
    assert added.snapshot.generation == first.generation
    assert added.snapshot.labels != first.labels
    assert train(datasets, added.snapshot).equals(train(datasets, first))
    assert datasets.train_labels(added.snapshot).sum() > datasets.train_labels(first).sum()


@pytest.mark.parametrize("order", [(None, "fraud"), ("fraud", None)])
def test_the_same_rows_have_one_generation_whether_a_label_is_named_or_not(datasets, source, order):
    plans = [Plan(schema=SCHEMA, holdout_fraction=0.0, label=label) for label in order]

    first, second = (datasets.add("payments", source, plan).snapshot for plan in plans)

    assert first.generation == second.generation
    assert first.content != second.content


def test_a_column_that_was_a_label_counts_once_it_is_a_feature(datasets, source, tmp_path):
    table = pa.Table.from_batches(source.batches())
    twice = table.append_column("age2", table["age"])
    datasets.add("payments", write(tmp_path, twice, "b.parquet"), Plan(schema=SCHEMA, label="age2"))
    schema = type(SCHEMA)((*SCHEMA.fields, type(SCHEMA.fields[0])(name="age2", kind="numeric")))
    other = twice.set_column(twice.column_names.index("age2"), "age2", pa.array(np.zeros(500)))

    added = [
        datasets.add("payments", write(tmp_path, rows, "b.parquet"), Plan(schema=schema)).snapshot
        for rows in (twice, other)
    ]

    assert added[0].generation != added[1].generation


def test_a_label_under_another_name_is_the_same_label(datasets, source, tmp_path):
    first = datasets.add("payments", source, PLAN).snapshot
    table = pa.Table.from_batches(source.batches())
    renamed = table.rename_columns(["late" if name == "fraud" else name for name in table.column_names])

    second = datasets.add("payments", write(tmp_path, renamed, "b.parquet"), Plan(schema=SCHEMA, label="late")).snapshot

    assert (second.generation, second.labels) == (first.generation, first.labels)


def test_a_data_set_without_a_label_has_none(datasets, source):
    snapshot = datasets.add("payments", source, Plan(schema=SCHEMA)).snapshot

    with pytest.raises(DataError, match="no labels"):
        datasets.labels(snapshot)
    with pytest.raises(DataError, match="no labels to learn from"):
        datasets.train_labels(snapshot)


def test_no_value_and_no_name_lies_on_the_disk_in_plain_text(datasets, folder, source):
    snapshot = datasets.add("payments", source, PLAN).snapshot

    amounts = [np.float64(value).tobytes() for value in train(datasets, snapshot)["amount"].to_pylist()[:50]]
    for path in (path for path in folder.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        assert not [plain for plain in [b"amount", b"sepa", b"fraud", b"note", *amounts] if plain in raw]


def test_the_same_rows_again_change_nothing(datasets, folder, source, tmp_path):
    first = datasets.add("payments", source, PLAN)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}

    shuffled = pa.Table.from_batches(source.batches()).take(np.random.default_rng(0).permutation(500))
    again = datasets.add("payments", write(tmp_path, shuffled, "again.parquet"), PLAN)

    assert first.is_new
    assert not again.is_new
    assert again.snapshot == first.snapshot
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before


def test_the_same_rows_as_text_are_the_same_rows(datasets, source, tmp_path):
    first = datasets.add("payments", source, PLAN).snapshot
    pyarrow.csv.write_csv(pa.Table.from_batches(source.batches()), tmp_path / "rows.csv")

    again = datasets.add("payments", FileSource(tmp_path / "rows.csv", types=types_of(SCHEMA)), PLAN)

    assert again.snapshot == first


def test_the_same_rows_have_one_generation_under_any_name_and_schema(datasets, source):
    first = datasets.add("payments", source, PLAN).snapshot
    other = type(SCHEMA)(SCHEMA.fields[:2])

    renamed = datasets.add("copy", source, PLAN).snapshot
    narrower = datasets.add("payments", source, Plan(schema=other)).snapshot

    assert first.generation == renamed.generation == narrower.generation == 1
    assert narrower.schema_digest != first.schema_digest
    assert datasets.newest("payments") == narrower


def test_other_rows_have_another_generation_for_ever(datasets, source, tmp_path):
    first = datasets.add("payments", source, PLAN).snapshot
    second = datasets.add("payments", write(tmp_path, payments(2, 500), "b.parquet"), PLAN).snapshot
    back = datasets.add("payments", source, PLAN).snapshot

    assert first.generation == back.generation < second.generation
    assert datasets.newest("payments").folder == back.folder


def test_another_split_of_the_same_file_is_another_set_of_rows(datasets, source):
    first = datasets.add("payments", source, PLAN).snapshot
    second = datasets.add("payments", source, Plan(schema=SCHEMA, label="fraud", holdout_fraction=0.3)).snapshot

    assert first.generation < second.generation


def test_two_splits_of_one_file_are_known_to_be_of_the_same_rows(datasets, source):
    first = datasets.add("payments", source, Plan(schema=SCHEMA, label="fraud", holdout_fraction=0.1)).snapshot
    second = datasets.add("payments", source, Plan(schema=SCHEMA, label="fraud", holdout_fraction=0.3)).snapshot
    parts = [(each.generation, each.holdout_generation) for each in (first, second)]
    assert datasets.relations({*parts[0], *parts[1]}) == (Relation(left=parts[0], right=parts[1]),)
    assert datasets.relations({*parts[0], second.generation}) == ()
    # Who has no rows to add has the number 0, as files in whole do: it says the same of what it summed before.
    assert datasets.relations({0, *parts[0], *parts[1]}) == datasets.relations({*parts[0], *parts[1]})


def test_rows_in_parts_and_together_are_known_to_be_the_same_whatever_is_added_first(datasets, source, tmp_path):
    whole = pq.read_table(source.path)
    files = [
        write(tmp_path, whole.slice(0, 40), "first.parquet"),
        write(tmp_path, whole.take(list(reversed(range(len(whole))))), "whole.parquet"),
        write(tmp_path, whole.slice(40), "rest.parquet"),
    ]
    names = zip(("one", "two", "three"), files, strict=True)
    first, all_, rest = [
        datasets.add(name, file, Plan(schema=SCHEMA, label="fraud", holdout_fraction=0.0)).snapshot.generation
        for name, file in names
    ]
    assert datasets.relations({first, all_, rest}) == (Relation(left=(first, rest), right=(all_,)),)
    # As a copy of this node may have summed all up to a number, these count whether asked for or not.
    assert datasets.relations({rest}, all_) == datasets.relations({first, all_, rest})
    assert datasets.relations({rest}, first) == ()


def test_held_out_rows_have_a_generation_of_their_own_under_any_schema(datasets, source, tmp_path):
    first = datasets.add("payments", source, PLAN).snapshot
    narrower = datasets.add("payments", source, Plan(schema=type(SCHEMA)(SCHEMA.fields[:2]))).snapshot
    other = write(tmp_path, payments(2, 40), "b.parquet")
    exchanged = datasets.add("payments", source, dataclasses.replace(PLAN, holdout=other)).snapshot

    assert 0 < first.holdout_generation == narrower.holdout_generation != first.generation
    assert exchanged.holdout_generation not in {first.holdout_generation, first.generation, exchanged.generation}


def test_a_data_set_from_before_evaluations_is_brought_up_to_date(datasets, source, tmp_path):
    kept = datasets.add("payments", source, PLAN).snapshot
    with datasets._registry.changing() as contents:
        contents.snapshots[-1] = msgspec.structs.replace(kept, holdout_generation=0)

    again = datasets.add("payments", source, PLAN)

    assert again.is_new
    assert again.snapshot.holdout_generation == kept.holdout_generation


def test_rows_to_hold_out_may_have_a_file_of_their_own(datasets, source, tmp_path):
    holdout = write(tmp_path, payments(7, 40), "holdout.parquet")

    snapshot = datasets.add("payments", source, Plan(schema=SCHEMA, holdout=holdout, label="fraud")).snapshot

    assert (snapshot.rows, snapshot.holdout_rows) == (500, 40)
    assert len(datasets.labels(snapshot)) == 40


def test_only_the_last_snapshots_stay(datasets, folder, tmp_path):
    for seed in range(KEPT_SNAPSHOTS + 2):
        datasets.add("payments", write(tmp_path, payments(seed, 60)), PLAN)
    datasets.add("other", write(tmp_path, payments(99, 60)), PLAN)

    assert len([path for path in folder.iterdir() if path.name.startswith("payments-")]) == KEPT_SNAPSHOTS
    assert [view.name for view in datasets.list()] == ["other", "payments"]


def test_a_snapshot_that_was_replaced_is_found_while_it_stays(datasets, tmp_path):
    old = datasets.add("payments", write(tmp_path, payments(1, 60)), PLAN).snapshot
    datasets.add("payments", write(tmp_path, payments(2, 60)), PLAN)

    assert datasets.of_folder(old.folder) == old
    with pytest.raises(NotFoundError):
        datasets.of_folder("payments-0000")


def test_what_a_crash_left_behind_is_removed(datasets, folder, source):
    (folder / "payments-dead").mkdir()
    (folder / "payments-dead" / "train.parquet").write_bytes(b"half")

    datasets.add("payments", source, PLAN)

    assert not (folder / "payments-dead").exists()


def test_rows_that_do_not_fit_leave_nothing_behind(datasets, folder, tmp_path):
    table = payments(1, 60).drop_columns(["age"])

    with pytest.raises(SchemaError, match="age"):
        datasets.add("payments", write(tmp_path, table), PLAN)

    assert [path.name for path in folder.iterdir()] == ["lock"]
    with pytest.raises(NotFoundError):
        datasets.newest("payments")


def test_a_file_that_leaves_nothing_to_train_on_is_refused(datasets, tmp_path):
    with pytest.raises(DataError, match="no rows"):
        datasets.add("payments", write(tmp_path, payments(1, 10).slice(0, 0)), PLAN)


def test_a_label_that_is_not_there_is_refused(datasets, source):
    with pytest.raises(DataError, match="no column typo"):
        datasets.add("payments", source, Plan(schema=SCHEMA, label="typo"))


def test_a_label_is_no_feature():
    with pytest.raises(DataError, match="feature"):
        Plan(schema=SCHEMA, label="amount")


@pytest.mark.parametrize("fraction", [-0.1, 0.51, float("nan")])
def test_a_share_that_cannot_be_held_out_is_refused(fraction):
    with pytest.raises(DataError):
        Plan(schema=SCHEMA, holdout_fraction=fraction)


def test_a_name_that_is_no_file_name_is_refused(datasets, source):
    with pytest.raises(DataError):
        datasets.add("../payments", source, PLAN)


@pytest.mark.parametrize("file", ["train.parquet", "train-labels.parquet", "holdout.parquet", "holdout-labels.parquet"])
def test_a_file_that_was_changed_removed_or_swapped_is_not_read(datasets, folder, source, file):
    snapshot = datasets.add("payments", source, PLAN).snapshot
    copy = datasets.add("copy", source, Plan(schema=SCHEMA, label="fraud", holdout_fraction=0.3)).snapshot
    path = folder / snapshot.folder / file
    read = {
        "train.parquet": datasets.train,
        "train-labels.parquet": datasets.train_labels,
        "holdout.parquet": datasets.holdout,
        "holdout-labels.parquet": datasets.labels,
    }[file]

    path.write_bytes((folder / copy.folder / file).read_bytes())
    with pytest.raises(KeystoreError, match="changed or removed"):
        read(snapshot)
    path.unlink()
    with pytest.raises(KeystoreError, match="changed or removed"):
        read(snapshot)


def test_a_file_larger_than_a_batch_comes_in_pieces(datasets, tmp_path):
    counted = []
    table = payments(1, 70_000)

    snapshot = datasets.add("payments", write(tmp_path, table), PLAN, progress=counted.append).snapshot

    assert len(counted) > 1
    assert sum(counted) == snapshot.rows + snapshot.holdout_rows == 70_000
