"""Each rule can be seen broken: a defence is taken out, and a seed finds it."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import pytest

from fedanomaly.protocol import Coordinator
from fedanomaly.protocol.messages import Statement
from fedanomaly.protocol.participant import Participant
from fedanomaly.protocol.rules import Ledger
from fedanomaly.storage import MemoryRows
from tests.faults import world as worlds
from tests.faults.invariants import Opened, ViolationError, Watch
from tests.faults.ring import FastSecrets
from tests.faults.speed import remembered_signatures
from tests.faults.world import World

SEEDS = range(1, 200)


def is_found(rule: str, seeds: range = SEEDS) -> bool:
    """Whether some seed finds this very rule broken."""
    with remembered_signatures():
        for seed in seeds:
            try:
                World(seed).run()
            except ViolationError as error:
                if error.rule == rule:
                    return True
    return False


def test_another_statement_is_seen(monkeypatch):
    """VOID after OPEN, as if the row were not compared."""

    def state(self, round_, *, me, opens):
        del self, me
        contributors = round_.contributors if opens else ()
        return Statement(manifest=round_.posted.hash, opens=opens, contributors=contributors)

    monkeypatch.setattr(Ledger, "state", state)
    monkeypatch.setitem(worlds.RATES, "late", (0.2,))
    monkeypatch.setitem(worlds.ACTIONS, "retire", 10.0)  # VOID about what is open, OPEN still on its way
    assert is_found("one statement")


def test_a_prf_input_that_is_used_twice_is_seen(monkeypatch):
    """Other values under the same manifest, as if nothing were frozen."""
    counter = itertools.count()
    before = Ledger.contribute

    def contribute(self, *args, **kwargs):
        values = before(self, *args, **kwargs).copy()
        values[0] = next(counter) % 2
        return values

    monkeypatch.setattr(Ledger, "contribute", contribute)
    assert is_found("prf inputs")


def test_a_second_set_over_the_same_rows_is_seen(monkeypatch):
    monkeypatch.setattr(Ledger, "_guard", lambda *_args, **_kwargs: None)
    monkeypatch.setattr("fedanomaly.protocol.conductor.Conductor._fixed_by_rows", lambda *_: ())
    assert is_found("opened sets")


@pytest.mark.parametrize(("last", "is_seen"), [("abcd", False), ("abc", True)])
def test_rows_that_are_the_difference_of_three_sums_are_seen(last, is_seen):
    """Worlds come too seldom to three jobs over rows in parts and together; so these are given."""
    watch = Watch(lambda *_: {}, worlds.pieces_of)
    for generation, members in enumerate(("abcd", "abcd", last), 1):
        everyone = frozenset(name.encode() for name in members)
        watch.opened[bytes([generation])] = Opened(b"", everyone, dict.fromkeys(everyone, generation), 2)
    seen = pytest.raises(ViolationError, match="holds the rows of one honest member") if is_seen else nullcontext()
    with seen:
        watch._check_combinations()


def test_a_few_new_rows_in_the_same_set_are_seen(monkeypatch):
    monkeypatch.setattr(Ledger, "_guard", lambda *_args, **_kwargs: None)
    monkeypatch.setattr(worlds, "SIZES", [(3, 2)] * 4)  # one set is possible only
    assert is_found("few new rows")


def test_a_sum_of_other_values_is_seen(monkeypatch):
    before = FastSecrets.open

    def open_one_more(self, *args):
        values = before(self, *args)
        values[:1] += args[0].ask.kind == "sum"
        return values

    monkeypatch.setattr(FastSecrets, "open", open_one_more)
    assert is_found("exact sums")


def test_another_message_instead_of_a_repeated_one_is_seen(monkeypatch):
    """A hello with a fresh nonce each time, as if none were kept."""
    before = MemoryRows.get
    monkeypatch.setattr(MemoryRows, "get", lambda self, kind, key: None if kind == "hello" else before(self, kind, key))
    monkeypatch.setattr(MemoryRows, "put", lambda self, rows: self._rows.update({row[:2]: row[2] for row in rows}))
    assert is_found("same bytes")


def test_a_job_without_end_is_seen(monkeypatch):
    monkeypatch.setattr(Coordinator, "_end", lambda *_: None)
    monkeypatch.setattr(worlds, "CALM_TURNS", 20)
    assert is_found("all ends")


def test_a_federation_that_stays_broken_is_seen(monkeypatch):
    monkeypatch.setattr(Participant, "_contribute", lambda *_: iter(()))
    assert is_found("works again")


def test_frozen_values_that_stay_are_seen(monkeypatch):
    monkeypatch.setattr(Ledger, "thaw", lambda *_: None)
    assert is_found("nothing left")


def test_two_states_of_one_step_are_seen(monkeypatch):
    """Each member votes for a state of its own choice, and one vote is a quorum."""
    monkeypatch.setattr("tests.faults.invariants.quorum", lambda *_: 1)
    counter = itertools.count()
    votes = Participant._vote

    def vote(self, *args):
        tag = self._tag
        self._tag = lambda state: tag(state)[:31] + bytes([next(counter) % 256])
        try:
            return votes(self, *args)
        finally:
            self._tag = tag

    monkeypatch.setattr(Participant, "_vote", vote)
    assert is_found("one state")
