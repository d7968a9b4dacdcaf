"""Setting a key epoch up: time and bytes for each member, in one process and as processes.

Every pair of members exchanges one sealed deal, so bytes of a member grow with
the size of the federation and the work of all with its square. A fit over the
small sizes is held against a larger one that is measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.members import wait_for
from benchmarks.nodes import TIMEOUT_S, Nodes, matrix
from benchmarks.report import at_most, print_budgets, print_table, write_json
from benchmarks.round import log_of
from fedanomaly.cli.demo.processes import Services
from fedanomaly.protocol import Entry, Settings
from fedanomaly.simulation import Federation, Party

SIZES = (3, 10, 20, 30)
CHECKED = 45
FORETOLD = 100
PROCESSES = 3


def threshold_of(members: int) -> int:
    """Return a threshold of a third of the members, at least 2."""
    return max(2, members // 3)


def in_process(members: int) -> dict[str, float]:
    """Set an epoch up with its self-tests, all members one after another."""
    settings = Settings(name="bench", members=members, threshold=threshold_of(members))
    federation = Federation(settings, [Party(f"org-{index}", _no_learner) for index in range(members)])
    try:
        begun, cpu = time.perf_counter(), time.process_time()
        federation.enrol()
        seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
        up = max(party.bytes_up for party in federation.parties)
        deals = federation.coordinator.transcript.epochs[-1].deals.values()
        down = sum(envelope.size for envelope in deals) / members + sum(
            len(e.envelope.to_bytes()) for e in federation.log
        )
    finally:
        federation.close()
    return {"members": members, "seconds": seconds, "cpu_s": cpu_s, "bytes_up": up, "bytes_down": down}


def _no_learner(_request: object) -> Any:  # noqa: ANN401 - no job is asked for
    raise AssertionError


def as_processes(members: int) -> dict[str, Any]:
    """Set an epoch up between real node processes; from the call to the end of its self-test."""
    with tempfile.TemporaryDirectory() as made, Services(Path(made)) as services:
        nodes = Nodes(services, [matrix(seed, 100, 4) for seed in range(members)])
        try:
            wait_for(nodes.live, services, TIMEOUT_S)
            entries = log_of(nodes.coordinator)
        finally:
            nodes.close()
    at = {
        kind: [e.received_at for e in entries if e.envelope.kind == kind] for kind in {e.envelope.kind for e in entries}
    }
    hellos, ended = at["hello"], at["job-end"][0]
    up = _sent(entries) / members
    return {
        "members": members,
        "seconds": ended - min(hellos),
        "phases_s": {
            "hello, roster": max(at["roster"]) - min(hellos),
            "deal": max(at["deal"]) - max(at["roster"]),
            "confirm": max(at["confirm"]) - max(at["deal"]),
            "self-test": ended - max(at["confirm"]),
        },
        "bytes_up": up,
    }


def _sent(entries: Sequence[Entry]) -> int:
    own = entries[0].envelope.sender
    return sum(len(e.envelope.to_bytes()) + e.envelope.size for e in entries if e.envelope.sender != own)


GROWTH = {"cpu_s": (1, 2, 3), "bytes_up": (0, 1), "bytes_down": (0, 1, 2)}
"""Powers of the number of members that a figure consists of.

Deals and their checks grow with the square; every member reads every message,
and a message that lists all of them has the size of the roster, hence the cube.
A member sends one deal to each other one, and receives one, and the envelopes
of all deals.
"""


def fitted(points: Sequence[dict[str, float]], what: str, members: int) -> float:
    """Extrapolate with the powers of `GROWTH` that fit best, errors counted relatively."""
    sizes = np.array([point["members"] for point in points], dtype=float)
    values = np.array([point[what] for point in points])
    terms = np.stack([sizes**power for power in GROWTH[what]], axis=1)
    found, *_ = np.linalg.lstsq(terms / values[:, None], np.ones(len(values)), rcond=None)
    return float(found @ [float(members) ** power for power in GROWTH[what]])


def main() -> None:
    """Measure, extrapolate, check, print, write."""
    processes = as_processes(PROCESSES)
    in_process(3)  # loads the engine
    points = [in_process(members) for members in SIZES]
    checked = in_process(CHECKED)
    told = {what: fitted(points, what, CHECKED) for what in GROWTH}
    far = {what: fitted([*points, checked], what, FORETOLD) for what in GROWTH}
    rows = [_row(f"{point['members']:.0f}", point) for point in points]
    rows.append(_row(f"{CHECKED} measured", checked))
    rows.append(_row(f"{CHECKED} foretold from the above", {"seconds": float("nan"), **told}))
    rows.append(_row(f"{FORETOLD} extrapolated", {"seconds": float("nan"), **far}))
    print_table(
        "A key epoch, all members in one process, self-tests included",
        ("members", "time", "processor time", "up for each member", "down for each member"),
        rows,
    )
    print_table(
        f"{PROCESSES} members as processes over HTTP, from the first hello to the end of the self-test",
        ("", *processes["phases_s"], "all", "up for each member"),
        [
            (
                "seconds",
                *(f"{seconds:.2f}" for seconds in processes["phases_s"].values()),
                f"{processes['seconds']:.2f}",
                f"{processes['bytes_up'] / 1e6:.2f} MB",
            )
        ],
    )
    error = abs(told["cpu_s"] / checked["cpu_s"] - 1)
    print_budgets(
        [
            at_most("3 members as processes", 3, processes["seconds"], " s"),
            at_most("30 members in one process", 60, points[-1]["seconds"], " s"),
            at_most(f"error of the extrapolation at {CHECKED}", 0.35, error),
        ]
    )
    write_json(
        "setup",
        {"in_process": points, "checked": checked, "foretold": told, "extrapolated": {"members": FORETOLD, **far},
         "as_processes": processes},
    )  # fmt: skip


def _row(name: str, point: dict[str, float]) -> tuple[str, ...]:
    seconds = "" if np.isnan(point["seconds"]) else f"{point['seconds']:.2f} s"
    sizes = (f"{point[what] / 1e6:.2f} MB" for what in ("bytes_up", "bytes_down"))
    return (name, seconds, f"{point['cpu_s']:.2f} s", *sizes)


if __name__ == "__main__":
    main()
