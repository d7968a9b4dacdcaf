"""`fedanomaly demo` on generated payments and on real files, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

DATA = Path(os.environ.get("FEDANOMALY_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def demo(tmp_path: Path, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "fedanomaly", "demo", "--json", "--folder", str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def real(name: str) -> str:
    path = DATA / name
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI has no {name}")
        pytest.skip(f"{name} is not here; set FEDANOMALY_DATA")
    return str(path)


def check(result: dict, organisations: int) -> None:
    """What holds for every run: all three ways are there, and federated is pooled."""
    assert len(result["organisations"]) == organisations
    for told in result["organisations"].values():
        for detector in ("mahalanobis", "loda"):
            ways = told[detector]
            assert set(ways) == {"local", "federated", "pooled"}
            for figure in ("auroc", "ap", "recall"):
                federated, pooled = ways["federated"][figure], ways["pooled"][figure]
                assert (federated is None) == (pooled is None)
                if federated is not None:
                    assert abs(federated - pooled) <= 0.001
    assert all(told["max_abs_difference"] == 0.0 for told in result["detectors"].values())


def test_on_generated_payments_the_federation_beats_every_organisation(tmp_path):
    result = demo(tmp_path)
    check(result, 3)
    gains = [gain for told in result["detectors"].values() for gain in told["gain_over_local_auroc"]]
    assert len(gains) == 6
    assert min(gains) > 0


@pytest.mark.parametrize(
    ("file", "arguments", "organisations"),
    [
        ("creditcard_ulb/creditcard_sample.csv", ("--members", "5", "--label", "Class"), 5),
        ("payment_fraud/payment_fraud.csv", ("--split-by", "paymentMethod", "--label", "label"), 3),
        (
            "payments_fdh/transactions.parquet",
            ("--members", "4", "--label", "TX_FRAUD", "--drop", "TX_FRAUD_SCENARIO,TRANSACTION_ID"),
            4,
        ),
    ],
)
def test_on_real_files_the_federation_is_as_good_as_pooled_data(tmp_path, file, arguments, organisations):
    path = real(file)
    if file.endswith(".parquet"):  # a tenth of it: that all of it works too is for `make bench BENCH=payments`
        pq.write_table(pq.read_table(path).slice(0, 30_000), tmp_path / "first.parquet")
        path = str(tmp_path / "first.parquet")
    check(demo(tmp_path / "demo", "--data", path, *arguments), organisations)


def test_files_that_cannot_make_a_federation_are_refused_with_the_next_step(tmp_path):
    file = tmp_path / "few.csv"
    file.write_text("a,b\n" + "1,2\n" * 40)
    done = subprocess.run(
        [sys.executable, "-m", "fedanomaly", "demo", "--data", str(file), "--split-by", "a"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "error FA200: column a has 1 values" in done.stderr
    assert "hint: add --members N" in done.stderr
