"""Every deadline of a round, and what follows when it passes."""

from __future__ import annotations

from fedanomaly.errors import CapacityError
from fedanomaly.protocol import JobState, RoundState
from tests.unit.protocol.driving import (
    asked,
    catch_up,
    job_of,
    listen,
    pass_time,
    signed_by,
    teach,
    until,
)
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


def next_post(fed):
    return next(iter(fed.coordinator.act(fed.now_s, fed.blobs)), None)


def lose(fed, *names: str) -> None:
    """Let members fall silent for good."""
    fed.parties = [party for party in fed.parties if party.name not in names]


def test_a_round_that_too_few_join_is_void_and_tried_as_often_as_the_settings_say(federation):
    fed = federation(3, 2, attempts=2)
    asked(fed)
    until(fed, "announced")
    lose(fed, "org-2")
    pass_time(fed, 200)
    job = job_of(fed)
    assert [entry.state for entry in job.rounds] == [RoundState.VOID] * 2
    assert job.rounds[0].reason == job.reason == "too few members joined"
    assert job.state is JobState.VOID


def test_a_later_step_without_a_member_of_the_fixed_set_is_void(federation):
    fed = federation(6, 2)
    asked(fed)
    until(fed, "announced", step=1)
    lose(fed, "org-5")
    pass_time(fed, 80)
    assert job_of(fed).rounds[1].reason == "a member of the job's fixed set did not join"


def test_a_member_that_declines_is_not_waited_for(federation):
    fed = federation(6, 2)

    class Broken(ToyLearner):
        def local(self, step, state):
            raise CapacityError("too wide")

    teach(fed, "org-5", Broken(toy_rows(5)))
    job = fed.train(toy_request())
    assert job.state is JobState.ACCEPTED
    assert job.declined == {6: "FA303 it does not fit: too large, or a quota is used up"}
    assert job.rounds[0].contributors == (1, 2, 3, 4, 5)


def test_whoever_does_not_contribute_in_time_is_left_out(federation):
    fed = federation(6, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    lose(fed, "org-5")
    fed.pump()
    assert round_.state is RoundState.COLLECTING
    assert round_.waiting_for(()) == (6,)
    pass_time(fed, 120)
    assert round_.contributors == (1, 2, 3, 4, 5)
    assert job_of(fed).state is JobState.ACCEPTED


def test_too_few_contributions_in_time_are_certified_void_by_the_decryptors(federation):
    fed = federation(4, 3)
    asked(fed)
    round_ = until(fed, "collecting")
    lose(fed, "org-3")
    pass_time(fed, 140)
    assert round_.state is RoundState.VOID
    assert round_.reason == "too few contributions arrived"
    assert round_.certificate().void


def test_a_decryptor_that_does_not_contribute_ends_the_round(federation):
    fed = federation(6, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    assert round_.posted.decryptors == (1, 2, 3, 4)
    fed.parties = fed.parties[1:]
    pass_time(fed, 140)
    assert round_.state is RoundState.VOID
    assert round_.reason == "a decryptor did not contribute"
    pass_time(fed, 200)
    assert job_of(fed).state is JobState.ACCEPTED
    assert job_of(fed).rounds[-1].contributors == (2, 3, 4, 5, 6)


def test_a_member_outside_the_fixed_set_is_not_drawn_into_the_round(federation):
    """A second job over rows that were opened without it: it could not contribute, so it is no decryptor."""
    fed = federation(5, 3)
    asked(fed, 1)
    first = until(fed, "announced")
    last = fed.parties.pop()
    pass_time(fed, 140)
    assert first.contributors == (1, 2, 3, 4)
    assert job_of(fed, 1).state is JobState.ACCEPTED
    fed.parties.append(last)
    fed.restart(last.name)
    fed.pump()
    asked(fed, 2)
    second = until(fed, "collecting")
    assert second.joins.keys() == {1, 2, 3, 4, 5}
    assert second.posted.fixed == second.posted.joined == second.posted.decryptors == (1, 2, 3, 4)
    fed.pump()
    assert job_of(fed, 2).state is JobState.ACCEPTED
    assert len(job_of(fed, 2).rounds) == 2
    assert not job_of(fed, 2).declined


def test_a_decryptor_that_says_void_ends_the_round(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    catch_up(fed, "org-3")
    ledger = fed.members["org-3"]._desk.ledger
    statement = ledger.state(fed.members["org-3"].transcript.rounds[round_.posted.hash], me=4, opens=False)
    fed.post(signed_by(fed, 4, statement))
    fed.pump()
    assert round_.abandoned == "a decryptor declared the manifest void"
    assert round_.outcome is RoundState.VOID
    assert job_of(fed).state is JobState.ACCEPTED


def test_a_decryptor_that_does_not_answer_ends_the_round_and_blocks_its_rows(federation):
    """Three of four said OPEN: the sum never opened, but the rows count as opened."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    listen(fed, "org-0", "org-1", "org-2")
    assert next_post(fed) is None
    assert round_.waiting_for(()) == (4,)
    fed.now_s += 60.0
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
    assert round_.abandoned == "a decryptor did not answer"
    assert round_.certificate().contributors == (1, 2, 3, 4)
    pass_time(fed, 300)
    assert round_.outcome is RoundState.VOID
    job = job_of(fed)
    assert job.state is JobState.ACCEPTED
    assert job.rounds[1].posted.fixed == (1, 2, 3, 4)


def test_an_abandoned_round_without_a_certificate_ends_at_its_deadline(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    lose(fed, "org-1", "org-2", "org-3")
    pass_time(fed, 60)
    assert round_.abandoned == "a decryptor did not answer"
    assert round_.certificate() is None
    assert round_.outcome is None
    pass_time(fed, 60)
    assert round_.outcome is RoundState.VOID


def test_too_few_votes_in_time_reject_the_sum(federation):
    fed = federation(4, 3)
    asked(fed)
    round_ = until(fed, "opened")
    lose(fed, "org-3")
    pass_time(fed, 120)
    assert round_.outcome is RoundState.REJECTED
    assert round_.reason == "too few members voted in time"
    assert job_of(fed).state is JobState.REJECTED
    assert all(member.state(job_of(fed)) is None for member in fed.members.values())


def test_votes_that_cannot_agree_any_more_reject_the_sum_at_once(federation):
    fed = federation(4, 3)

    class Odd(ToyLearner):
        def merge(self, step, total, state):
            return state.with_arrays(odd=total[step.fields[0].name])

    teach(fed, "org-3", Odd(toy_rows(3)))
    job = fed.train(toy_request())
    assert job.rounds[0].reason == "the members do not agree on the sum"
    assert job.state is JobState.REJECTED
