"""Many rows take little memory: a batch at a time, whatever the size of the file."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.bad_input.tables import SCHEMA, table
from tests.unit.node.federation import PASSPHRASE

ROWS = int(os.environ.get("FEDANOMALY_LARGE_ROWS", "1000000"))
PIECE = 250_000
MOST_BYTES = 450 << 20
"""200 MB are the interpreter, Arrow and the engine's buffers; a million rows of a data set alone would be 60 MB."""

PROGRAM = """
import re, sys
from pathlib import Path
from fedanomaly.cli import main
try:
    sys.exit(main())
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""
"""The peak is that of the process itself: what `wait4` tells begins with the size of who forked it."""


def pieces(rows):
    rng = np.random.default_rng(1)
    small = table()
    for _ in range(rows // PIECE):
        pick = pa.array(rng.integers(0, 2, PIECE))
        yield small.take(pick).set_column(0, "amount", pa.array(rng.random(PIECE) * 1000))


def write(path, rows):
    make = pq.ParquetWriter if path.suffix == ".parquet" else pyarrow.csv.CSVWriter
    with make(path, table().schema) as writer:
        for piece in pieces(rows):
            writer.write_table(piece)


@pytest.mark.parametrize(("name", "rows"), [("rows.parquet", ROWS), ("rows.csv", ROWS // 4)])
def test_millions_of_rows_are_added_in_bounded_memory(node, schema, tmp_path, *, name, rows):
    write(tmp_path / name, rows)
    command = ["data", "add", "large", name, "--schema", str(schema), "--home", str(node), "--json"]
    out = tmp_path / "out.json"

    with out.open("wb") as target:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command],
            env={**os.environ, "FEDANOMALY_PASSPHRASE": PASSPHRASE},
            cwd=tmp_path,
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    peak_bytes = int(done.stderr.split()[-1]) << 10
    told = json.loads(out.read_bytes())
    assert told["rows"] + told["holdout_rows"] == rows
    assert told["columns"] == list(SCHEMA.columns)
    assert peak_bytes < MOST_BYTES
