"""How many rows a second every detector learns from and scores, on one core; memory of ten million rows from Parquet.

The peers are scikit-learn's IsolationForest and PyOD's ECOD, on the same rows in
the same process. Training is the whole loop of `fit`: every step passes over the
rows once, and the table shows the slowest of these passes as well.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import Budget, at_least, at_most, print_budgets, print_table, write_json
from benchmarks.workers import Worker
from fedanomaly.detectors import Detector, Mahalanobis, registry
from fedanomaly.types import Floats, Quantiser

FEATURES = 30
ROWS = 100_000
LARGE_ROWS = int(os.environ.get("FEDANOMALY_SPEED_ROWS", "10000000"))
BATCH = 65_536
REPEAT_BELOW_S, REPEATS = 2.0, 3
"""What is faster than that is measured again, and the best time counts."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PEERS = {"IsolationForest": "IForest", "ECOD": "ECOD"}
SCORED = {
    "mahalanobis": 1e6,
    "robust_mahalanobis": 1e6,
    "pca": 1e6,
    "vector_autoregression": 1e6,
    "loda": 2e5,
    "random_trees": 2e5,
}
"""Rows a second and core that these detectors have to score."""


def table(count: int, seed: int) -> Floats:
    """Return rows as tables have them: related measurements, amounts over orders of magnitude, small counts."""
    rng = np.random.default_rng(seed)
    related = rng.normal(size=(count, 20)) @ np.random.default_rng(0).normal(size=(20, 20))
    amounts, counts = np.exp(rng.normal(3.0, 1.5, size=(count, 5))), rng.poisson(0.7, size=(count, 5))
    return np.hstack([related, amounts, counts]).astype(np.float64)


def codes(count: int) -> Floats:
    """Return rows of events, for detectors that read codes; those that come often are small."""
    return np.minimum(np.random.default_rng(1).geometric(0.1, size=(count, FEATURES)), 100).astype(np.float64)


def best_s(work: Callable[[], object]) -> float:
    """Return the seconds of some work, the least of a few where it is fast."""
    times: list[float] = []
    while not times or (times[0] < REPEAT_BELOW_S and len(times) < REPEATS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


class OneCore:
    """All detectors and both peers, in a worker that has one core."""

    def __init__(self, _cores: int) -> None:
        self._rows = table(ROWS, seed=1)
        self._labels = (self._rows[:, 0] > np.quantile(self._rows[:, 0], 0.99)).astype(np.int64)
        self._codes = codes(ROWS)

    def facts(self) -> dict[str, Any]:
        """Return seconds of every detector, and of the peers."""
        return {
            "detectors": {name: self._detector(kind()) for name, kind in registry().items()},
            "peers": {"IsolationForest": self._isolation_forest(), "ECOD": self._ecod()},
        }

    def _detector(self, detector: Detector) -> dict[str, Any]:
        rows = self._codes if detector.reads == "codes" else self._rows
        labels = self._labels if detector.learns_from_labels else None
        begun = time.perf_counter()
        state, steps = detector.initial_state(FEATURES), {}
        while (step := detector.next_step(state)) is not None:
            steps[step.name] = best_s(lambda step=step, state=state: detector.local(step, rows, state, labels))
            quantiser = Quantiser(step=step, members=1)
            sums = quantiser.quantise(detector.local(step, rows, state, labels))
            state = detector.merge(step, quantiser.total(sums, 1), state)
        trained = detector.with_state(state)
        measuring_s = time.perf_counter() - begun
        fit_s = best_s(lambda: detector.fit(rows, labels)) if measuring_s < 120 else sum(steps.values())
        return {"fit_s": fit_s, "score_s": best_s(lambda: trained.anomaly_scores(rows)), "steps_s": steps}

    def _isolation_forest(self) -> dict[str, float]:
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - in the worker alone

        forest = IsolationForest(n_jobs=1, random_state=0)
        return {
            "fit_s": best_s(lambda: forest.fit(self._rows)),
            "score_s": best_s(lambda: forest.score_samples(self._rows)),
        }

    def _ecod(self) -> dict[str, float]:
        from pyod.models.ecod import ECOD  # noqa: PLC0415 - in the worker alone

        ecod = ECOD(n_jobs=1)
        return {
            "fit_s": best_s(lambda: ecod.fit(self._rows)),
            "score_s": best_s(lambda: ecod.decision_function(self._rows)),
        }


class Large:
    """Mahalanobis on a Parquet file, in batches, in a worker that has one core."""

    def __init__(self, _cores: int) -> None:
        self._file = Path(os.environ["SPEED_FILE"])

    def facts(self) -> dict[str, Any]:
        """Return rows, seconds and the peak of resident memory, interpreter and libraries included."""
        idle_mb = _memory_mb("VmHWM")
        begun = time.perf_counter()
        detector = Mahalanobis().fit_batches(self._batches)
        fit_s = time.perf_counter() - begun
        begun, count, outliers = time.perf_counter(), 0, 0
        for batch in self._batches():
            predicted = detector.predict(batch)
            count += len(predicted)
            outliers += int((predicted == -1).sum())
        return {
            "rows": count,
            "outliers": outliers,
            "fit_s": fit_s,
            "score_s": time.perf_counter() - begun,
            "idle_mb": idle_mb,
            "peak_mb": _memory_mb("VmHWM"),
        }

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self._file) as file:
            for group in range(file.num_row_groups):
                # One group at a time: asked for all, pyarrow keeps what it has read of the file until the end.
                yield from file.iter_batches(batch_size=BATCH, row_groups=[group], use_threads=False)


