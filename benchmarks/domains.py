"""Detectors on data as it comes from networks, logs, requests and sensors: alone, federated, pooled.

Fitted as each set's protocol says, mostly on normal rows; detector and settings
are defaults, fixed before the scored part was read. Federated means exact sums:
that encryption changes no bit of them is tested, not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.adbench import DATA
from benchmarks.report import at_least, print_budgets, print_table, write_json
from fedanomaly.detectors import Detector, from_params, windows
from fedanomaly.detectors.contract import federated
from fedanomaly.features import encode, infer_schema
from fedanomaly.types import Floats, Integers

MEMBERS = 5
WIDTH = 256
"""Bytes of a text that are read; one request in a hundred is longer."""
EVENTS = 300
"""Events of a session that are read: all of them."""
SKAB_FITTED = 400
"""Readings of every SKAB file that are for training."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What members train on, and what their models are judged by.

    Parameters
    ----------
    parts : sequence of float64 array
        Rows of every member.
    test : float64 array of shape (n_samples, n_features)
        Rows to score.
    labels : bool array of shape (n_samples,)
        Whether they are anomalies.
    """

    parts: Sequence[Floats]
    test: Floats
    labels: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """One line of the table: the mean over one or more tasks.

    Parameters
    ----------
    name : str
        The data set, and how it is fitted.
    detector : str
        Registered name; parameters are the defaults.
    tasks : sequence of Task
        Each trains models of its own.
    promised : float or None
        Least AUROC of the federated model; None: only reported.
    """

    name: str
    detector: str
    tasks: Sequence[Task]
    promised: float | None = None


def intrusions() -> Domain:
    """Return NSL-KDD: members see the normal traffic of other services; the test part has attacks of new kinds."""
    header = pyarrow.csv.ReadOptions(autogenerate_column_names=True)
    train = pyarrow.csv.read_csv(DATA / "nsl_kdd" / "KDDTrain+_20Percent.txt", read_options=header)
    test = pyarrow.csv.read_csv(DATA / "nsl_kdd" / "KDDTest+.txt", read_options=header)
    normal = train.filter(pc.field("f41") == "normal")
    schema = infer_schema(normal, drop=["f41", "f42"], most_levels=80).schema
    rows, member = encode(schema, normal), _member(normal["f2"].to_pylist())
    task = Task(
        parts=[rows[member == at] for at in range(MEMBERS)],
        test=encode(schema, test),
        labels=np.array(test["f41"].to_pylist()) != "normal",
    )
    return Domain(name="NSL-KDD, normal traffic", detector="mahalanobis", tasks=[task], promised=0.955)


def sessions() -> list[Domain]:
    """Return HDFS: 3,000 normal sessions teach; 1,855 others and the first 200 abnormal ones, or all, are scored."""
    normal, odd = (_sessions(name) for name in ("hdfs_train", "hdfs_test_abnormal"))
    parts = np.array_split(normal[:3000], MEMBERS)
    domains = []
    for count in (200, len(odd)):
        test = np.concatenate([normal[3000:], odd[:count]])
        task = Task(parts=parts, test=test, labels=np.arange(len(test)) >= len(normal) - 3000)
        domains.append(Domain(name=f"HDFS, {count:,} abnormal", detector="ngram", tasks=[task], promised=0.995))
    return domains


def requests() -> list[Domain]:
    """Return http_params: half of the normal requests teach, the others and all attacks are scored; or everything."""
    table = pyarrow.csv.read_csv(DATA / "http_params" / "payload_full.csv")
    odd = np.array(table["label"].to_pylist()) == "anom"
    rows = _texts(table["payload"])
    shuffled = np.random.default_rng(0).permutation(len(rows))
    normal = shuffled[~odd[shuffled]]
    taught, kept = np.array_split(normal, 2)
    scored = np.concatenate([kept, np.flatnonzero(odd)])
    half = Task(parts=np.array_split(rows[taught], MEMBERS), test=rows[scored], labels=odd[scored])
    everything = Task(parts=np.array_split(rows[shuffled], MEMBERS), test=rows, labels=odd)
    return [
        Domain(name="http, normal requests", detector="text_surprise", tasks=[half], promised=0.98),
        Domain(name="http, everything", detector="text_surprise", tasks=[everything]),
    ]


def lines() -> list[Domain]:
    """Return BGL: members are racks; a random half of the normal lines teaches, or everything."""
    table = pyarrow.csv.read_csv(DATA / "bgl" / "BGL_2k.log_structured.csv")
    odd = np.array(table["Label"].to_pylist()) != "-"
    rows, member = _texts(table["Content"]), _member([node[:3] for node in table["Node"].to_pylist()])
    taught = ~odd & (np.random.default_rng(0).random(len(rows)) < 0.5)
    parts = [rows[taught & (member == at)] for at in range(MEMBERS)]
    half = Task(parts=parts, test=rows[~taught], labels=odd[~taught])
    everything = Task(parts=[rows[member == at] for at in range(MEMBERS)], test=rows, labels=odd)
    return [
        Domain(name="BGL, normal lines", detector="text_surprise", tasks=[half]),
        Domain(name="BGL, everything", detector="text_surprise", tasks=[everything]),
    ]


def sensors() -> Domain:
    """Return SKAB: per file, three members see a third each of the first 400 readings; the rest is scored."""
    tasks = []
    for file in sorted((DATA / "skab").glob("valve[12]/*.csv")):
        table = pyarrow.csv.read_csv(file, parse_options=pyarrow.csv.ParseOptions(delimiter=";"))
        labels = table["anomaly"].to_numpy() > 0
        columns = table.drop_columns(["datetime", "anomaly", "changepoint"]).columns
        readings = np.column_stack([column.to_numpy() for column in columns])
        parts = [windows(part) for part in np.array_split(readings[:SKAB_FITTED], 3)]
        # A window has one reading of the past, so the last one of training is the first of these.
        tasks.append(Task(parts=parts, test=windows(readings[SKAB_FITTED - 1 :]), labels=labels[SKAB_FITTED:]))
    return Domain(name=f"SKAB, {len(tasks)} files", detector="vector_autoregression", tasks=tasks, promised=0.80)


def _member(keys: Sequence[str]) -> Integers:
    return np.array([sum(key.encode()) % MEMBERS for key in keys])


def _sessions(name: str) -> Floats:
    told = (DATA / "hdfs_sessions" / name).read_text(encoding="ascii").splitlines()
    return _codes([[int(event) for event in line.split()] for line in told], EVENTS)


def _texts(column: pa.ChunkedArray) -> Floats:
    return _codes([text.encode()[:WIDTH] for text in column.to_pylist()], WIDTH)


def _codes(rows: Sequence[Sequence[int]], width: int) -> Floats:
    out = np.full((len(rows), width), np.nan)
    for at, row in enumerate(rows):
        out[at, : len(row)] = list(row)
    return out


def measured(domain: Domain) -> dict[str, Floats]:
    """Return mean AUROC and average precision of the members' own models, federated and pooled."""
    ways: dict[str, list[Floats]] = {"alone": [], "federated": [], "pooled": []}
    for task in domain.tasks:
        own = [_figures(_new(domain).fit(part), task) for part in task.parts]
        ways["alone"].append(np.mean(own, axis=0))
        ways["federated"].append(_figures(federated(_new(domain), task.parts), task))
        ways["pooled"].append(_figures(_new(domain).fit(np.concatenate(task.parts)), task))
    return {way: np.mean(figures, axis=0) for way, figures in ways.items()}


