"""Where the published data sets are that tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def real_file(*parts: str) -> Path:
    """Return a file of the data; without it the test is skipped, or fails where CI is true."""
    folder = Path(os.environ.get("FEDANOMALY_DATA", ROOT.parent / "shared" / "data"))
    file = folder.joinpath(*parts)
    if not file.exists():
        reason = f"{'/'.join(parts)} is not there; FEDANOMALY_DATA says where to look"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return file


def adbench(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels of one of ADBench's sets, such as ``"6_cardio"``."""
    with np.load(real_file("adbench", f"{name}.npz")) as stored:
        return stored["X"].astype(np.float64), stored["y"].astype(np.int64)
