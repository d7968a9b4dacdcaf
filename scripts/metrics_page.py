"""The page docs/reference/metrics.md, from what the services declare."""

from __future__ import annotations

import importlib

INTRODUCTION = (
    "Prometheus text format. Labels take few values, all of them the program's own; no series is about one member, "
    "and none holds a statistic, a score or a row. Beside these, each service tells the `process_` metrics of its "
    "process. Coordinator and node answer `/healthz/live` and `/healthz/ready` with 200 or 503 to whoever asks."
)
SERVICES = (
    (
        "Coordinator",
        "fedanomaly.coordinator.metrics",
        (
            "At `http://127.0.0.1:PORT/metrics`, with `metrics_port = PORT` in coordinator.toml; off by default. The "
            "port is on loopback and asks nobody who they are: what it tells is for whoever runs the machine, not for "
            "members. "
            "`/healthz` answers on the port of the federation."
        ),
    ),
    (
        "Scoring service",
        "fedanomaly.scoring.metrics",
        (
            "At `/metrics` on the port of the service, without a signature: let only your own network reach it, or "
            "answer 404 for it in the proxy. `/health` says whether it is ready, or draining."
        ),
    ),
    (
        "Node",
        "fedanomaly.node.metrics",
        (
            "At `/metrics` of the loopback API, with the token of the home as a bearer token (Prometheus: "
            "`authorization: {credentials_file: …/token}`), because it tells how much this organisation takes part. "
            "`/healthz` wants no token."
        ),
    ),
)


def metrics_page(generated: str) -> str:
    """Return the page; `generated` is the line that says what wrote it."""
    parts = ["# Metrics", generated, INTRODUCTION]
    for title, module, reached in SERVICES:
        lines = ["| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
        for each in importlib.import_module(module).DECLARED:
            labels = ", ".join(f"`{label}`" for label in each.labels)
            lines.append(f"| `{each.name}` | {each.kind} | {each.unit} | {labels} | {each.meaning} |")
        parts += [f"## {title}", reached, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"
