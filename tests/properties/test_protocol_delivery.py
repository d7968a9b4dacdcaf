"""Whatever is lost, doubled, late or restarted: sums stay exact, statements stay single, jobs end."""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st
from tests.unit.protocol.driving import enrol_all
from tests.unit.protocol.federations import copied, enrolled, refold
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows

from fedanomaly.errors import FedAnomalyError, UnavailableError
from fedanomaly.protocol import JobState, Post, Round, Settings
from fedanomaly.protocol.messages import KINDS, ContributionPost, Statement
from fedanomaly.simulation import Federation, Party
from fedanomaly.types import State

STEPS = 110
CALM_S = 30.0
ACTIONS = {
    "member": 70.0,
    "coordinator": 25.0,
    "clock": 6.0,
    "deliver": 4.0,
    "restart": 2.0,
    "refold": 2.0,
    "request": 1.0,
    "renew": 0.5,
    "new_epoch": 0.5,
}


class World:
    """A federation whose parties act, stop and start, and whose messages get lost, as a seed says.

    Parameters
    ----------
    seed : int
        Says everything: the same seed does the same again.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 (a scheduler, not a secret)
        members, threshold = self.random.choice([(3, 2), (4, 2), (4, 3)])
        self.generation: dict[str, int] = {}
        self.fed = self._federation(members, threshold)
        self.requests = 0
        self.late: list[Post] = []
        self.said: dict[tuple[bytes, bytes], set[tuple[bytes, bytes]]] = defaultdict(set)
        self.contributed: dict[tuple[bytes, bytes], set[bytes]] = defaultdict(set)
        self.checked: set[tuple[str, bytes]] = set()

    def _federation(self, members: int, threshold: int) -> Federation:
        if self.random.random() < 0.8:
            fed = copied(enrolled(members, threshold))
        else:
            parties = [Party(f"org-{index}", None) for index in range(members)]
            fed = Federation(Settings(name="toy", members=members, threshold=threshold), parties)
            enrol_all(fed)
        for index, party in enumerate(fed.parties):
            self.generation[party.name] = 1
            party.learners = lambda _, name=party.name, index=index: self._learner(name, index)
            fed.restart(party.name)
        return fed

    def _learner(self, name: str, index: int) -> ToyLearner:
        generation = self.generation[name]
        return ToyLearner(rows_of(index, generation), generation=generation)

    # What may happen

    def step(self) -> None:
        action = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        getattr(self, action)()
        self.check()

    def member(self) -> None:
        party = self.random.choice(self.fed.parties)
        member, log = self.fed.members[party.name], self.fed.log
        behind = len(log) - member.transcript.head
        seen = len(log) - (self.random.randrange(behind + 1) if self.random.random() < 0.2 else 0)
        for entry in log[member.transcript.head : seen]:
            member.accept(entry)
        with contextlib.suppress(FedAnomalyError):  # it is tried again, or the member has declined
            for post in member.act(self.fetch):
                self.note(post)
                self.send(post)

    def coordinator(self) -> None:
        for post in self.fed.coordinator.act(self.fed.now_s, self.fed.blobs):
            if self.random.random() < 0.1:
                return  # it stopped before the post was stored
            self.fed._append(post)
            if self.random.random() < 0.3:
                return

    def clock(self) -> None:
        self.fed.now_s += self.random.choice([1.0, 10.0, 45.0])

    def restart(self) -> None:
        """A member stops, with or without an orderly stop, and starts again."""
        name = self.random.choice(self.fed.parties).name
        if self.random.random() < 0.5:
            for post in self.fed.members[name].retire():
                self.note(post)
                self.send(post)
        self.fed.restart(name)

    def refold(self) -> None:
        refold(self.fed)

    def request(self) -> None:
        if self.requests < 3:
            self.requests += 1
            self.send(self.fed.members["org-0"].request(toy_request(self.requests)))

    def new_epoch(self) -> None:
        log = self.fed.coordinator.transcript
        if log.epochs and not log.open_job:
            self.fed._append(self.fed.coordinator.new_epoch())

    def renew(self) -> None:
        """A member gets new rows; a job under way goes on with the old ones, or declines."""
        self.generation[self.random.choice(self.fed.parties).name] += 1

    def deliver(self) -> None:
        """What was late arrives, or is refused."""
        if self.late:
            with contextlib.suppress(FedAnomalyError):
                self.fed.post(self.late.pop(self.random.randrange(len(self.late))))

    def fetch(self, digest: bytes) -> bytes:
        if self.random.random() < 0.05:
            raise UnavailableError("try again")
        return self.fed.blobs[digest]

    def send(self, post: Post) -> None:
        luck = self.random.random()
        if luck < 0.05:
            return
        if luck < 0.1:
            self.late.append(post)
            return
        for _ in range(2 if luck < 0.15 else 1):
            self.fed.post(post)

    # What must hold, whatever happens

    def note(self, post: Post) -> None:
        message = KINDS[post.envelope.kind].from_bytes(post.envelope.body)
        if isinstance(message, Statement):
            self.said[post.envelope.sender, message.manifest].add((post.envelope.body, post.envelope.attachment))
        elif isinstance(message, ContributionPost):
            self.contributed[post.envelope.sender, message.manifest].add(post.envelope.attachment)

    def check(self) -> None:
        log = self.fed.coordinator.transcript
        assert all(len(statements) == 1 for statements in self.said.values())
        assert all(len(sent) == 1 for sent in self.contributed.values())
        for job in log.jobs:
            steps = [entry.ask.step for entry in job.accepted if job.number]
            assert steps == list(range(len(steps)))
        self.check_opened_sets()
        for party in self.fed.parties:
            for digest, kept in party.rows.all("state"):
                if (party.name, digest) not in self.checked:
                    self.checked.add((party.name, digest))
                    check_sum(log.rounds[digest], State.from_bytes(kept))

    def check_opened_sets(self) -> None:
        """Over one snapshot of a member, all sums that hold it are over the same set."""
        opened = defaultdict(set)
        for round_ in self.fed.coordinator.transcript.rounds.values():
            contributors = self.opened_set(round_)
            for index in contributors if round_.ask.kind == "sum" else ():
                opened[index, round_.joins[index].generation].add((round_.ask.epoch, contributors))
        for sets in opened.values():
            assert len({contributors for _, contributors in sets}) == 1

    def opened_set(self, round_: Round) -> tuple[int, ...]:
        """Return the set that all decryptors opened, also if their answers were lost on the way."""
        answers = [
            self.said.get((round_.identities[index - 1], round_.posted.hash)) for index in round_.posted.decryptors
        ]
        if not all(answers):
            return ()
        sets = {Statement.from_bytes(body).contributors for answer in answers for body, _ in answer}
        return sets.pop() if len(sets) == 1 else ()

    def calm_down(self) -> None:
        """Nothing goes wrong any more, and the clock moves."""
        for _ in range(120):
            self.fed.pump()
            self.check()
            log = self.fed.coordinator.transcript
            if log.open_job is None and (log.live is None or not list(log.waiting())):
                return
            self.fed.now_s += CALM_S
        raise AssertionError(f"a job has not ended: {log.open_job}")


def rows_of(index: int, generation: int) -> np.ndarray:
    return toy_rows(index + 10 * generation)


def check_sum(round_: Round, state: State) -> None:
    rows = [rows_of(index - 1, round_.joins[index].generation) for index in round_.contributors]
    name = "rows" if round_.ask.step == 0 else "sums"
    expected = sum(len(own) for own in rows) if name == "rows" else sum(own.sum(axis=0) for own in rows)
    np.testing.assert_array_equal(state[name], expected)


@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1))
def test_sums_are_exact_statements_single_and_jobs_end_whatever_is_lost_doubled_or_restarted(seed):
    note(f"World({seed})")
    world = World(seed)
    try:
        world.request()
        for _ in range(STEPS):
            world.step()
        world.calm_down()
        log = world.fed.coordinator.transcript
        for job in log.jobs:
            assert job.state.final
            assert job.state is not JobState.VOID or job.reason
        for party in world.fed.parties:
            assert not list(party.rows.all("frozen"))
    finally:
        world.fed.close()
