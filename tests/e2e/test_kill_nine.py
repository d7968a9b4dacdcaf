"""kill -9 of a coordinator and of a node at every state: nothing is lost, nothing is said twice.

The points are not listed here: they are every member of the state enums, so a
new state fails the test until a process comes to it and dies there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scripts.check_ledgers import violations

from fedanomaly.node.home import Home
from fedanomaly.protocol import Envelope, EpochState, JobState, RoundState
from tests.e2e.nursery import Nursery
from tests.e2e.realm import PASSPHRASE, Realm, until
from tests.e2e.reaper import deaths
from tests.e2e.recorder import Recorder

NAMES = ("north", "south", "west")
STATES = {
    *(str(state) for state in EpochState),
    *(f"sum:{state}" for state in JobState),
    *(f"sum:{state}" for state in RoundState),
}
DEADLINES = {"join_s": 25.0, "contribute_s": 6.0, "statement_s": 6.0, "vote_s": 12.0, "attempts": 40}
MAX_JOBS = 12


class Story:
    """A federation in which one process dies wherever it can, and the others are held up where that helps.

    Parameters
    ----------
    realm : Realm
        The processes.
    recorder : Recorder
        What the members said.
    victim : str
        Who dies.
    """

    def __init__(self, realm: Realm, recorder: Recorder, victim: str) -> None:
        self.realm, self.recorder, self.victim = realm, recorder, victim
        self.asks, self.other = "north", "south"
        self.jobs: list[dict] = []
        self.by_state = any("State" in point for point in realm.points[victim])
        self.names = {Home(realm.home(name)).unlock(PASSPHRASE).public_key: name for name in realm.names}

    @property
    def dead(self) -> set[str]:
        """Where the victim has died."""
        return deaths(self.realm.nursery.journal(self.victim))

    def run(self, wanted: Callable[[], bool]) -> None:
        """Train until the victim has died wherever it should, and then once more, in peace."""
        self.realm.live()
        self._void()
        while wanted():
            assert len(self.jobs) < MAX_JOBS, f"not come to: {STATES - self.dead}"
            self._train()
        self.realm.new_epoch()
        self.realm.live(epoch=2)
        self._train(fresh_rows=True)
        until(lambda: not self.by_state or str(EpochState.ENDED) in self.dead, "nobody sees that a key epoch has ended")
        assert self.jobs[-1]["state"] == "accepted"
        for name in self.realm.names:
            self.realm.kept(name, self.jobs[-1]["id"])
        self.realm.stop()

    def _train(self, *, fresh_rows: bool = False) -> None:
        if fresh_rows or any(job["state"] == "void" for job in self.jobs[1:]):
            for index, name in enumerate(self.realm.names):
                self.realm.add(name, "readings", seed=100 * len(self.jobs) + index)
        self._job("readings")

    def _void(self) -> None:
        """Ask for a job that cannot begin: one member only has the data."""
        self.realm.add(self.asks, "alone", seed=50)
        self._job("alone")
        assert self.jobs[-1]["state"] == "void"

    def _job(self, dataset: str) -> None:
        job = self.realm.ended(self.asks, self.realm.train(self.asks, dataset=dataset, model=dataset))
        self.jobs.append(job)
        if self.by_state:  # the next job waits until the victim has seen this one end
            until(lambda: f"sum:JobState.{job['state'].upper()}" in self.dead, f"the victim sees no {job['state']} job")

    def broken(self) -> list[str]:
        """Return what does not hold afterwards."""
        nodes = [self.realm.home(name) for name in self.realm.names]
        return [*violations(self.realm.home("coordinator"), nodes, PASSPHRASE), *self.recorder.differing()]


@contextmanager
def story(tmp_path, victim: str, points: tuple[str, ...]) -> Iterator[Story]:
    with Nursery(tmp_path) as nursery:
        realm = Realm(nursery, NAMES, **DEADLINES)
        realm.points[victim] = points
        recorder = Recorder(realm.port)
        try:
            realm.found(dict.fromkeys(NAMES, recorder.port))
            made = Story(realm, recorder, victim)
            recorder.holds = lambda envelope: holds(made, envelope)
            realm.start_nodes()
            yield made
        finally:
            recorder.close()


def holds(told: Story, envelope: Envelope) -> bool:
    """Whether a message waits, so that the victim comes to the state before it and dies there.

    The victim sees every state that it has to act in. In the others it is only
    certainly if who would lead on from there is held: whose join comes before its
    own, whose statement is the first or the last, whose vote makes the quorum.
    """
    dead, sender = told.dead, told.names[envelope.sender]
    by_other, by_any_other = sender == told.other, sender != told.victim

    def missing(state: RoundState) -> bool:
        return f"sum:{state}" not in dead and "sum:JobState.GATHERING" in dead

    match envelope.kind:
        case "join" if told.victim != "coordinator":
            return (by_any_other and missing(RoundState.ANNOUNCED)) or (by_other and missing(RoundState.JOINING))
        case "statement" if told.victim != "coordinator" and envelope.size:  # OPEN; a VOID one helps everybody on
            return (by_any_other and missing(RoundState.CLOSED)) or (by_other and missing(RoundState.OPENING))
        case "contribution" if told.victim == "coordinator":
            return by_other and missing(RoundState.VOID) and not missing(RoundState.COLLECTING)
        case "vote":
            return by_other and missing(RoundState.REJECTED) and not missing(RoundState.ACCEPTED)
    return False


def test_a_coordinator_that_dies_at_every_state_loses_nothing(tmp_path):
    with story(tmp_path, "coordinator", ("EpochState.*", "sum:*State.*")) as told:
        told.run(lambda: bool(STATES - told.dead - {str(EpochState.ENDED)}))
        assert told.dead == STATES
        assert told.realm.nursery.kills["coordinator"] == len(STATES)
        assert told.recorder.resent() > 0
        assert told.broken() == []


def test_a_node_that_dies_at_every_state_says_nothing_twice(tmp_path):
    with story(tmp_path, "west", ("EpochState.*", "sum:*State.*")) as told:
        told.run(lambda: bool(STATES - told.dead - {str(EpochState.ENDED)}))
        assert told.dead == STATES
        assert told.realm.nursery.kills["west"] == len(STATES)
        assert told.broken() == []


@pytest.mark.skipif("FEDANOMALY_KILL9" not in os.environ, reason="minutes long: make kill9")
@pytest.mark.parametrize("victim", ["coordinator", "west"])
def test_a_process_that_dies_around_everything_durable_or_sent_says_nothing_twice(tmp_path, victim):
    with story(tmp_path, victim, ("keys:*", "sum:*:before", "sum:*:after")) as told:
        told.recorder.holds = lambda _envelope: False
        before: list[int] = []

        def wanted() -> bool:
            before.append(len(told.dead))
            return len(before) < 2 or before[-1] > before[-2]

        told.run(wanted)
        assert told.broken() == []
