"""`make chaos`: real processes train through kills, stops, cuts, slow networks and full disks.

    python -m tests.e2e.chaos --minutes 10 --rounds 20 --seed 1

A coordinator and some nodes behind a bad network train job after job, on new rows
each time, until the time is over and enough rounds were accepted (half the time
more is given for that). All the while the seed draws what goes wrong next. At
the end nothing goes wrong any more, one more job must be accepted, and
`scripts/check_ledgers.py` reads what everybody has kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scripts.check_ledgers import violations

from fedanomaly.errors import StorageError
from tests.e2e.bad_network import CALM, BadNetwork, Weather
from tests.e2e.nursery import Nursery
from tests.e2e.realm import PASSPHRASE, Realm, until
from tests.e2e.recorder import Recorder
from tests.e2e.small_disk import SIZE_MB, SmallDisk, mounted

NAMES = ("north", "south", "west", "east", "centre")
DEADLINES = {"join_s": 20.0, "contribute_s": 10.0, "statement_s": 10.0, "vote_s": 20.0, "attempts": 6}
PAUSES_S = (1.0, 6.0)
FULL_FOR_S = 3.0
MB_A_MINUTE = 8
"""A coordinator keeps attachments for an hour: of job after job those are about 3 MB a minute."""
WEATHERS = {
    "calm": CALM,
    "slow": Weather(latency_s=0.03, bytes_per_s=250_000),
    "cuts": Weather(cuts=0.3, cut_after=(1, 20_000)),
    "resets": Weather(resets=0.3, cut_after=(1, 20_000)),
    "half-closed": Weather(half_closes=0.2, cut_after=(1, 20_000)),
    "swallows": Weather(blackholes=0.1, cut_after=(1, 20_000)),
}
DEEDS = ("kill node", "kill coordinator", "stop node", "stop coordinator", "cut", "weather", "weather", "fill")


class Havoc:
    """Does what the seed draws, until it is told to end.

    Parameters
    ----------
    realm : Realm
        The processes.
    network : BadNetwork
        Between them.
    disks : dict of str to SmallDisk
        Those that can be filled, by service.
    seed : int
        Draws the deeds, their order and the pauses.
    """

    def __init__(self, realm: Realm, network: BadNetwork, disks: dict[str, SmallDisk], seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._realm, self._network, self._disks = realm, network, disks
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Finish what is under way; from then on nothing goes wrong."""
        self._end.set()
        self._thread.join()
        self._network.weather = CALM
        self._network.cut_all()
        if self.failure:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._end.wait(self._random.uniform(*PAUSES_S)):
                deed, name = self._random.choice(DEEDS), self._random.choice(self._realm.names)
                self._do(deed, "coordinator" if "coordinator" in deed else name)
        except BaseException as error:  # noqa: BLE001 - told by `end`
            self.failure = error

    def _do(self, deed: str, name: str) -> None:
        told = deed
        match deed.split():
            case ["kill", _]:
                self._realm.nursery.kill(name)
            case ["stop", _]:
                self._realm.nursery.stop(name)
                self._realm.start(name)
            case ["cut"]:
                self._network.cut_all()
            case ["weather"]:
                told = self._random.choice(sorted(WEATHERS))
                self._network.weather = WEATHERS[told]
            case ["fill"] if self._disks:
                name = self._random.choice(sorted(self._disks))
                told = f"fill disk of {'coordinator' if name == 'coordinator' else 'node'}"
                self._disks[name].fill()
                self._end.wait(FULL_FOR_S)
                self._disks[name].free()
            case _:
                return
        self.done[told] += 1


