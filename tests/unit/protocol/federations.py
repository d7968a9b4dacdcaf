"""Federations of toy learners: set up once for each size, then copied for every test."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from fedanomaly.protocol import Coordinator, Settings
from fedanomaly.simulation import Federation, MemoryBlobs, Party
from tests.unit.protocol.toy import ToyLearner, toy_rows


def parties(members: int) -> list[Party]:
    learners = [ToyLearner(toy_rows(index)) for index in range(members)]
    return [Party(f"org-{index}", lambda _, own=own: own) for index, own in enumerate(learners)]


def refold(fed: Federation) -> None:
    """Restart the coordinator: it has its key and the log, and nothing else."""
    settings = fed.coordinator.settings
    fed.coordinator = Coordinator(signer=fed._identity, settings=settings, federation=fed._federation)
    for entry in fed.log:
        fed.coordinator.accept(entry)


def copied(fed: Federation) -> Federation:
    """Return the same federation after everybody was stopped and started again over what was kept."""
    again = []
    for party in fed.parties:
        own = Party(party.name, party.learners, party.policy)
        own.identity, own.vault._key = party.identity, party.vault._key
        own.vault._sealed, own.rows._rows = dict(party.vault._sealed), dict(party.rows._rows)
        again.append(own)
    made = Federation(fed.coordinator.settings, again)
    made._identity, made._federation = fed._identity, fed._federation
    made.log, made.blobs, made.now_s = list(fed.log), MemoryBlobs(fed.blobs), fed.now_s
    refold(made)
    made.members = {party.name: made._start(party) for party in again}
    return made


def show_at_once(fed: Federation) -> None:
    """Show every member the log to its end, without checking the same signatures once more."""
    log = fed.coordinator.transcript
    shared = {id(entry.envelope): entry.envelope for entry in fed.log}
    for member in fed.members.values():
        member.transcript = copy.deepcopy(log, dict(shared))
        object.__setattr__(member._desk, "log", member.transcript)


@cache
def enrolled(members: int, threshold: int) -> Federation:
    """Return a federation whose first key epoch is live; only ever copied."""
    fed = Federation(Settings(name="toy", members=members, threshold=threshold), parties(members))
    fed.enrol()
    fed.close()
    return fed


@pytest.fixture
def federation() -> Iterator[Callable[..., Federation]]:
    """Make federations of toy learners; they are closed at the end of the test."""
    made: list[Federation] = []

    def make(members: int = 3, threshold: int = 2, *, enrol: bool = True, **settings: float) -> Federation:
        if enrol and not settings:
            made.append(copied(enrolled(members, threshold)))
            show_at_once(made[-1])
        else:
            made.append(
                Federation(Settings(name="toy", members=members, threshold=threshold, **settings), parties(members))
            )
            if enrol:
                made[-1].enrol()
        return made[-1]

    yield make
    for entry in made:
        entry.close()
