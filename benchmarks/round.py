"""A full round with every check: 3 and 10 members as processes over HTTP, 30 in one process.

Mahalanobis and LODA over 30 features. What a round takes beyond the detector's
own computation is the price of doing it together under encryption. The peer is
the same job with the statistics added in the clear, in one process.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.members import wait_for
from benchmarks.nodes import TIMEOUT_S, Nodes, matrix
from benchmarks.report import at_most, print_budgets, print_table, write_json
from fedanomaly.cli.demo.processes import Services
from fedanomaly.detectors import Detector, Loda, Mahalanobis
from fedanomaly.protocol import Entry, Envelope, JobState, Settings
from fedanomaly.simulation import ArrayLearner, Federation, Party, matrix_schema, request_for
from fedanomaly.types import Quantiser

FEATURES = 30
ROWS = 1000
AS_PROCESSES = (3, 10)
IN_PROCESS = 30
JOBS = 3
DETECTORS: tuple[Callable[[], Detector], ...] = (Mahalanobis, Loda)
PHASES = {
    "announce": "start", "join": "join", "manifest": "manifest", "contribution": "contribute", "close": "close",
    "statement": "state", "opened": "sum", "vote": "open and vote", "outcome": "outcome",
}  # fmt: skip


def in_the_clear(detector: Detector, parts: list[np.ndarray]) -> tuple[float, float]:
    """Train with plain sums; returns seconds a step of one member's own work, and of the whole job."""
    state, own, whole, steps = detector.initial_state(FEATURES), 0.0, 0.0, 0
    while (step := detector.next_step(state)) is not None:
        begun = time.perf_counter()
        quantiser = Quantiser(step=step, members=len(parts))
        sums = quantiser.quantise(detector.local(step, parts[0], state))
        local_s = time.perf_counter() - begun
        for part in parts[1:]:
            sums = sums + quantiser.quantise(detector.local(step, part, state))
        before_s = time.perf_counter()
        state = detector.merge(step, quantiser.total(sums, len(parts)), state)
        own += local_s + time.perf_counter() - before_s
        whole += time.perf_counter() - begun
        steps += 1
    return own / steps, whole / steps


def phases_of(entries: list[Entry]) -> dict[str, list[float]]:
    """Return seconds of every phase of every round of a log: until the last message of the phase is in."""
    found: dict[str, list[float]] = defaultdict(list)
    last: dict[str, float] = {}
    begun = 0.0
    for entry in entries:
        kind = entry.envelope.kind
        if kind == "announce":
            begun, last = entry.received_at, {}
        if kind in PHASES:
            last[kind] = entry.received_at
        if kind == "outcome" and begun:
            times = [last[each] for each in PHASES if each in last]
            for name, (before, after) in zip(list(PHASES.values())[1:], pairwise(times), strict=False):
                found[name].append(after - before)
            found["round"].append(entry.received_at - begun)
    return found


def bytes_of(entries: list[Entry], members: int) -> dict[str, float]:
    """Return bytes up for each member and round, by kind: envelope and attachment."""
    found: dict[str, float] = defaultdict(float)
    rounds = sum(entry.envelope.kind == "outcome" for entry in entries)
    for entry in entries:
        if entry.envelope.kind in {"join", "contribution", "statement", "vote"}:
            size = len(entry.envelope.to_bytes()) + entry.envelope.size
            found[entry.envelope.kind] += size / members / rounds
    return dict(found)


def log_of(folder: Path) -> list[Entry]:
    """Return the log of a coordinator's home."""
    database = sqlite3.connect(f"file:{folder / 'coordinator.sqlite'}?mode=ro", uri=True)
    try:
        rows = database.execute("SELECT seq, received_at, data FROM envelopes ORDER BY seq").fetchall()
    finally:
        database.close()
    return [Entry(seq, received_at, Envelope.from_bytes(data)) for seq, received_at, data in rows]


