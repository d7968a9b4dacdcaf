"""A federation whose parties act, fail and recover as a seed says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections import deque
from functools import cache

import numpy as np

from fedanomaly.node.keystore import Keystore
from fedanomaly.protocol import Enrol, EpochState, JobRequest, JobState, Relation, Settings, seal
from fedanomaly.types import State
from tests.faults.arithmetic import Ring
from tests.faults.hub import Hub
from tests.faults.invariants import ViolationError, Watch
from tests.faults.machines import Archive, Home
from tests.faults.network import Network
from tests.faults.node import Node
from tests.unit.protocol.toy import ToyLearner, toy_request

SIZES = [(3, 2), (4, 2), (4, 3), (5, 3)]
STEPS = 120
CALM_TURNS = 260
CALM_S = 20.0
COLUMNS = 6
JOBS = 4
ACTIONS = {
    "turn": 60.0,
    "tick": 15.0,
    "wait": 6.0,
    "arrive": 4.0,
    "start": 6.0,
    "ask": 2.0,
    "kill": 1.0,
    "retire": 0.5,
    "leave": 0.5,
    "kill_hub": 0.7,
    "renew": 0.6,
    "skew": 0.5,
    "fill": 0.4,
    "new_epoch": 0.3,
    "copy": 0.15,
    "restore": 0.15,
    "roll_back": 0.1,
}
RATES = {
    "lost": (0.0, 0.02, 0.1),
    "late": (0.0, 0.02, 0.1),
    "doubled": (0.0, 0.05),
    "damaged": (0.0, 0.02, 0.1),
    "no answer": (0.0, 0.02, 0.1),
    "stale": (0.0, 0.1),
    "cut": (0.0, 0.05),
    "stops before": (0.0, 0.002, 0.02),
    "stops after": (0.0, 0.002, 0.02),
}
QUIET = dict.fromkeys(RATES, 0.0)


class World:
    """One federation under one seed.

    Parameters
    ----------
    seed : int
        Says everything.
    ring : str
        Arithmetic: fast or real.
    quiet : bool
        Nothing fails; to make what others start from.
    """

    def __init__(
        self, seed: int, ring: str = "fast", *, quiet: bool = False, size: tuple[int, int] | None = None
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 (a scheduler, not a secret)
        self.ring, self.seed = Ring(ring), seed
        self.members, self.threshold = size or self.random.choice(SIZES[: 3 if ring == "real" else 4])
        self.rates = QUIET if quiet else {name: self.random.choice(rates) for name, rates in RATES.items()}
        self.weights = {name: weight * self.random.choice([0.3, 1.0, 3.0]) for name, weight in ACTIONS.items()}
        self.trace: deque[str] = deque(maxlen=60)
        self._hash = hashlib.sha256()
        self.steps, self.time_s, self.hub_skew_s, self.jobs = 0, 1e6, 0.0, 0
        self.full: dict[str, int] = {}
        self.went_back = False
        self.watch = Watch(self._totals, pieces_of)
        self.network = Network(self)
        identities = [Keystore(*_keys(index)) for index in range(self.members + 1)]
        self._index = {identity.public_key: index for index, identity in enumerate(identities)}
        settings = Settings(name="toy", members=self.members, threshold=self.threshold)
        self.hub = Hub(self, settings, identities[-1], hashlib.sha256(b"toy").digest())
        self.nodes = [Node(self, index, identity, Home()) for index, identity in enumerate(identities[:-1])]
        self.counter = [1] * self.members
        self.copied = set(self.random.sample(range(self.members), self.threshold - 1))
        """Whose home may be copied or restored: no more than may be corrupted."""
        self.backups: list[tuple[int, Home]] = []
        self.archives: list[Archive] = []
        if not quiet and self.random.random() < (0.9 if self.ring.real else 0.6):
            self._begin_enrolled()
        else:
            self._begin()

    def _begin(self) -> None:
        rates, self.rates = self.rates, QUIET
        self.hub.start()
        for node in self.nodes:
            post = seal(node.identity, self.hub.federation, Enrol.kind, Enrol(name=node.name).to_bytes())
            self.hub.post(post.envelope.to_bytes(), None)
            node.start()
        self.rates = rates

    def _begin_enrolled(self) -> None:
        archive, homes = enrolled(self.ring.name, self.members, self.threshold)
        self.hub.archive = archive.copy()
        for data, _ in archive.log:
            self.watch.appended(data)
        self.hub.start()
        for node, home in zip(self.nodes, homes, strict=True):
            node.home = home.copy()
            node.start()

    # What the parties are given

    def say(self, line: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.steps:4} {line}")
        self._hash.update(line.encode() + b"\n")

    @property
    def trace_hash(self) -> str:
        """Hash of all that happened."""
        return self._hash.hexdigest()

    def clock(self) -> float:
        return self.time_s

    def hub_clock(self) -> float:
        return self.time_s + self.hub_skew_s

    def luck(self, *names: str) -> str:
        """Return which of some faults happens, or "well"."""
        draw = self.random.random()
        for name in names:
            draw -= self.rates[name]
            if draw < 0:
                return name
        return "well"

    def fate(self, machine: str, what: str) -> str:
        """Return how a write goes."""
        if self.full.get(machine, 0) > self.steps:
            return "full"
        how = self.luck("stops before", "stops after")
        if how != "well":
            self.say(f"{machine} {how} {what}")
        return "done" if how == "well" else how

    def learner(self, index: int, generation: int, request: JobRequest) -> ToyLearner:
        """Return a detector over one snapshot: sums of the first columns."""
        columns = json.loads(request.params).get("columns", COLUMNS)
        own = ToyLearner(rows_of(index, generation)[:, :columns], generation=generation, params=request.params)
        last = self.counter[index]
        own.told = [Relation(left=(both - 2, both - 1), right=(both,)) for both in range(3, last + 1, 3)]
        return own

    def _totals(self, told: list[tuple[bytes, int]], state: State) -> dict[str, np.ndarray]:
        columns = json.loads(state.params["params"]).get("columns", COLUMNS)
        rows = [rows_of(self._index[identity], generation)[:, :columns] for identity, generation in told]
        return {"rows": np.array([sum(map(len, rows))]), "sums": np.sum([own.sum(axis=0) for own in rows], axis=0)}

    # What may happen

    def run(self) -> None:
        """Let everything happen, then nothing but work; raises ViolationError."""
        try:
            for _ in range(STEPS):
                self.step()
            self.calm_down()
        finally:
            for node in self.nodes:
                node.stop()

    def step(self) -> None:
        self.steps += 1
        action = self.random.choices(list(self.weights), list(self.weights.values()))[0]
        getattr(self, action)()

    def anyone(self, *, up: bool = True) -> Node | None:
        some = [node for node in self.nodes if node.up == up]
        return self.random.choice(some) if some else None

    def turn(self) -> None:
        if node := self.anyone():
            node.turn()

    def tick(self) -> None:
        if self.hub.up:
            self.hub.tick()

    def wait(self) -> None:
        self.time_s += self.random.choice([1.0, 10.0, 45.0])

    def arrive(self) -> None:
        self.network.deliver_late()

    def start(self) -> None:
        """Whoever is down starts, unless it has left for longer."""
        self._start_hub()
        node = self.anyone(up=False)
        if node and node.down_until <= self.steps:
            self.say(f"{node.label} starts")
            node.start()

    def _start_hub(self) -> None:
        if not self.hub.up:
            self.say("hub starts")
            self.hub.start()

    def ask(self) -> None:
        node = self.anyone()
        if node and node.member and self.jobs < JOBS and self.hub.up:
            self.jobs += 1
            columns = self.random.choice([2, 4, COLUMNS])
            request = dataclasses.replace(toy_request(self.jobs), params=json.dumps({"columns": columns}))
            self.say(f"{node.label} asks for job {self.jobs}")
            self.network.quietly(lambda: self._ask(node, request))

    def _ask(self, node: Node, request: JobRequest) -> None:
        if node.member:
            self.hub.post(node.member.request(request).envelope.to_bytes(), None)

    def kill(self) -> None:
        if node := self.anyone():
            self.say(f"{node.label} is killed")
            node.stop()

    def retire(self) -> None:
        if node := self.anyone():
            self.say(f"{node.label} retires")
            node.retire()

    def leave(self) -> None:
        """A member is away for a long time, or its data set is."""
        if node := self.anyone():
            node.down_until = self.steps + 60
            node.refuses = self.random.random() < 0.3
            self.say(f"{node.label} leaves")
            node.stop()

    def kill_hub(self) -> None:
        if self.hub.up:
            self.say("hub is killed")
            self.hub.stop()

    def renew(self) -> None:
        """Some members get new rows, or their last ones in one piece, with a number that nobody used before."""
        some = self.random.choice([self.random.randint(1, len(self.nodes)), len(self.nodes)])
        for node in self.random.sample(self.nodes, some):
            self.counter[node.index] += 1
            node.home.generation = self.counter[node.index]
            self.say(f"{node.label} has snapshot {node.home.generation}")

    def skew(self) -> None:
        """A clock is set: a little, or by far; forwards or back."""
        offset = self.random.choice([-1e8, -3600.0, -20.0, 0.0, 0.0, 20.0, 3600.0, 1e8])
        node = self.random.choice([None, *self.nodes])
        self.say(f"{node.label if node else 'hub'} has its clock off by {offset}")
        if node:
            node.skew_s = offset
        else:
            self.hub_skew_s = offset

    def fill(self) -> None:
        """A disk is full for a while."""
        machine = self.random.choice(["hub", *(node.label for node in self.nodes)])
        self.say(f"the disk of {machine} is full")
        self.full[machine] = self.steps + self.random.randint(3, 25)

    def new_epoch(self) -> None:
        if self.hub.up and self.hub.running.transcript.epochs:
            self.say("the operator calls a new epoch")
            self.hub.new_epoch()

    def copy(self) -> None:
        """Backups are taken; or a copy of a home is started next to it."""
        self.archives.append(self.hub.archive.copy())
        self.backups += [(node.index, node.home.copy()) for node in self.nodes if node.index in self.copied]
        node = self.anyone()
        if node and node.index in self.copied and len(self.nodes) < self.members + 2:
            twin = Node(self, node.index, node.identity, node.home.copy(), self._life())
            self.say(f"{node.label} runs twice, as {twin.label}")
            self.nodes.append(twin)
            twin.start()

    def _life(self) -> int:
        return 1 + max(node.life for node in self.nodes)

    def restore(self) -> None:
        """A home is put back to an older state: by the command, or by copying files."""
        if not self.backups:
            return
        index, home = self.random.choice(self.backups)
        node = self.random.choice([node for node in self.nodes if node.index == index])
        node.stop()
        node.home, node.life = home.copy(), self._life()
        if by_command := self.random.random() < 0.5:
            self.counter[index] += 1
            node.mark_as_restored(self.counter[index])
        elif self.went_back:
            self.watch.corrupted.add(node.identity.public_key)
        self.say(f"{node.label} is restored {'by the command' if by_command else 'by hand'}")

    def roll_back(self) -> None:
        """The coordinator is put back to an older state."""
        if not self.archives:
            return
        self.went_back = True
        self.say("the coordinator is restored")
        self.watch.corrupted |= {node.identity.public_key for node in self.nodes if node.life}
        self.hub.stop()
        self.hub.archive = self.random.choice(self.archives).copy()

    # What must happen once nothing fails any more

    def calm_down(self) -> None:
        """Every job ends; unless the log went back, a job over new rows is then accepted."""
        self.say("calm")
        self.rates, self.hub_skew_s, self.full = QUIET, 0.0, {}
        self._one_copy_each()
        self._settle()
        if not self.went_back:
            self._works_again()

    def _one_copy_each(self) -> None:
        for index in range(self.members):
            copies = [node for node in self.nodes if node.index == index]
            for node in self.random.sample(copies, len(copies))[1:]:
                node.stop()
                self.nodes.remove(node)
        for node in self.nodes:
            node.skew_s, node.refuses = 0.0, False
            if self.went_back:  # an operator insists
                node.stop()
                node.home.mark = (0, b"")

    def _settle(self) -> None:
        """Work until every job is over."""
        for _ in range(CALM_TURNS):
            self.steps += 1
            self._start_hub()
            for node in self.nodes:
                if not node.up:
                    node.start()
                node.turn()
            self.hub.tick()
            log = self.hub.running.transcript
            if log.epoch and log.epoch.state is EpochState.TESTING and not log.open_job:
                self.hub.new_epoch()  # after too many failed self-tests the operator is asked
            if log.live and not log.open_job and not list(log.waiting()) and self._all_seen(log.head):
                return self._check_ends()
            self.time_s += CALM_S
        job = self.hub.running.transcript.open_job
        what = f"job {job.number} is {job.state.value}" if job else f"the epoch is {self._epoch_state()}"
        raise ViolationError("all ends", what)

    def _all_seen(self, head: int) -> bool:
        return all(node.member and node.member.transcript.head == head for node in self.nodes)

    def _epoch_state(self) -> str:
        epoch = self.hub.running.transcript.epoch
        return epoch.state.value if epoch else "not called"

    def _check_ends(self) -> None:
        for job in self.hub.running.transcript.jobs:
            if not job.state.final or (job.state is JobState.VOID and not job.reason):
                raise ViolationError("all ends", f"job {job.number} is {job.state.value}: {job.reason!r}")
        if self.went_back:
            return
        for node in self.nodes:
            if any(kind == "frozen" for kind, _ in node.home.rows):
                raise ViolationError("nothing left", node.label)

    def _works_again(self) -> None:
        for node in self.nodes:
            self.counter[node.index] += 2
            node.home.generation = self.counter[node.index]
        if any(EpochState.LIVE is not epoch.state for epoch in self.hub.running.transcript.epochs[-1:]):
            self.hub.new_epoch()
        request = toy_request(1000)
        self._ask(self.nodes[0], request)
        self._settle()
        job = self.hub.running.transcript.job_of(request.request)
        if job is None or job.state is not JobState.ACCEPTED:
            reason = f"{job.state.value}: {job.reason}" if job else "not started"
            raise ViolationError("works again", reason)


def _keys(index: int) -> tuple[bytes, bytes]:
    return tuple(hashlib.sha256(f"{name} {index}".encode()).digest() for name in ("identity", "data"))  # type: ignore[return-value]


def pieces_of(generation: int) -> tuple[int, ...]:
    """Return what a snapshot is made up of: every third one is the two before it together."""
    return (generation,) if generation % 3 else (generation - 2, generation - 1)


@cache
def rows_of(index: int, generation: int) -> np.ndarray:
    """Return the rows of a member's snapshot."""
    pieces = [np.random.default_rng([index, piece]) for piece in pieces_of(generation)]
    return np.concatenate([rng.integers(-100, 100, size=(int(rng.integers(5, 30)), COLUMNS)) for rng in pieces])


@cache
def enrolled(ring: str, members: int, threshold: int) -> tuple[Archive, list[Home]]:
    """Return what a federation keeps once its first key epoch is live."""
    world = World(0, ring, quiet=True, size=(members, threshold))
    world._settle()
    for node in world.nodes:
        node.stop()
    return world.hub.archive, [node.home for node in world.nodes]
