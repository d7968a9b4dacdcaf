"""What the demonstration prints: local, federated and pooled, side by side."""

from __future__ import annotations

from typing import Any

from fedanomaly.cli.demo.evaluate import Quality
from fedanomaly.cli.demo.prepare import Plan
from fedanomaly.cli.demo.stages import Trained
from fedanomaly.cli.output import done, size_text
from fedanomaly.detectors.quality import ALERT_BUDGET

FIGURES = ("auroc", "ap", "recall")


def as_dict(plan: Plan, results: list[Trained], seconds: float) -> dict[str, Any]:
    """Return everything for JSON."""
    return {
        "organisations": {
            organisation.name: {
                "train_rows": organisation.train.num_rows,
                "test_rows": organisation.test.num_rows,
                **{
                    result.detector: {
                        "local": result.local[index].as_dict(),
                        "federated": result.federated[index].as_dict(),
                        "pooled": result.pooled[index].as_dict(),
                    }
                    for result in results
                },
            }
            for index, organisation in enumerate(plan.organisations)
        },
        "detectors": {
            result.detector: {
                "rounds": result.rounds,
                "sent_bytes": result.sent_bytes,
                "seconds": round(result.seconds, 3),
                "max_abs_difference": result.max_abs_difference,
                "federated_to_pooled": result.distance,
                "gain_over_local_auroc": gains(result),
            }
            for result in results
        },
        "columns": list(plan.schema.columns),
        "ignored": plan.ignored,
        "alert_budget": ALERT_BUDGET,
        "seconds": round(seconds, 3),
    }


def gains(result: Trained) -> list[float | None]:
    """Return by how much the federation's AUROC is above every organisation's own."""
    return [
        None if own.auroc is None or shared.auroc is None else shared.auroc - own.auroc
        for own, shared in zip(result.local, result.federated, strict=True)
    ]


def print_report(plan: Plan, results: list[Trained], seconds: float) -> None:
    """Print one table for each detector, and what follows from it."""
    for result in results:
        done("")
        for line in lines_of(plan, result):
            done(line)
        _conclude(result)
    done("")
    done(f"recall is at an alert budget of {ALERT_BUDGET:.1%} of the test events; all in {seconds:.0f} s")


def lines_of(plan: Plan, result: Trained) -> list[str]:
    """Return the table of one detector: for every figure own, federated and pooled."""
    width = max(len("organisation"), *(len(organisation.name) for organisation in plan.organisations))
    left = f"{'organisation':{width}} {'events':>9}"
    three = "".join(f"{way:>8}" for way in ("own", "fed.", "pooled"))
    out = [
        f"{result.detector}, on each organisation's own test events",
        " " * len(left) + "".join(f"  {title:^24}" for title in ("AUROC", "average precision", "recall")),
        left + f"  {three}" * len(FIGURES),
    ]
    for index, organisation in enumerate(plan.organisations):
        ways = (result.local[index], result.federated[index], result.pooled[index])
        row = f"{organisation.name:{width}} {organisation.train.num_rows:>9,}"
        for figure in FIGURES:
            row += "  " + "".join(f"{_cell(way, figure):>8}" for way in ways)
        out.append(row)
    return out


def _conclude(result: Trained) -> None:
    found = [gain for gain in gains(result) if gain is not None]
    if result.max_abs_difference == 0.0:
        close = "federated scores are those of pooled plaintext, bit for bit"
    else:
        close = (
            f"federated is within {result.distance:.2g} of pooled plaintext (scores differ by at most "
            f"{result.max_abs_difference:.2g})"
        )
    done(f"{close}; {result.rounds} rounds, at most {size_text(result.sent_bytes)} sent")
    if not found:
        done("no labels to evaluate with: give --label COLUMN to compare detection")
    elif min(found) > 0:
        done(f"the federation beats every organisation's own model, by {min(found):.3f} to {max(found):.3f} of AUROC")
    else:
        better = sum(gain > 0 for gain in found)
        done(
            f"the federation beats the own model at {better} of {len(found)} organisations "
            f"({min(found):+.3f} to {max(found):+.3f} of AUROC): here it does not help everybody"
        )


def _cell(way: Quality, figure: str) -> str:
    value = way.as_dict()[figure]
    return "-" if value is None else f"{value:.3f}"
