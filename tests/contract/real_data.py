"""Where the published data sets are that tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from fedanomaly.features import encode, infer_schema

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


def intrusions() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return NSL-KDD: normal traffic of five members that see other services, test rows, labels."""
    header = pyarrow.csv.ReadOptions(autogenerate_column_names=True)
    train = pyarrow.csv.read_csv(real_file("nsl_kdd", "KDDTrain+_20Percent.txt"), read_options=header)
    test = pyarrow.csv.read_csv(real_file("nsl_kdd", "KDDTest+.txt"), read_options=header)
    normal = train.filter(pc.field("f41") == "normal")
    schema = infer_schema(normal, drop=["f41", "f42"], most_levels=80).schema
    member = np.array([sum(service.encode()) % 5 for service in normal["f2"].to_pylist()])
    rows = encode(schema, normal)
    return [rows[member == at] for at in range(5)], encode(schema, test), np.array(test["f41"].to_pylist()) != "normal"
