"""The coordinator under load: ten uploads of 100 MB at once, and a flood of malformed requests.

The members are real: keys, contributions and shares are made as nodes make
them, each upload is carried by a process of its own, and the sum is opened at
the end. The peer is the least server that takes the same bodies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flood import Bad, malformed
from benchmarks.members import (
    Carriers,
    Coordinator,
    Organisation,
    Transfer,
    VectorLearner,
    settle,
    vector_request,
)
from benchmarks.report import at_most, print_budgets, print_table, write_json
from fedanomaly.cli.demo.processes import Services, free_port
from fedanomaly.coordinator import CoordinatorConfig
from fedanomaly.errors import FedAnomalyError
from fedanomaly.protocol import Post, RoundState
from fedanomaly.simulation import Party

MEMBERS = 10
THRESHOLD = 2
ENTRIES = 9_700_000
BOUND = 2**51
PATIENCE_S = 900.0
FLOOD_RATE = 1000.0
FLOODERS = 2
MEASURE_S = 15.0
PAUSE_S = 0.01
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Large:
    """A post whose attachment lies in a file."""

    index: int
    file: Path
    post: Post


class Load:
    """One round of ten large contributions through a coordinator.

    Parameters
    ----------
    folder : Path
        Where the attachments lie.
    coordinator : Coordinator
        Under load.
    values : int64 array
        What the first member adds; the others add one more each.
    """

    def __init__(self, folder: Path, coordinator: Coordinator, values: np.ndarray) -> None:
        self.folder, self.coordinator = folder, coordinator
        learners = [VectorLearner(values + index, BOUND) for index in range(MEMBERS)]
        parties = [Party(f"org-{index}", lambda _, own=own: own) for index, own in enumerate(learners)]
        self.organisations = [Organisation(coordinator, party) for party in parties]
        self.log = self.organisations[0].member.transcript
        settle(self.organisations, lambda: self.log.live is not None)
        self.idle_mb = coordinator.memory_mb("VmRSS")
        self.figures: dict[str, Any] = {"idle_mb": self.idle_mb}

    def run(self) -> None:
        """Contribute, close, sum and download."""
        self.coordinator.forget_peak()
        first = self.organisations[0]
        first.send(first.member.request(vector_request("large")))
        given = self._large(MEMBERS)
        with Carriers(self.coordinator, [each.party for each in self.organisations]) as carriers:
            self._note("upload", sum(each.file.stat().st_size for each in given), self._upload(carriers, given))
            self._note("check", 0, self._post(carriers, given))
            shares = self._large(THRESHOLD + 2)
            self._note(
                "upload_shares", sum(each.file.stat().st_size for each in shares), self._upload(carriers, shares)
            )
            self._note("check_and_sum", 0, self._post(carriers, shares))
            for entry in first.client.feed(self.log.head)[0]:
                first.member.accept(entry)
            round_ = self.log.jobs[-1].open_round
            assert round_ is not None
            assert round_.state is RoundState.OPENED, round_.state
            digest = round_.published.attachment.hex()
            fetch = [Transfer("download", digest=digest)] * MEMBERS
            self._note("download", MEMBERS * round_.published.size, carriers.at_once(dict(enumerate(fetch))))
            self.figures["peer"] = self._peer(carriers, given)
        for each in [*given, *shares]:
            each.file.unlink()

    def opens(self, values: np.ndarray) -> bool:
        """Let the members vote; whether the sum is what they added."""
        settle(self.organisations, lambda: not self.log.open_job)
        state = self.organisations[1].member.state(self.log.jobs[-1])
        expected = MEMBERS * values + sum(range(MEMBERS))
        return bool(state is not None and np.array_equal(state["sums"], expected))

    def _large(self, count: int) -> list[Large]:
        """Let everybody act until so many posts with attachments are due; those are not sent yet."""
        found: list[Large] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < count:
            assert time.monotonic() < deadline, "the round does not get on"
            found = []
            for index, organisation in enumerate(self.organisations):
                for post in organisation.due():
                    if post.attachment is not None:
                        file = self.folder / f"{post.envelope.kind}-{index}"
                        file.write_bytes(post.attachment)
                        found.append(Large(index, file, Post(post.envelope)))
                        break
                    organisation.send(post)
        return found

    def _upload(self, carriers: Carriers, large: Sequence[Large]) -> float:
        return carriers.at_once({each.index: Transfer.upload(each.file) for each in large})

    def _post(self, carriers: Carriers, large: Sequence[Large]) -> float:
        return carriers.at_once({each.index: Transfer.post(each.post.envelope) for each in large})

    def _note(self, what: str, size: int, seconds: float) -> None:
        peak = self.coordinator.memory_mb("VmHWM") - self.idle_mb
        self.figures[what] = {"bytes": size, "seconds": seconds, "peak_above_idle_mb": peak}

    def _peer(self, carriers: Carriers, given: Sequence[Large]) -> dict[str, float]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.plain_server", str(port)],
                cwd=ROOT,
                env={**os.environ, "PLAIN_FOLDER": folder},
            )
            try:
                wait_for_port(port)
                seconds = carriers.at_once({e.index: Transfer("plain", url=url, file=str(e.file)) for e in given})
            finally:
                process.terminate()
                process.wait(30)
        return {"seconds": seconds}


def wait_for_port(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError


# The flood


def fingerprint(coordinator: Coordinator) -> str:
    """Return a hash of every row of the database and of every blob, staged ones included."""
    hashed = hashlib.sha256()
    with sqlite3.connect(f"file:{coordinator.folder / 'coordinator.sqlite'}?mode=ro", uri=True) as database:
        for line in database.iterdump():
            hashed.update(line.encode())
    database.close()
    for path in sorted((coordinator.folder / "blobs").rglob("*")):
        hashed.update(str(path).encode())
        if path.is_file():
            hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()


def latencies_ms(organisation: Organisation, seconds: float) -> np.ndarray:
    """Return the times of a valid member's requests: news, status."""
    head = organisation.member.transcript.head
    calls: list[Callable[[], object]] = [lambda: organisation.client.feed(head), organisation.client.status]
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        calls[len(times) % 2]()
        times.append(1000 * (time.perf_counter() - begun))
        time.sleep(PAUSE_S)
    return np.array(times)


