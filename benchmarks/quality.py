"""Detection quality on ADBench's sets: alone, federated, pooled, and centralised classics beside it.

Five members with skewed labels (shares of each label from a Dirichlet
distribution with concentration 0.5). Nothing is tuned to a set: every detector
has its defaults. Sums are exact, so encryption changes no bit of them; tests show
that. Identical splits for all, in one run.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.adbench import DATA, Split, names, split
from benchmarks.report import Budget, print_budgets, print_table, write_json
from fedanomaly.detectors import Detector, from_params, registry
from fedanomaly.detectors.contract import federated
from fedanomaly.types import Floats

SEEDS = tuple(range(1, 1 + int(os.environ.get("FEDANOMALY_QUALITY_SEEDS", "3"))))
MEMBERS = 5
CLASSICS = ("COPOD", "ECOD", "HBOS", "IForest", "KNN", "LODA", "LOF", "OCSVM", "PCA")
REPLICATES = 2000
LEADER = "ensemble"
WORKERS = 2

Figures = dict[str, dict[str, tuple[float, float]]]
"""Per detector and way of training: AUROC and average precision on the test part."""


def detectors() -> list[str]:
    """Return the detectors that read measurements and need no labels."""
    chosen = os.environ.get("FEDANOMALY_QUALITY_DETECTORS")
    if chosen:
        return chosen.split(",")
    unlabelled = {name: kind for name, kind in registry().items() if not kind.learns_from_labels}
    return [name for name, kind in unlabelled.items() if kind.preparation is Detector.preparation]


def measured(name: str, seed: int) -> Figures:
    """Return the figures of every detector on one set and seed."""
    data = split(name, seed)
    parts = [data.train[rows] for rows in data.members(MEMBERS)]
    out: Figures = {}
    for detector in detectors():
        pooled = from_params(detector).fit(data.train)
        together = federated(from_params(detector), parts)
        alone = [
            _figures(data, from_params(detector).fit(part).anomaly_scores(data.test)) for part in parts if len(part)
        ]
        out[detector] = {
            "local": (float(np.mean([a for a, _ in alone])), float(np.mean([p for _, p in alone]))),
            "federated": _figures(data, together.anomaly_scores(data.test)),
            "pooled": _figures(data, pooled.anomaly_scores(data.test)),
        }
    for classic in CLASSICS:
        out[f"PyOD {classic}"] = {"pooled": _figures(data, _classic(classic, data))}
    return out


def _classic(name: str, data: Split) -> Floats:
    import importlib  # noqa: PLC0415

    kind = getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name)
    seeded = {"random_state": data.seed} if name in {"IForest", "PCA"} else {}
    np.random.seed(data.seed)  # PyOD's LODA draws from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.nan_to_num(cast("Floats", kind(**seeded).fit(data.train).decision_function(data.test)))


def _figures(data: Split, scores: Floats) -> tuple[float, float]:
    return (
        float(roc_auc_score(data.test_labels, scores)),
        float(average_precision_score(data.test_labels, scores)),
    )


def _lead(first: Floats, second: Floats) -> tuple[float, float, float]:
    """Return the mean lead and its 95 % interval, by resampling the sets."""
    lead = first - second
    drawn = np.random.default_rng(0).integers(0, len(lead), (REPLICATES, len(lead)))
    low, high = np.quantile(lead[drawn].mean(axis=1), [0.025, 0.975])
    return float(lead.mean()), float(low), float(high)


def main() -> None:
    """Measure, print and write build/bench/quality.json."""
    if not names():
        raise SystemExit(f"the sets are not in {DATA}; FEDANOMALY_DATA says where to look")
    jobs = [(name, seed) for name in names() for seed in SEEDS]
    with ProcessPoolExecutor(WORKERS, initializer=threadpool_limits, initargs=(1,)) as pool:
        found = list(pool.map(measured, *zip(*jobs, strict=True)))
    # Per set the mean over seeds: array (sets, 2) for every detector and way.
    means: dict[tuple[str, str], Floats] = {}
    for detector in found[0]:
        for way in found[0][detector]:
            values = np.array([figures[detector][way] for figures in found])
            means[detector, way] = values.reshape(len(names()), len(SEEDS), 2).mean(axis=1)
    _print(means)
    budgets, told = _against_the_best(means)
    print_budgets(budgets)
    write_json(
        "quality",
        {
            "sets": names(),
            "seeds": SEEDS,
            "members": MEMBERS,
            "means": {f"{d} {w}": v.mean(axis=0).tolist() for (d, w), v in means.items()},
            "per_set": {f"{d} {w}": v.tolist() for (d, w), v in means.items()},
            **told,
            "budgets": [asdict(budget) for budget in budgets],
        },
    )


def _print(means: dict[tuple[str, str], Floats]) -> None:
    rows = []
    for detector in dict.fromkeys(detector for detector, _ in means):
        row = [detector]
        for figure in (0, 1):
            for way in ("local", "federated", "pooled"):
                value = means.get((detector, way))
                row.append("" if value is None else f"{value[:, figure].mean():.4f}")
        rows.append(row)
    rows.sort(key=lambda row: row[3], reverse=True)
    columns = ["detector", "AUROC local", "federated", "pooled", "AP local", "federated", "pooled"]
    print_table(f"{len(names())} ADBench sets, seeds {SEEDS}, {MEMBERS} members with label skew", columns, rows)


def _against_the_best(means: dict[tuple[str, str], Floats]) -> tuple[list[Budget], dict[str, Any]]:
    budgets, told = [], {}
    for figure, title in enumerate(("AUROC", "average precision")):
        classics = {name: means[f"PyOD {name}", "pooled"][:, figure] for name in CLASSICS}
        best = max(classics, key=lambda name: classics[name].mean())
        ours = means[LEADER, "federated"][:, figure]
        lead, low, high = _lead(ours, classics[best])
        behind = [name for name, value in zip(names(), ours - classics[best], strict=True) if value < 0]
        print(
            f"{LEADER}, federated: mean {title} {ours.mean():.4f}; best centralised: {best} "
            f"{classics[best].mean():.4f}; lead {lead:+.4f} [{low:+.4f}, {high:+.4f}]; "
            f"behind on {len(behind)} of {len(ours)}: {', '.join(behind)}"
        )
        told[title] = {"best": best, "lead": lead, "interval": [low, high], "behind": behind}
        budgets.append(
            Budget(
                what=f"{LEADER}, mean {title}",
                promised=f"> {best} {classics[best].mean():.4f}",
                measured=f"{ours.mean():.4f}",
                kept=bool(ours.mean() > classics[best].mean()),
            )
        )
    return budgets, told


if __name__ == "__main__":
    main()