def _memory_mb(entry: str) -> float:
    # Unlike ru_maxrss, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry)) * 1024 / 1e6


def write_large(file: Path) -> None:
    """Write the rows of the large file, as single-precision columns."""
    names = [f"x{at}" for at in range(FEATURES)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for seed, start in enumerate(range(0, LARGE_ROWS, 4 * BATCH)):
            rows = table(min(4 * BATCH, LARGE_ROWS - start), seed).astype(np.float32)
            writer.write_table(pa.table(list(rows.T), schema=schema))


def _worked(build: Callable[[int], object]) -> dict[str, Any]:
    worker = Worker(build, cores=1)
    try:
        return worker.facts()
    finally:
        worker.close()


def _budgets(one: dict[str, Any], large: dict[str, Any]) -> list[Budget]:
    budgets = [
        at_least(f"{name} scores", least, ROWS / one["detectors"][name]["score_s"], " rows/s")
        for name, least in SCORED.items()
        if name in one["detectors"]
    ]
    moments_s = one["detectors"]["mahalanobis"]["steps_s"]["moments/all"]
    budgets.append(at_least("moments of one pass", 1e6, ROWS / moments_s, " rows/s"))
    what = f"peak memory of {large['rows']:,} rows x {FEATURES}"
    budgets.append(at_most(what, 2_000, large["peak_mb"], " MB"))
    return budgets


def main() -> None:
    """Measure, print, write."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    one = _worked(OneCore)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SPEED_FILE"] = str(Path(folder) / "rows.parquet")
        write_large(Path(os.environ["SPEED_FILE"]))
        large = _worked(Large)
    peers = one["peers"]
    rows = [_row(name, times, peers) for name, times in (one["detectors"] | peers).items()]
    print_table(
        f"One core, {ROWS:,} rows x {FEATURES}: thousands of rows a second",
        ("detector", "training", "a pass", "scoring", *(f"/ {short}" for short in PEERS.values())),
        rows,
    )
    print_table(
        f"Mahalanobis in batches of {BATCH:,} rows from Parquet, one core",
        ("rows", "training", "scoring", "memory before", "peak memory"),
        [
            (
                f"{large['rows']:,}",
                f"{large['fit_s']:.1f} s",
                f"{large['score_s']:.1f} s",
                f"{large['idle_mb']:.0f} MB",
                f"{large['peak_mb']:.0f} MB",
            )
        ],
    )
    print_budgets(_budgets(one, large))
    write_json("speed", {"rows": ROWS, "features": FEATURES, **one, "large": large})


def _row(name: str, times: dict[str, Any], peers: dict[str, Any]) -> tuple[str, ...]:
    steps = times.get("steps_s", {})
    slowest = f"{ROWS / max(steps.values()) / 1000:,.0f}" if steps else ""
    ratios = (f"{peers[peer]['score_s'] / times['score_s']:,.2f}" for peer in PEERS)
    return (
        name,
        f"{ROWS / times['fit_s'] / 1000:,.0f}",
        slowest,
        f"{ROWS / times['score_s'] / 1000:,.0f}",
        *ratios,
    )


if __name__ == "__main__":
    main()
