"""Where things lie: blobs, sealed write-once rows, durable files.

The coordinator's envelope log is in `fedanomaly.storage.envelopes`: it brings
SQLAlchemy along, and a node, which imports this room as well, needs none of it.
"""

from fedanomaly.storage.blobs import BlobStore, StoredBlob
from fedanomaly.storage.durable import NewFile, disk, sync_folder, write_durably
from fedanomaly.storage.parts import PartWriter
from fedanomaly.storage.rows import MemoryRows, SealedRows

__all__ = [
    "BlobStore",
    "MemoryRows",
    "NewFile",
    "PartWriter",
    "SealedRows",
    "StoredBlob",
    "disk",
    "sync_folder",
    "write_durably",
]
