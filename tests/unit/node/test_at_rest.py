import numpy as np
import pyarrow as pa
import pytest

from fedanomaly.errors import KeystoreError
from fedanomaly.node.at_rest import EncryptedFiles


@pytest.fixture
def batch():
    return pa.record_batch({"merchant": [f"MERCHANT-{at % 7}" for at in range(5000)], "amount": np.arange(5000) + 0.25})


@pytest.fixture
def path(tmp_path, keystore, batch):
    path = tmp_path / "train.parquet"
    with EncryptedFiles(keystore).writer(path, batch.schema) as writer:
        writer.write(batch.slice(0, 3000))
        writer.write(batch.slice(3000))
    return path


def test_what_was_written_comes_back(path, keystore, batch):
    assert EncryptedFiles(keystore).table(path).to_batches()[0].schema == batch.schema
    assert EncryptedFiles(keystore).table(path).combine_chunks().to_batches() == [batch]


def test_a_writer_counts_its_rows(tmp_path, keystore, batch):
    with EncryptedFiles(keystore).writer(tmp_path / "x.parquet", batch.schema) as writer:
        writer.write(batch)

    assert writer.rows == 5000


def test_the_bytes_on_disk_hold_no_value_and_no_column_name(path):
    raw = path.read_bytes()

    for plain in (b"MERCHANT", b"merchant", b"amount", np.float64(17.25).tobytes(), np.float64(4999.25).tobytes()):
        assert plain not in raw


def test_the_file_is_private(path):
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_keystore_does_not_open_it(path, other_keystore):
    with pytest.raises(KeystoreError, match="does not open"):
        EncryptedFiles(other_keystore).table(path)


@pytest.mark.parametrize("where", [4, 1000, 20_000, -20])
def test_a_changed_byte_is_noticed(path, keystore, where):
    raw = bytearray(path.read_bytes())
    raw[where] ^= 1
    path.write_bytes(raw)

    with pytest.raises(KeystoreError):
        EncryptedFiles(keystore).table(path)


def test_a_plain_parquet_file_is_not_taken_for_one_of_ours(path, keystore, batch):
    pa.parquet.write_table(pa.Table.from_batches([batch]), path)

    with pytest.raises(KeystoreError):
        EncryptedFiles(keystore).table(path)


def test_a_file_without_rows_reads_as_no_rows(tmp_path, keystore, batch):
    with EncryptedFiles(keystore).writer(tmp_path / "x.parquet", batch.schema):
        pass

    assert EncryptedFiles(keystore).table(tmp_path / "x.parquet").num_rows == 0
