"""Card payments of four banks: unsupervised and supervised detectors, each bank alone, federated, pooled.

28 days of the ULB / Worldline handbook's simulator. A feature schema with entity
windows turns payments into numbers; each bank has a quarter of the customers and
encodes its own payments only, so that its windows of a terminal hold what its own
customers paid there. The first 21 days teach, the last 7 are scored; their windows
go on from the days before. Detectors have their defaults.

No label enters the first set of features. The second one adds how many payments
of the same terminal and customer were found to be frauds, seven days late: of the
scored days no label enters at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

import fedanomaly as fa
from benchmarks.adbench import DATA
from benchmarks.report import Budget, at_most, print_budgets, print_table, write_json
from fedanomaly.detectors import Detector, from_params
from fedanomaly.detectors.contract import federated
from fedanomaly.detectors.quality import alerts_of
from fedanomaly.features import Schema, encode
from fedanomaly.types import Floats, Integers

FILE = DATA / "payments_fdh" / "transactions.parquet"
BANKS = 4
TAUGHT_DAYS = 21
ALERTS = 0.005
"""Share of the payments that somebody can look at."""
WORKERS = 2
UNSUPERVISED = ("ensemble", "hbos", "copod", "random_trees", "loda")
LEADER = "gradient_boosting"
PEER = "HistGradientBoosting"
"""scikit-learn's, with its defaults."""
WINDOWS_TOO = "pooled windows"
"""Trained on pooled rows whose windows are over the rows of all banks."""

