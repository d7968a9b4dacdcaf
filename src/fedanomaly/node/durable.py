"""Folders and files of a node's home that survive a crash, beside `storage.durable`."""

from __future__ import annotations

import os
from pathlib import Path

from fedanomaly.storage import disk, sync_folder

PRIVATE_FOLDER = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and its parents, durably."""
    if not folder.is_dir():
        with disk(folder.name):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Make the content of a file that a library wrote durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file, durably; a missing one is no error."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)
