"""Rows that grow: summed in parts, and together; what may open follows from all of it."""

from __future__ import annotations

import numpy as np
import pytest

from fedanomaly.protocol import JobState, Relation
from fedanomaly.types.canonical import item_int
from tests.attacks.fork import private
from tests.unit.protocol.driving import asked, listen, manifest_of, recorded, say, until
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows

FIRST, BEHIND, BOTH, MORE = 1, 2, 3, 4
GROWN = Relation(left=(FIRST, BEHIND), right=(BOTH,))


def rows_of(index: int, generation: int) -> np.ndarray:
    parts = {FIRST: (0,), BEHIND: (50,), BOTH: (0, 50), MORE: (0, 50, 90)}[generation]
    return np.concatenate([toy_rows(index + part) for part in parts])


def give(fed, generation: int, *indices: int, told=(GROWN,)) -> None:
    """Let members have other rows from now on; 0: none that are new."""
    for index in indices:
        own = ToyLearner(rows_of(index, generation or FIRST)[: None if generation else 0], generation=generation)
        own.told = list(told)
        fed.parties[index].learners = lambda _, own=own: own
        fed.restart(fed.parties[index].name)
    fed.pump()


def train(fed, tag: int):
    fed.errors.clear()
    job = fed.train(toy_request(tag))
    return job, {str(error) for _, error in fed.errors} | set(job.declined.values())


def summed(fed, job) -> list[int]:
    assert job.state is JobState.ACCEPTED
    return fed.members["org-0"].state(job)["sums"].tolist()


def total(**generations: int) -> list[int]:
    rows = [rows_of(int(name[1:]), generation) for name, generation in generations.items()]
    return np.concatenate(rows).sum(axis=0).tolist()


def test_parts_and_then_all_of_it_over_the_same_members_tells_nothing_new_and_opens(federation):
    fed = federation(4, 2)
    for tag, generation in enumerate((FIRST, BEHIND, BOTH, BEHIND, FIRST), 1):
        give(fed, generation, 0, 1, 2, 3)
        job, refused = train(fed, tag)
        assert not refused
        assert summed(fed, job) == total(m0=generation, m1=generation, m2=generation, m3=generation)


def test_who_had_no_new_rows_is_in_the_whole_again(federation):
    """A refresh by three of four, then all rows of all four: the one is hidden among the three that grew."""
    fed = federation(4, 2)
    give(fed, FIRST, 0, 1, 2, 3)
    assert train(fed, 1)[0].state is JobState.ACCEPTED
    give(fed, BEHIND, 0, 1, 2)
    give(fed, 0, 3)
    job, _ = train(fed, 2)
    assert job.accepted[0].contributors == (1, 2, 3)
    give(fed, BOTH, 0, 1, 2)
    give(fed, FIRST, 3)
    job, refused = train(fed, 3)
    assert not refused
    assert job.accepted[0].contributors == (1, 2, 3, 4)
    assert summed(fed, job) == total(m0=BOTH, m1=BOTH, m2=BOTH, m3=FIRST)


@pytest.mark.parametrize("away", [1, 4])
@pytest.mark.parametrize("is_fixed", [True, False])
def test_whose_rows_would_be_the_difference_is_not_left_out_of_the_whole(federation, away, is_fixed):
    """First parts of all, last parts of all, and then everything of all but one: what is missing is that one's."""
    fed = federation(4, 2)
    for tag, generation in enumerate((FIRST, BEHIND), 1):
        give(fed, generation, 0, 1, 2, 3)
        assert train(fed, tag)[0].state is JobState.ACCEPTED
    give(fed, BOTH, 0, 1, 2, 3)
    asked(fed, 3)
    round_ = until(fed, "joining")
    listen(fed)
    sent = recorded(fed)
    members = tuple(index for index in range(1, 5) if index != away)
    say(fed, manifest_of(round_, members, fixed=members if is_fixed else ()))
    listen(fed)
    assert private(sent) == []
    assert "another set was opened before" in str(fed.errors[-1][1])