COLUMNS = """
version = 2

[[columns]]
name = "TX_AMOUNT"
kind = "numeric"
transform = "log"

[[columns]]
name = "TX_DATETIME"
kind = "time"
parts = ["hour", "weekday"]

[[windows]]
entity = "CUSTOMER_ID"
time = "TX_DATETIME"
value = "TX_AMOUNT"
statistics = ["count", "sum", "mean", "max", "ratio", "distinct:TERMINAL_ID", "since_last"]
spans = ["1d", "7d", "30d"]

[[windows]]
entity = "TERMINAL_ID"
time = "TX_DATETIME"
value = "TX_AMOUNT"
statistics = ["count", "sum", "mean", "max", "ratio", "distinct:CUSTOMER_ID", "since_last"]
spans = ["1d", "7d", "30d"]
"""
FOUND_FRAUDS = """
[[windows]]
entity = "TERMINAL_ID"
time = "TX_DATETIME"
value = "TX_FRAUD"
statistics = ["sum", "mean"]
spans = ["1d", "7d", "30d"]
delay = "7d"

[[windows]]
entity = "CUSTOMER_ID"
time = "TX_DATETIME"
value = "TX_FRAUD"
statistics = ["sum", "mean"]
spans = ["7d", "30d"]
delay = "7d"
"""
SCHEMAS = {"no labels": COLUMNS, "labels 7 d late": COLUMNS + FOUND_FRAUDS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Payments:
    """Rows of all banks in the order of time, encoded.

    Parameters
    ----------
    own : float64 array of shape (n_samples, n_features)
        Each bank's rows, encoded from that bank's rows only.
    whole : float64 array of shape (n_samples, n_features)
        The same rows, with windows over the rows of all banks: what no bank can see.
    frauds : int64 array of shape (n_samples,)
        Labels; 1 is a fraud.
    bank : int64 array of shape (n_samples,)
        Whose customer paid.
    taught : bool array of shape (n_samples,)
        Whether the row teaches; the others are scored.
    """

    own: Floats
    whole: Floats
    frauds: Integers
    bank: Integers
    taught: Integers


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model.

    Parameters
    ----------
    features : str
        Which schema.
    detector : str
        Registered name, or `PEER`.
    way : str
        ``"bank 0"`` and so on, ``"federated"``, ``"encrypted"``, ``"pooled"``, or
        `WINDOWS_TOO`.
    """

    features: str
    detector: str
    way: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How well one model ranks the scored payments.

    Parameters
    ----------
    average_precision, recall, auroc : float
        Over the payments of all banks; recall among the highest `ALERTS`.
    own : tuple of float
        Average precision on every bank's own payments.
    seconds : float
        To train and score.
    told : dict
        Rounds, bytes and the largest difference of an encrypted run.
    """

    average_precision: float
    recall: float
    auroc: float
    own: tuple[float, ...]
    seconds: float
    told: dict[str, Any]


@cache
def payments(features: str) -> Payments:
    """Return the payments with one of the `SCHEMAS`."""
    table = pq.read_table(FILE)
    schema = Schema.from_toml(SCHEMAS[features])
    customers = table["CUSTOMER_ID"].to_numpy()
    edges = np.quantile(np.unique(customers), np.arange(1, BANKS) / BANKS)
    bank = np.searchsorted(edges, customers)
    own = np.empty((table.num_rows, schema.n_features))
    for at in range(BANKS):
        own[bank == at] = encode(schema, table.filter(pa.array(bank == at)))
    days = table["TX_TIME_DAYS"].to_numpy()
    return Payments(
        own=own,
        whole=encode(schema, table),
        frauds=table["TX_FRAUD"].to_numpy(),
        bank=bank,
        taught=days < days.min() + TAUGHT_DAYS,
    )


def measured(job: Job) -> Figures:
    """Train one model and return its figures on the last days."""
    data = payments(job.features)
    rows = data.whole if job.way == WINDOWS_TOO else data.own
    begin = time.perf_counter()
    scores, told = _scores(job, data, rows)
    seconds = time.perf_counter() - begin
    frauds, bank = data.frauds[~data.taught], data.bank[~data.taught]
    first = np.argsort(-scores, kind="stable")[: alerts_of(ALERTS, len(scores))]
    return Figures(
        average_precision=float(average_precision_score(frauds, scores)),
        recall=float(frauds[first].sum() / frauds.sum()),
        auroc=float(roc_auc_score(frauds, scores)),
        own=tuple(float(average_precision_score(frauds[bank == at], scores[bank == at])) for at in range(BANKS)),
        seconds=seconds,
        told=told,
    )


def _scores(job: Job, data: Payments, rows: Floats) -> tuple[Floats, dict[str, Any]]:
    test, told = rows[~data.taught], {}
    parts = [data.taught & (data.bank == at) for at in range(BANKS)]
    if job.detector == PEER:
        peer = HistGradientBoostingClassifier(random_state=0).fit(rows[data.taught], data.frauds[data.taught])
        return peer.predict_proba(test)[:, 1], told
    if job.way == "encrypted":
        run = fa.simulate(_new(job), [rows[part] for part in parts], [data.frauds[part] for part in parts])
        told = {"rounds": run.rounds, "bytes_up": run.bytes_up, "max_abs_difference": run.max_abs_difference}
        trained = run.detector
    elif job.way == "federated":
        trained = federated(_new(job), [rows[part] for part in parts], [data.frauds[part] for part in parts])
    else:
        taught = parts[int(job.way.removeprefix("bank "))] if job.way.startswith("bank") else data.taught
        trained = _new(job).fit(rows[taught], data.frauds[taught])
    return trained.anomaly_scores(test), told


def _new(job: Job) -> Detector:
    return from_params(job.detector)


def jobs() -> Iterator[Job]:
    """Yield all models; the slowest first, so that the workers end together."""
    banks = [f"bank {at}" for at in range(BANKS)]
    first, second = SCHEMAS
    yield Job(features=first, detector=LEADER, way="encrypted")
    for features in SCHEMAS:
        for way in ("federated", "pooled", WINDOWS_TOO, *banks):
            if (features, way) != (first, "federated"):
                yield Job(features=features, detector=LEADER, way=way)
    for detector in UNSUPERVISED:
        yield from (Job(features=first, detector=detector, way=way) for way in ("federated", "pooled", *banks))
    for features in (first, second):
        yield from (
            Job(features=features, detector="logistic_regression", way=way) for way in ("federated", "pooled", *banks)
        )
        yield from (Job(features=features, detector=PEER, way=way) for way in ("pooled", WINDOWS_TOO))


def _table(found: dict[Job, Figures]) -> list[list[str]]:
    rows: list[list[str]] = []
    for features, detector in dict.fromkeys((job.features, job.detector) for job in found):
        ways = {job.way: told for job, told in found.items() if (job.features, job.detector) == (features, detector)}
        banks = [told for way, told in ways.items() if way.startswith("bank")]
        lines = [["alone, mean", *_cells(banks)]] if banks else []
        lines += [[f"  bank {at}", *_cells([bank], own=bank.own[at])] for at, bank in enumerate(banks)]
        for way in ("encrypted", "federated", "pooled", WINDOWS_TOO):
            if way in ways:
                lines.append(["federated" if way == "encrypted" else way, *_cells([ways[way]])])
        titles = [detector, f"  {features}", *[""] * len(lines)]
        rows += [[title, *line] for title, line in zip(titles, lines, strict=False)]
    return rows


def _cells(models: list[Figures], own: float | None = None) -> list[str]:
    """Return the means over models; a bank's own model counts on its own payments, a shared one on every bank's."""
    if own is None:
        own = float(np.diag([told.own for told in models]).mean() if len(models) == BANKS else np.mean(models[0].own))
    means = [
        float(np.mean([getattr(told, name) for told in models])) for name in ("average_precision", "recall", "auroc")
    ]
    return [f"{value:.4f}" for value in (*means, own)]


def _budgets(found: dict[Job, Figures]) -> list[Budget]:
    budgets = []
    for features, way in zip(SCHEMAS, ("encrypted", "federated"), strict=True):
        ours, pooled = (found[Job(features=features, detector=LEADER, way=each)] for each in (way, "pooled"))
        banks = [found[Job(features=features, detector=LEADER, way=f"bank {at}")] for at in range(BANKS)]
        apart = abs(ours.average_precision - pooled.average_precision)
        budgets.append(at_most(f"{features}: AP, federated from pooled", 0.01, apart))
        best = max(told.average_precision for told in banks)
        budgets.append(_above(f"{features}: AP, federated", best, ours.average_precision))
    return budgets


def _above(what: str, best: float, measured: float) -> Budget:
    return Budget(what=what, promised=f"> {best:.4f}, best bank", measured=f"{measured:.4f}", kept=measured > best)


def main() -> None:
    """Measure, print and write build/bench/payments.json."""
    if not FILE.exists():
        raise SystemExit(f"the payments are not in {DATA}; FEDANOMALY_DATA says where to look")
    with ProcessPoolExecutor(WORKERS, initializer=threadpool_limits, initargs=(1,)) as pool:
        asked = list(jobs())
        found = dict(zip(asked, pool.map(measured, asked), strict=True))
    data = payments(next(iter(SCHEMAS)))
    scored = int((~data.taught).sum())
    title = (
        f"{len(data.frauds):,} card payments, {BANKS} banks by customer; {TAUGHT_DAYS} days teach,\n"
        f"{scored:,} payments of the last 7 are scored, {data.frauds[~data.taught].sum()} of them frauds"
    )
    columns = ("detector, features", "trained", "AP", f"recall {ALERTS:.1%}", "AUROC", "AP, own")
    print_table(title, columns, _table(found))
    told = next(figures.told for job, figures in found.items() if job.way == "encrypted")
    print(
        f"{LEADER} under encryption: {told['rounds']} rounds, {told['bytes_up'] / 2**20:.1f} MiB sent by the busiest "
        f"bank; largest difference of a score from pooled: {told['max_abs_difference']:g}"
    )
    budgets = _budgets(found)
    print_budgets(budgets)
    models = [{**asdict(job), **asdict(figures)} for job, figures in found.items()]
    write_json("payments", {"models": models, "budgets": [asdict(budget) for budget in budgets]})


if __name__ == "__main__":
    main()
