import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from fedanomaly.errors import DataError
from fedanomaly.node.sources import BATCH_ROWS, FileSource

TABLE = pa.table({"amount": [1.5, 2.5, None], "kind": ["a", "b", "a"]})


def ipc_stream(table, path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


WRITERS = {
    "x.csv": pyarrow.csv.write_csv,
    "x.parquet": pq.write_table,
    "x.pq": pq.write_table,
    "x.feather": pyarrow.feather.write_feather,
    "x.arrow": ipc_stream,
    "X.CSV": pyarrow.csv.write_csv,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    WRITERS[name](TABLE, tmp_path / name)

    read = pa.Table.from_batches(FileSource(tmp_path / name).batches())

    assert read.to_pylist() == TABLE.to_pylist()


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.csv"])
def test_batches_are_small_however_large_the_file(tmp_path, name):
    rows = 2 * BATCH_ROWS + 10
    WRITERS[name](pa.table({"a": range(rows)}), tmp_path / name)

    sizes = [batch.num_rows for batch in FileSource(tmp_path / name).batches()]

    assert max(sizes) <= BATCH_ROWS
    assert sum(sizes) == rows


def test_tab_separated_text_is_read(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")

    assert pa.Table.from_batches(FileSource(tmp_path / "x.tsv").batches()).to_pylist() == [{"a": 1, "b": 2}]


def test_columns_are_read_as_the_types_that_are_asked_for(tmp_path):
    (tmp_path / "x.csv").write_text("code\n007\n")

    source = FileSource(tmp_path / "x.csv", types={"code": pa.string()})

    assert next(source.batches()).to_pylist() == [{"code": "007"}]


def test_the_columns_are_told_without_reading_everything(tmp_path):
    pq.write_table(TABLE, tmp_path / "x.parquet")

    assert FileSource(tmp_path / "x.parquet").columns().names == ["amount", "kind"]


def test_an_unreadable_cell_is_not_quoted(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\nPRIVATE\n")

    with pytest.raises(DataError, match=r"x\.csv") as caught:
        list(FileSource(tmp_path / "x.csv", types={"a": pa.float64()}).batches())

    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_a_damaged_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")

    with pytest.raises(DataError, match=name):
        list(FileSource(tmp_path / name).batches())


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path):
    (tmp_path / "x.xlsx").touch()

    with pytest.raises(DataError, match="no file"):
        FileSource(tmp_path / "x.csv")
    with pytest.raises(DataError, match="no kind"):
        FileSource(tmp_path / "x.xlsx")


def test_a_file_without_rows_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n")

    with pytest.raises(DataError, match="no rows"):
        FileSource(tmp_path / "x.csv").columns()


def test_an_error_about_a_ragged_row_shows_nothing_of_it(tmp_path):
    file = tmp_path / "ragged.csv"
    file.write_text("a,b,c\n1,2,3\n4,private-cell\n")
    with pytest.raises(DataError, match="Expected 3 columns, got 2") as caught:
        list(FileSource(file).batches())
    assert "private-cell" not in str(caught.value)