def test_who_was_away_while_the_others_summed_their_new_rows_is_not_drawn_into_the_whole_alone(federation):
    """All of everybody, less the first parts of all, less the last parts of three, would be the fourth's last part."""
    fed = federation(4, 2)
    give(fed, FIRST, 0, 1, 2, 3)
    assert train(fed, 1)[0].state is JobState.ACCEPTED
    give(fed, BEHIND, 0, 1, 2)
    give(fed, 0, 3)
    assert train(fed, 2)[0].state is JobState.ACCEPTED
    give(fed, BOTH, 0, 1, 2, 3)
    job, refused = train(fed, 3)
    assert job.state is JobState.VOID
    assert any("another set was opened before" in told for told in refused)
    assert not any(round_.opened for round_ in job.rounds)
    # New rows of everybody free them all.
    give(fed, MORE, 0, 1, 2, 3)
    job, refused = train(fed, 4)
    assert not refused
    assert summed(fed, job) == total(m0=MORE, m1=MORE, m2=MORE, m3=MORE)


def test_a_member_that_alone_has_rows_besides_what_was_summed_in_parts_gets_no_sum(federation):
    fed = federation(4, 2)
    for tag, generation in enumerate((FIRST, BEHIND), 1):
        give(fed, generation, 0, 1, 2, 3)
        assert train(fed, tag)[0].state is JobState.ACCEPTED
    give(fed, BOTH, 0, 1, 2)
    give(fed, MORE, 3)
    job, refused = train(fed, 3)
    assert job.state is JobState.VOID
    assert any("another set was opened before" in told for told in refused)


@pytest.mark.parametrize("hidden", ["withheld", "another generation"])
def test_nothing_is_contributed_while_a_member_has_not_said_what_its_rows_are_made_up_of(federation, hidden):
    """A coordinator that holds it back could make others take a member's old rows for new ones."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    member = fed.members["org-0"]
    ready = member._desk.log.open_job.ready
    if hidden == "withheld":
        del ready[4]
    else:
        object.__setattr__(ready[4], "generation", 9)
    say(fed, manifest_of(round_, (1, 2, 3, 4)))
    listen(fed)
    assert set(round_.contributions) == {2, 3, 4}
    assert "has not said what they are made up of" in str(fed.errors[-1][1])


def test_a_node_that_learns_what_its_rows_are_made_up_of_after_it_said_so_contributes_no_more(federation):
    fed = federation(4, 2)
    give(fed, FIRST, 0, 1, 2, 3)
    assert train(fed, 1)[0].state is JobState.ACCEPTED
    give(fed, BEHIND, 0, 1, 2, 3, told=())
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    fed.parties[0].learners(None).told.append(Relation(left=(FIRST, FIRST), right=(BEHIND,)))
    say(fed, manifest_of(round_, (1, 2, 3, 4)))
    listen(fed)
    assert set(round_.contributions) == {2, 3, 4}
    assert "since it said that it is ready" in str(fed.errors[-1][1])


def test_a_clone_counts_rows_that_its_twin_may_have_summed(federation):
    """It joins with what has grown; what came behind the old rows would lay bare what the twin summed."""
    fed = federation(4, 2)
    fed.parties[0].rows.put([("clone", item_int("gen", FIRST), b"")])
    give(fed, BOTH, 0, 1, 2, 3)
    job, refused = train(fed, 1)
    assert not refused
    assert job.accepted[0].contributors == (1, 2, 3, 4)
    give(fed, BEHIND, 0, 1, 2, 3)
    job, refused = train(fed, 2)
    assert "FA402 refused" in refused
    assert set(job.declined) == {1}
    assert job.accepted[0].contributors == (2, 3, 4)


def test_a_node_remembers_what_members_said_of_their_rows_in_earlier_jobs(federation):
    fed = federation(4, 2)
    for tag, generation in enumerate((FIRST, BEHIND, BOTH), 1):
        give(fed, generation, 0, 1, 2, 3)
        assert train(fed, tag)[0].state is JobState.ACCEPTED
    fed.restart("org-0")
    heard = fed.members["org-0"]._desk.ledger._heard()
    assert heard == {party.identity.public_key: {GROWN} for party in fed.parties}