class Training:
    """Job after job, each on new rows of everybody."""

    def __init__(self, realm: Realm, seed: int) -> None:
        self.jobs: list[dict[str, Any]] = []
        self._realm, self._seed = realm, seed

    @property
    def accepted_rounds(self) -> int:
        """How many rounds were accepted so far."""
        return sum(round_["state"] == "accepted" for job in self.jobs for round_ in job["rounds"])

    def one(self, timeout_s: float) -> dict[str, Any]:
        """Train once, to the end of the job, whatever it is."""
        asks = self._realm.names[len(self.jobs) % len(self._realm.names)]
        for index, name in enumerate(self._realm.names):
            until(lambda name=name, index=index: self._added(name, index), f"{name} adds no rows")
        job = self._realm.train(asks)
        told = self._realm.ended(asks, job, timeout_s)
        self.jobs.append(told)
        lost = Counter(round_["state"] for round_ in told["rounds"])
        print(f"job {len(self.jobs):3}  {told['state']:9} {dict(lost)}  {told['reason']}", flush=True)
        return told

    def _added(self, name: str, index: int) -> bool:
        try:
            self._realm.add(name, "readings", seed=1000 * self._seed + 10 * len(self.jobs) + index)
        except StorageError:
            return False
        return True


def chaos(folder: Path, *, minutes: float, rounds: int, seed: int, members: int) -> int:
    """Run it; returns how many things did not hold."""
    began, names = time.monotonic(), NAMES[:members]
    with ExitStack() as stack:
        disks = {}
        for name in ("coordinator", names[-1]):
            disk = stack.enter_context(mounted(folder / f"disk-{name}", SIZE_MB + round(MB_A_MINUTE * minutes)))
            if disk:
                disks[name] = disk
        nursery = stack.enter_context(Nursery(folder))
        homes = {name: disk.folder / "home" for name, disk in disks.items()}
        realm = Realm(nursery, names, homes, **DEADLINES)
        recorder = Recorder(realm.port)
        stack.callback(recorder.close)
        network = BadNetwork(recorder.port, seed)
        stack.callback(network.close)
        realm.found(dict.fromkeys(names, network.port))
        realm.start_nodes()
        realm.live()
        havoc, training = Havoc(realm, network, disks, seed), Training(realm, seed)
        havoc.start()
        deadline = began + 60 * minutes
        while havoc.failure is None and (
            time.monotonic() < deadline
            or (training.accepted_rounds < rounds and time.monotonic() < deadline + 30 * minutes)
        ):
            training.one(timeout_s=max(60.0, deadline - time.monotonic() + 120.0))
        havoc.end()
        last = training.one(timeout_s=300.0)
        for name in names:
            realm.kept(name, last["id"])
        realm.stop()
        broken = [*violations(realm.home("coordinator"), [realm.home(name) for name in names], PASSPHRASE)]
        broken += [f"said in two ways: {told}" for told in recorder.differing()]
        if training.accepted_rounds < rounds:
            broken.append(f"{training.accepted_rounds} rounds were accepted, {rounds} are wanted")
        if last["state"] != "accepted":
            broken.append(f"the last job, in peace, ended {last['state']}: {last['reason']}")
        _tell(training, havoc, network, recorder, killed=sum(nursery.kills.values()), seconds=time.monotonic() - began)
        for line in broken:
            print(f"BROKEN {line}", file=sys.stderr)
        print("chaos: every invariant holds" if not broken else f"chaos: {len(broken)} broken", flush=True)
        return len(broken)


def _tell(
    training: Training, havoc: Havoc, network: BadNetwork, recorder: Recorder, *, killed: int, seconds: float
) -> None:
    states = Counter(round_["state"] for job in training.jobs for round_ in job["rounds"])
    table = {
        "seconds": round(seconds),
        **{f"jobs {state}": count for state, count in sorted(Counter(job["state"] for job in training.jobs).items())},
        **{f"rounds {state}": count for state, count in sorted(states.items())},
        **{f"{deed} (times)": count for deed, count in sorted(havoc.done.items())},
        **{f"connections {fate}": count for fate, count in sorted(network.ended.items())},
        "processes killed": killed,
        "messages posted": len(recorder.posted),
        "of them posted again": recorder.resent(),
    }
    print()
    for name, value in table.items():
        print(f"  {name:34} {value:>7}")
    print()


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(description="Trains through everything that goes wrong between real processes.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--members", type=int, default=4, choices=(3, 4, 5))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fedanomaly-chaos-"))
    print(f"chaos: seed {given.seed}, {given.members} nodes, logs in {folder}", flush=True)
    arguments = {"minutes": given.minutes, "rounds": given.rounds, "seed": given.seed, "members": given.members}
    return 1 if chaos(folder, **arguments) else 0


if __name__ == "__main__":
    sys.exit(main())
