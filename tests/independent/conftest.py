"""Recordings of real federations, each made once by a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.independent.replay import Recording

RECORDER = Path(__file__).parents[2] / "scripts" / "record_federation.py"


def record(folder: Path, member: int) -> Recording:
    path = folder / f"member-{member}.json"
    subprocess.run([sys.executable, RECORDER, path, str(member)], check=True, timeout=120)
    return Recording(path)


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    """Member 1 holds the pad's share: it is the lowest decryptor."""
    return record(tmp_path_factory.mktemp("recording"), 1)


@pytest.fixture(scope="session")
def another(tmp_path_factory):
    """Member 3 has decryptors on both sides of it."""
    return record(tmp_path_factory.mktemp("recording"), 3)