@contextmanager
def flooding(coordinator: Coordinator, requests: Sequence[Bad], seconds: float) -> Iterator[list[dict[str, Any]]]:
    """Flood from other processes while the block runs; the list holds what came back afterwards."""
    told = {
        "url": coordinator.config.origin,
        "rate": FLOOD_RATE / FLOODERS,
        "seconds": seconds,
        "requests": [(bad.kind, base64.b64encode(bad.raw).decode()) for bad in requests],
    }
    flooders = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.flood"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(FLOODERS)
    ]
    for word in (json.dumps(told), "go"):
        for flooder in flooders:
            assert flooder.stdin
            assert flooder.stdout
            flooder.stdin.write(word + "\n")
            flooder.stdin.flush()
            if word != "go":
                flooder.stdout.readline()
    results: list[dict[str, Any]] = []
    try:
        yield results
    finally:
        for flooder in flooders:
            assert flooder.stdout
            results.append(json.loads(flooder.stdout.readline()))
            flooder.wait(30)


def flood(coordinator: Coordinator, organisation: Organisation) -> dict[str, Any]:
    """Measure a valid member in quiet and under the flood."""
    latencies_ms(organisation, 2.0)
    quiet = latencies_ms(organisation, MEASURE_S)
    requests = malformed(coordinator.config.origin, coordinator.federation, organisation.party.identity.public_key)
    before = fingerprint(coordinator)
    with flooding(coordinator, requests, MEASURE_S + 2) as results:
        time.sleep(1.0)
        flooded = latencies_ms(organisation, MEASURE_S)
    answers = sum((Counter(result["answers"]) for result in results), Counter())
    known = {kind.code for kind in _descendants(FedAnomalyError)}
    return {
        "rate": sum(result["rate"] for result in results),
        "answers": dict(sorted(answers.items())),
        "unknown_codes": sum(count for answer, count in answers.items() if answer.rsplit(" ", 1)[-1] not in known),
        "changed": fingerprint(coordinator) != before,
        "quiet_ms": _percentiles(quiet),
        "flooded_ms": _percentiles(flooded),
    }