def _new(domain: Domain) -> Detector:
    return from_params(domain.detector)


def _figures(detector: Detector, task: Task) -> Floats:
    scores = detector.anomaly_scores(task.test)
    return np.array([roc_auc_score(task.labels, scores), average_precision_score(task.labels, scores)])


def main() -> None:
    """Measure, print and write build/bench/domains.json."""
    if not (DATA / "hdfs_sessions").exists():
        raise SystemExit(f"the sets are not in {DATA}; FEDANOMALY_DATA says where to look")
    domains = [intrusions(), *sessions(), *requests(), *lines(), sensors()]
    found = [measured(domain) for domain in domains]
    rows = [
        [domain.name, *(f"{figures[way][at]:.4f}" for at in (0, 1) for way in figures)]
        for domain, figures in zip(domains, found, strict=True)
    ]
    columns = ("data", "AUROC alone", "feder.", "pooled", "AP alone", "feder.", "pooled")
    print_table(f"{MEMBERS} members (SKAB: 3); alone: mean of the members' own models", columns, rows)
    budgets = [
        at_least(f"{domain.name}, federated AUROC", domain.promised, float(figures["federated"][0]))
        for domain, figures in zip(domains, found, strict=True)
        if domain.promised is not None
    ]
    print_budgets(budgets)
    told = {
        domain.name: {"detector": domain.detector, **{way: values.tolist() for way, values in figures.items()}}
        for domain, figures in zip(domains, found, strict=True)
    }
    write_json("domains", {"domains": told, "budgets": [asdict(budget) for budget in budgets]})


if __name__ == "__main__":
    main()
