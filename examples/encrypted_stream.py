"""A minute of payments, scored by a service that sees none of them.

Three banks train a detector together, in this process. A scoring service runs as
a process of its own, on loopback. One bank's payments then arrive one after the
other, are encrypted in micro-batches, scored there, and decrypted here:

    python examples/encrypted_stream.py --seconds 60

On the left is what the bank sees, on the right all that the service could see.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import fedanomaly as fa
from fedanomaly.scoring import HttpExchange

FEDERATION = bytes(range(32))
INPUT_EVENTS = 20
SHOWN = 8
START_TIMEOUT_S = 60.0


class Identity:
    """A key pair; a node has its own in its keystore."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the signature of bytes."""
        return self._key.sign(data)


@dataclass
class Traffic:
    """What goes to the service and comes back: everything that it could see."""

    batches: int = 0
    up: int = 0
    down: int = 0
    last: deque[tuple[str, int, str, int]] = field(default_factory=lambda: deque(maxlen=SHOWN))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, batch: bytes | bytearray, answer: memoryview) -> None:
        """Note a batch and its answer; they come from several threads."""
        with self.lock:
            self.batches += 1
            self.up += len(batch)
            self.down += len(answer)
            self.last.append((time.strftime("%H:%M:%S"), len(batch), bytes(batch[:8]).hex(" "), len(answer)))


class Watched(HttpExchange):
    """An exchange that notes what leaves and what arrives."""

    def watch(self, traffic: Traffic) -> None:
        """Note everything in `traffic` from now on."""
        self._traffic = traffic

    def answer(
        self,
        digest: bytes,
        batch: bytes | bytearray,
        batch_id: bytes,
        meanwhile: Callable[[], object] | None = None,
    ) -> memoryview:
        """Send a batch, as the exchange does."""
        answer = super().answer(digest, batch, batch_id, meanwhile)
        self._traffic.note(batch, answer)
        return answer


@dataclass
class Seen:
    """What the bank sees."""

    seconds: float = 0.0
    events: int = 0
    frauds: int = 0
    caught: int = 0
    alerts: int = 0
    beyond: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    last: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN))

    def latency_ms(self, percent: float) -> float:
        """Return a percentile of the time from an event's arrival to its score."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else float("nan")


def main() -> None:
    """Train, start the service, score for a while, say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long payments arrive")
    parser.add_argument("--rate", type=float, default=2_000.0, help="payments that arrive in a second")
    options = parser.parse_args()
    console = Console()
    console.print("three banks train a detector together; none shows its payments")
    payments = fa.datasets.make_payments(60_000, 3, random_state=1)
    before = [payments.split(bank)[0].select(payments.features) for bank in payments.banks]
    schema = fa.features.infer_schema(before[0]).schema
    parts = [fa.features.encode(schema, table) for table in before]
    detector = fa.simulate(fa.detectors.KMeans(contamination=0.02), parts).detector
    arriving = payments.split("bank-1")[1]
    rows, labels = fa.features.encode(schema, arriving), arriving["fraud"].to_numpy()
    bank = Identity()
    with service_for(bank) as url, Watched(url, bank, FEDERATION) as exchange:
        traffic, seen = Traffic(), Seen()
        exchange.watch(traffic)
        scorer = fa.EncryptedScorer(detector, exchange)
        digest = detector.encryptable().circuit().balanced()[0].digest.hex()
        arrived: deque[tuple[float, int]] = deque()
        with scores_shown(console, seen, traffic, digest) as show:
            source = payments_of(rows, options.seconds, options.rate, arrived)
            since = time.perf_counter()
            for scores in scorer.stream(source):
                at, first = arrived.popleft()
                now = time.perf_counter()
                seen.seconds = now - since
                seen.latencies_ms.append(1e3 * (now - at))
                places = np.arange(first, first + len(scores)) % len(rows)
                plain = detector.anomaly_scores(rows[places])
                seen.beyond += int(((plain < scores.lower) | (plain > scores.upper)).sum())
                seen.events += len(scores)
                seen.frauds += int(labels[places].sum())
                for place in places[scores.outliers]:
                    row = rows[place : place + 1]
                    (reasons,) = detector.reasons(row, schema.feature_names, most=1, logged=schema.logged)
                    seen.alerts += 1
                    seen.caught += int(labels[place])
                    seen.last.append(f"{'fraud' if labels[place] else 'alert'}: {'; '.join(reasons)}")
                show()
        report(console, seen, traffic, digest)