def _descendants(kind: type[FedAnomalyError]) -> Iterator[type[FedAnomalyError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)


def _percentiles(times: np.ndarray) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(times, p)) for p in (50, 90, 99)}


def main() -> None:
    """Run both and print what was measured beside what was promised."""
    config = CoordinatorConfig(
        name="bench", members=MEMBERS, threshold=THRESHOLD, join_s=PATIENCE_S, contribute_s=PATIENCE_S,
        statement_s=PATIENCE_S, vote_s=PATIENCE_S,
    )  # fmt: skip
    values = np.random.default_rng(1).integers(-(2**50), 2**50, size=ENTRIES)
    with tempfile.TemporaryDirectory() as made, Services(Path(made)) as services:
        coordinator = Coordinator.start(services, config)
        load = Load(Path(made), coordinator, values)
        try:
            load.run()
            figures = load.figures
            figures["peak_above_idle_mb"] = coordinator.memory_mb("VmHWM") - load.idle_mb
            figures["exact"] = load.opens(values)
            figures["flood"] = flood(coordinator, load.organisations[0])
        finally:
            for organisation in load.organisations:
                organisation.close()
    report(figures)


def report(figures: dict[str, Any]) -> None:
    """Print tables and budgets, and write the JSON."""
    steps = ("upload", "check", "upload_shares", "check_and_sum", "download")
    rows = [
        (
            step.replace("_", " "),
            f"{figures[step]['seconds']:.2f} s",
            f"{figures[step]['bytes'] / 1e6 / figures[step]['seconds']:.0f} MB/s" if figures[step]["bytes"] else "",
            f"{figures[step]['peak_above_idle_mb']:.1f} MB",
        )
        for step in steps
    ]
    rate = figures["upload"]["bytes"] / 1e6 / figures["peer"]["seconds"]
    rows.append(
        ("peer: the same bodies, hashed and written", f"{figures['peer']['seconds']:.2f} s", f"{rate:.0f} MB/s", "")
    )
    figures["upload_over_peer"] = figures["peer"]["seconds"] / figures["upload"]["seconds"]
    print_table(f"{MEMBERS} contributions of {figures['upload']['bytes'] / MEMBERS / 1e6:.0f} MB at once",
                ("step", "time", "rate", "peak above idle"), rows)  # fmt: skip
    print(f"idle {figures['idle_mb']:.0f} MB; upload rate over peer's: {figures['upload_over_peer']:.2f}; "
          f"opened to the exact sum: {figures['exact']}")  # fmt: skip
    storm = figures["flood"]
    print_table(
        f"A valid member's requests, {storm['rate']:.0f} malformed ones a second beside them",
        ("", "p50", "p90", "p99"),
        [(name, *(f"{value:.1f} ms" for value in storm[f"{name}_ms"].values())) for name in ("quiet", "flooded")],
    )
    print_budgets(
        [
            at_most("coordinator above idle", 32, figures["peak_above_idle_mb"], " MB"),
            at_most("rows or blobs that the flood changed", 0, float(storm["changed"])),
            at_most("answers without a code of the catalogue", 0, storm["unknown_codes"]),
            at_most("p99 under flood over p99 in quiet", 2, storm["flooded_ms"]["p99"] / storm["quiet_ms"]["p99"]),
        ]
    )
    write_json("coordinator", figures)


if __name__ == "__main__":
    main()
