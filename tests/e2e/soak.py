"""`make soak`: a scoring service and a client at work for minutes; neither may grow.

    python -m tests.e2e.soak --minutes 10

The client, in this process, scores all the time and holds every score against
what is computed in the clear. The service, a real process, is killed with -9
under load after a fifth of the time and started again; the model is swapped all
along. After warm-up the memory of both is read each second, and the median of
the last fifth may lie above that of the first by `GROWTH_MIB` at most.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedanomaly.detectors import PCA, Detector
from fedanomaly.errors import UnavailableError
from fedanomaly.scoring import EncryptedScorer
from tests.unit.scoring.conftest import FEDERATION, Service, home_in
from tests.unit.scoring.test_process import listening, process

FEATURES = 20
GROWTH_MIB = 16.0
SWAPS = 60
SAMPLES = 10
"""Least number of readings that tell anything."""
ROWS = np.random.default_rng(1).normal(size=(12_000, FEATURES))
SIZES = (1, 50, 1_000, 4_096, 12_000)


def memory_mib(process: str | int = "self") -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def growth_mib(readings: Sequence[float]) -> float:
    """Return by how much memory grew: the last fifth of the readings against the first, by medians."""
    fifth = max(1, len(readings) // 5)
    return statistics.median(readings[-fifth:]) - statistics.median(readings[:fifth])


class Client(threading.Thread):
    """Scores with one released model after the other until it is told to stop.

    Parameters
    ----------
    service : Service
        A home, which a process serves.
    swap_every_s : float
        When the model is swapped.
    """

    def __init__(self, service: Service, swap_every_s: float) -> None:
        super().__init__()
        self._service, self._swap_every_s = service, swap_every_s
        self._models = [PCA().fit(np.random.default_rng(seed).normal(size=(500, FEATURES))) for seed in (2, 3)]
        self._ended = threading.Event()
        self.events = self.calls = self.version = 0
        self.failure: BaseException | None = None
        self.swap()

    def swap(self) -> Detector:
        """Release the other model in place of the one that is scored with."""
        self.version += 1
        model = self._models[self.version % 2]
        file = self._service.home.models_path / f"payments-{self.version - 1}.release"
        self._service.release(model.encryptable().circuit().balanced()[0], version=self.version)
        file.unlink(missing_ok=True)
        return model

    def stop(self) -> None:
        """End after the call under way."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Score; what goes wrong is kept for whoever started it."""
        try:
            while not self._ended.is_set():
                self._score_with(self.swap())
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def _score_with(self, model: Detector) -> None:
        end_s = time.monotonic() + self._swap_every_s
        with self._opened(model) as scorer:
            while time.monotonic() < end_s and not self._ended.is_set():
                rows = ROWS[: SIZES[self.calls % len(SIZES)]]
                scored, plain = scorer.score(rows), model.anomaly_scores(rows)
                if not ((scored.lower <= plain * (1 + 1e-9)) & (plain * (1 - 1e-9) <= scored.upper)).all():
                    raise AssertionError("a score that the model does not give")
                self.events, self.calls = self.events + len(rows), self.calls + 1

    def _opened(self, model: Detector) -> EncryptedScorer:
        """Return a scorer; one that is opened while the service starts again is tried again."""
        service = self._service
        while True:
            try:
                return EncryptedScorer(model, service.url, identity=service.north, federation=FEDERATION)
            except UnavailableError:
                if self._ended.is_set():
                    raise


def read(pid: int, client: Client, seconds: float) -> tuple[list[float], list[float]]:
    """Return the memory of a service and of this process, read each second, as long as the client is at work."""
    ours, theirs = [], []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and client.is_alive():
        theirs.append(memory_mib(pid))
        ours.append(memory_mib())
        client.join(1.0)
    return theirs, ours


def soak(folder: Path, seconds: float) -> list[str]:
    """Score for some time; returns what went wrong."""
    with home_in(folder) as service:
        client = Client(service, seconds / SWAPS)
        with process(service) as (ran, lines):
            listening(lines)
            client.start()
            read(ran.pid, client, 0.2 * seconds)
            ran.kill()
            print(f"soak: kill -9 after {client.calls:,} calls; {client.events:,} events", flush=True)
        with process(service) as (ran, _):
            read(ran.pid, client, 0.2 * seconds)
            print(f"soak: warm after {client.calls:,} calls; {client.events:,} events", flush=True)
            before = client.calls
            theirs, ours = read(ran.pid, client, 0.6 * seconds)
            client.stop()
    print(f"soak: {client.events:,} events in {client.calls:,} calls, {client.version} models; every score held")
    wrong = [f"the client failed: {client.failure!r}"] if client.failure else []
    if client.calls == before:
        wrong.append("nothing was scored after the restart")
    for name, readings in (("service", theirs), ("client", ours)):
        if len(readings) < SAMPLES:
            wrong.append(f"{len(readings)} readings of the {name}: too few")
            continue
        print(
            f"soak: {name}: {readings[0]:.1f} MiB after warm-up, {max(readings):.1f} at most, {readings[-1]:.1f} at "
            f"the end; medians {growth_mib(readings):+.1f} MiB in {len(readings)} readings"
        )
        if growth_mib(readings) > GROWTH_MIB:
            wrong.append(f"the {name} grew by {growth_mib(readings):.1f} MiB; {GROWTH_MIB:.0f} are allowed")
    return wrong


def main() -> None:
    """Soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedanomaly-soak-") as folder:
        wrong = soak(Path(folder), 60 * options.minutes)
    for text in wrong:
        print(f"soak: FAILED: {text}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