def payments_of(
    rows: np.ndarray, seconds: float, rate: float, arrived: deque[tuple[float, int]]
) -> Iterator[np.ndarray]:
    """Yield payments, some at a time, at the rate at which they arrive; over again once all were there."""
    since, first = time.perf_counter(), 0
    while (now := time.perf_counter() - since) < seconds:
        due_s = first / rate
        if now < due_s:
            time.sleep(due_s - now)
        arrived.append((time.perf_counter(), first))
        yield rows[np.arange(first, first + INPUT_EVENTS) % len(rows)]
        first += INPUT_EVENTS


@contextmanager
def service_for(tenant: Identity) -> Iterator[str]:
    """Run a scoring service of its own process; gives its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="fedanomaly-stream-") as folder:
        command = [sys.executable, "-m", "fedanomaly", "scoring"]
        for arguments in (
            ("init", folder, "--federation", FEDERATION.hex(), "--listen", address),
            ("add-tenant", folder, "bank-1", tenant.public_key.hex()),
        ):
            subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
        with Path(folder, "log").open("wb") as log:
            service = subprocess.Popen([*command, "run", folder], stdout=log, stderr=log)
        try:
            until_s = time.monotonic() + START_TIMEOUT_S
            while not healthy(f"http://{address}/health"):
                if service.poll() is not None or time.monotonic() > until_s:
                    raise SystemExit(Path(folder, "log").read_text())
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            service.terminate()
            service.wait()


def healthy(url: str) -> bool:
    """Tell whether a service answers."""
    try:
        return urllib3.request("GET", url, timeout=5, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@contextmanager
def scores_shown(console: Console, seen: Seen, traffic: Traffic, digest: str) -> Iterator[Callable[[], None]]:
    """Give what shows how it stands: a table that changes on a terminal, else a line a second."""
    last_s = 0.0
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8) as live:
            yield lambda: live.update(table_of(seen, traffic, digest))
        return

    def line() -> None:
        nonlocal last_s
        if seen.seconds - last_s >= 1.0:
            last_s = seen.seconds
            said = f"{figures(seen, traffic)}; the service saw {traffic.batches} batches"
            console.print(f"{said}, the last one {traffic.last[-1][2] if traffic.last else ''} ...", soft_wrap=True)

    yield line


def figures(seen: Seen, traffic: Traffic) -> str:
    """Return how it stands, in a line."""
    return (
        f"{seen.seconds:.0f} s: {seen.events / max(seen.seconds, 1e-9):,.0f} events/s, latency p50 "
        f"{seen.latency_ms(50):.0f} ms, p99 {seen.latency_ms(99):.0f} ms, {traffic.up / 1e6:.1f} MB up, "
        f"{traffic.down / 1e6:.1f} MB down, {seen.alerts} alerts"
    )


def table_of(seen: Seen, traffic: Traffic, digest: str) -> Table:
    """Return both columns."""
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    ours = Group(*(Text(part) for part in figures(seen, traffic).split(", ")), Text(), *map(Text, seen.last))
    requests = [f"{at}  {up:,} B: {first} ...  answered by {down:,} B" for at, up, first, down in tuple(traffic.last)]
    theirs = Group(
        Text(f"model {digest[:16]}…, in the clear"),
        Text(f"{traffic.batches} batches of bank-1"),
        Text(),
        *map(Text, requests),
        Text(),
        Text("no event, no score, not how many events a batch holds", style="bold"),
    )
    grid.add_row(Panel(ours, title="what the bank sees"), Panel(theirs, title="what the service could see"))
    return grid


def report(console: Console, seen: Seen, traffic: Traffic, digest: str) -> None:
    """Say what came of it."""
    for text in (
        figures(seen, traffic),
        f"frauds: {seen.caught} of {seen.frauds} caught; {seen.alerts - seen.caught} alerts were none",
        *seen.last,
        f"scores beyond the bounds of what is computed in the clear: {seen.beyond}",
        f"the service could see: model {digest}, {traffic.batches} batches of one size, when they came, and noise",
        "events and scores were not among it",
    ):
        console.print(text, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
