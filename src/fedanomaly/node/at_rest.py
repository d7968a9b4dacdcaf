"""Local rows on disk: Parquet modular encryption under the node's data key.

Every file has its own random key (AES-256-GCM, uniform for footer and columns),
which lies in the footer wrapped by a key that is derived from the data key. No
key server is asked: the wrapping happens in this process.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedanomaly.errors import KeystoreError
from fedanomaly.node.durable import sync_file
from fedanomaly.node.keystore import NONCE_BYTES, Keystore
from fedanomaly.types import item
from fedanomaly.types.canonical import begin

BATCH_ROWS = 65_536
_MASTER_KEY = "data sets"
_MAGIC = b"PARE"
"""Start of a file whose footer is encrypted (Parquet format, Encryption.md)."""


class EncryptedFiles:
    """Writes and reads the encrypted Parquet files of one node.

    Parameters
    ----------
    keystore : Keystore
        Gives the key that wraps the file keys.
    """

    def __init__(self, keystore: Keystore) -> None:
        aead = AESGCM(keystore.key_for("data sets"))
        self._factory = pe.CryptoFactory(lambda _config: _Wrapper(aead))
        self._connection = pe.KmsConnectionConfig()

    def writer(self, path: Path, schema: pa.Schema) -> EncryptedWriter:
        """Start a new file; it is durable once the writer was left."""
        config = pe.EncryptionConfiguration(
            footer_key=_MASTER_KEY,
            uniform_encryption=True,
            double_wrapping=False,
            encryption_algorithm="AES_GCM_V1",
            data_key_length_bits=256,
            cache_lifetime=timedelta(seconds=0),
        )
        properties = self._factory.file_encryption_properties(self._connection, config)
        return EncryptedWriter(path, pq.ParquetWriter(path, schema, encryption_properties=properties))

    def batches(self, path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file.

        Raises
        ------
        KeystoreError
            If a byte was changed, or the file is of another keystore.
        """
        properties = self._factory.file_decryption_properties(self._connection)
        try:
            _check_encrypted(path)
            with pq.ParquetFile(path, decryption_properties=properties) as file:
                yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
        except (pa.ArrowException, OSError, _WrongKeyError):
            raise KeystoreError(f"{path.name} of a data set does not open under this keystore") from None

    def table(self, path: Path) -> pa.Table:
        """Return all rows of a file."""
        batches = list(self.batches(path))
        return pa.Table.from_batches(batches) if batches else pa.table({})


class EncryptedWriter:
    """Appends batches to one encrypted file.

    Parameters
    ----------
    path : Path
        The file.
    writer : ParquetWriter
        With its encryption.
    """

    def __init__(self, path: Path, writer: pq.ParquetWriter) -> None:
        path.chmod(0o600)
        self._path = path
        self._writer = writer
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        self._writer.write_batch(batch)
        self.rows += batch.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        sync_file(self._path)


class _WrongKeyError(Exception):
    """A wrapped key does not open, or there is none."""


def _check_encrypted(path: Path) -> None:
    # The reader would take a plain file as well, which anybody can write.
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _WrongKeyError


class _Wrapper(pe.KmsClient):
    """Wraps file keys in this process."""

    def __init__(self, aead: AESGCM) -> None:
        super().__init__()
        self._aead = aead

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        wrapped = nonce + self._aead.encrypt(nonce, key_bytes, _bound(master_key_identifier))
        return base64.b64encode(wrapped).decode("ascii")

    def unwrap_key(self, wrapped_key: str | bytes, master_key_identifier: str) -> bytes:
        try:
            wrapped = base64.b64decode(wrapped_key, validate=True)
            return self._aead.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _bound(master_key_identifier))
        except (InvalidTag, ValueError):
            raise _WrongKeyError from None


def _bound(identifier: str) -> bytes:
    return begin("file key") + item("master key", identifier.encode())