def as_processes(members: int) -> dict[str, Any]:
    """Measure rounds between real node processes."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made, Services(Path(made)) as services:
        nodes = Nodes(services, [matrix(seed, ROWS, FEATURES) for seed in range(members)])
        try:
            wait_for(nodes.live, services, TIMEOUT_S)
            for make in DETECTORS:
                name, head = make().name, len(log_of(nodes.coordinator))
                for number in range(JOBS):
                    nodes.clients[0].train("readings", name, model=f"{name}-{number}").wait(TIMEOUT_S)
                entries = log_of(nodes.coordinator)[head:]
                figures[name] = _figures(entries, members)
        finally:
            nodes.close()
    return figures


def in_process(members: int) -> dict[str, Any]:
    """Measure rounds of a whole federation in one process: all members' work, one after another."""
    figures: dict[str, Any] = {}
    parts = [matrix(seed, ROWS, FEATURES) for seed in range(members)]
    for make in DETECTORS:
        detector = make()
        parties = [
            Party(f"org-{index}", lambda _, part=part, detector=detector: ArrayLearner(detector, part))
            for index, part in enumerate(parts)
        ]
        federation = Federation(Settings(name="bench", members=members, threshold=2), parties)
        try:
            federation.enrol()
            stamp = _Clock(federation)
            job = federation.train(request_for(detector, model="bench", dataset="rows", schema=matrix_schema(FEATURES)))
            assert job.state is JobState.ACCEPTED
            figures[detector.name] = _figures(stamp.entries, members)
        finally:
            federation.close()
    return figures


class _Clock:
    """Notes when each entry of a simulated log was made; the simulation's own clock stands still."""

    def __init__(self, federation: Federation) -> None:
        self.entries: list[Entry] = []
        federation._watch = self._note  # noqa: SLF001 - only from here on

    def _note(self, entry: Entry) -> None:
        self.entries.append(Entry(entry.seq, time.time(), entry.envelope))


def _figures(entries: list[Entry], members: int) -> dict[str, Any]:
    phases = phases_of(entries)
    return {
        "rounds": len(phases["round"]),
        "median_s": statistics.median(phases.pop("round")),
        "phases_s": {name: statistics.median(times) for name, times in phases.items()},
        "bytes_up": bytes_of(entries, members),
    }


def main() -> None:
    """Measure, print, write."""
    figures: dict[str, Any] = {}
    rows, phases, budgets = [], [], []
    parts = {n: [matrix(seed, ROWS, FEATURES) for seed in range(n)] for n in (*AS_PROCESSES, IN_PROCESS)}
    for members in (*AS_PROCESSES, IN_PROCESS):
        measured = in_process(members) if members == IN_PROCESS else as_processes(members)
        figures[str(members)] = measured
        for make in DETECTORS:
            detector = make()
            one = measured[detector.name]
            one["local_s"], one["plain_s"] = in_the_clear(detector, parts[members])
            who = f"{members} {'in one process' if members == IN_PROCESS else 'processes'}, {detector.name}"
            rows.append(
                (
                    who,
                    str(one["rounds"]),
                    f"{one['median_s']:.3f} s",
                    f"{one['local_s']:.3f} s",
                    f"{one['plain_s']:.3f} s",
                    f"{sum(one['bytes_up'].values()) / 1000:.1f} kB",
                )
            )
            phases.append((who, *(f"{seconds:.3f}" for seconds in one["phases_s"].values())))
            if members == AS_PROCESSES[0]:
                beyond = one["median_s"] - one["local_s"]
                budgets.append(at_most(f"round of {detector.name}, 3 members, beyond own work", 1.0, beyond, " s"))
    print_table(
        f"A full round, {FEATURES} features, {ROWS} rows a member",
        ("members", "rounds", "median", "own work of a member", "all in the clear", "up for each member"),
        rows,
    )
    print_table("Where the time goes, seconds", ("members", *list(PHASES.values())[1:]), phases)
    kinds = ("join", "contribution", "statement", "vote")
    print_table(
        "Bytes up, for each member and round",
        ("members", *kinds),
        [
            (f"{members}, {name}", *(f"{one['bytes_up'].get(kind, 0):,.0f}" for kind in kinds))
            for members, measured in figures.items()
            for name, one in measured.items()
        ],
    )
    print_budgets(budgets)
    write_json("round", figures)


if __name__ == "__main__":
    main()
