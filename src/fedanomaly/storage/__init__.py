"""Where things lie: blobs, sealed write-once rows, durable files.

The coordinator's envelope log is in `fedanomaly.storage.envelopes`: it brings
SQLAlchemy along, and a node, which imports this room as well, needs none of it.
"""

from fedanomaly.storage.blobs import BlobStore, PartWriter
from fedanomaly.storage.digests import PART_BYTES, parse_digest, part_bytes, part_count
from fedanomaly.storage.durable import NewFile, sync_folder, write_durably
from fedanomaly.storage.rows import MemoryRows, SealedRows

__all__ = [
    "PART_BYTES",
    "BlobStore",
    "MemoryRows",
    "NewFile",
    "PartWriter",
    "SealedRows",
    "parse_digest",
    "part_bytes",
    "part_count",
    "sync_folder",
    "write_durably",
]
