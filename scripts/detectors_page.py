"""Makes docs/reference/detectors.md from what the detectors say of themselves."""

from __future__ import annotations

import json

from fedanomaly.cli.described import Described, Parameter, described
from fedanomaly.cli.output import size_text
from fedanomaly.cli.typical_costs import TYPICAL, TYPICAL_JOB
from fedanomaly.detectors import registry

INTRODUCTION = (
    "Every detector is trained from sums: a federation learns what `fit` learns on all rows together. `ensemble` is "
    "the default of `fedanomaly train`. `fedanomaly detectors show NAME` prints the part of a detector, "
    "`fedanomaly cost` tells what a job of yours takes."
)
COSTS = (
    "Rounds and bytes that a member sends for {rows:,} rows of {features} features in a federation of {members} with "
    "threshold {threshold}, with default parameters: as expected on normal random rows, and the most rounds that a "
    "job takes whatever the rows are."
)
FREE = (
    "Some parameters say how opened sums are read, not what is summed. They are free: after one training, "
    "`detector.resettled(X, name=value)` returns what a training with other values would have given, to the last bit, "
    "and nothing is summed anew. Its threshold is taken from `X`, such as one's own rows. So many settings can be "
    "tried, in a grid for example, on one opened set of sums. All other parameters take a training."
)
OTHERS = (
    "Other installed packages add detectors as entry points of the group `fedanomaly.detectors`; "
    "`fedanomaly detectors check NAME` runs the contract suite on one. A node takes part in a job with such a detector "
    "only where its `policy.toml` names it under `detectors`."
)


def detectors_page(generated: str) -> str:
    """Return docs/reference/detectors.md."""
    every = [described(kind) for kind in registry().values()]
    overview = ["| detector | learns from | rounds | at most | up | what it is |", "|---|---|---|---|---|---|"]
    for about in every:
        rounds, most, sent = TYPICAL[about.name]
        link = f"[{about.name}](#{about.name})"
        overview.append(
            f"| {link} | {about.learns_from} | {rounds} | {most} | {size_text(sent)} | {_cell(about.title)} |"
        )
    parts = ["# Detectors", generated, INTRODUCTION, COSTS.format(**TYPICAL_JOB), "\n".join(overview)]
    parts += ["## Many settings from one training", FREE, _free(every)]
    parts += ["## Detectors of other packages", OTHERS]
    for about in every:
        parts += _part(about)
    return "\n\n".join(parts) + "\n"


def _free(every: list[Described]) -> str:
    lines = ["| detector | free | takes a training |", "|---|---|---|"]
    for about in every:
        free = [f"`{entry.name}`" for entry in about.parameters if entry.free]
        bound = [f"`{entry.name}`" for entry in about.parameters if not entry.free]
        lines.append(f"| {about.name} | {', '.join(free)} | {', '.join(bound)} |")
    return "\n".join(lines)


def _part(about: Described) -> list[str]:
    rows = ["| parameter | default | allowed | free | meaning |", "|---|---|---|---|---|", *map(_row, about.parameters)]
    paragraphs = [about.title, about.idea, about.fails, f"Cost: {about.cost[:1].lower()}{about.cost[1:]}"]
    paragraphs.append(f"On ciphertexts: {about.on_ciphertexts}.")
    return [f"## {about.name}", *paragraphs, "\n".join(rows), f"Source: {about.sources}"]


def _row(entry: Parameter) -> str:
    free = "yes" if entry.free else ""
    return (
        f"| `{entry.name}` | `{json.dumps(entry.default)}` | {_cell(entry.allowed)} | {free} | {_cell(entry.meaning)} |"
    )


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
