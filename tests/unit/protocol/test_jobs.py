"""Jobs from request to accepted state, and what happens when somebody is missing."""

from __future__ import annotations

import numpy as np
import pytest

from fedanomaly.errors import DataError, ProtocolError
from fedanomaly.protocol import Coordinator, JobState, RoundState
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


def sums_of(members: range) -> np.ndarray:
    return sum(toy_rows(index).sum(axis=0) for index in members)


@pytest.mark.parametrize(("members", "threshold"), [(3, 2), (4, 2), (5, 3)])
def test_every_member_ends_with_the_exact_sum(federation, members, threshold):
    fed = federation(members, threshold)
    job = fed.train(toy_request())
    assert job.state is JobState.ACCEPTED
    states = [member.state(job) for member in fed.members.values()]
    assert {state.to_bytes() for state in states if state} == {states[0].to_bytes()}
    assert None not in states
    np.testing.assert_array_equal(states[0]["sums"], sums_of(range(members)))
    assert [entry.state for entry in job.rounds] == [RoundState.ACCEPTED] * 2


def test_a_second_job_over_the_same_rows_and_the_same_members_runs(federation):
    fed = federation()
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    second = fed.train(toy_request(2))
    assert second.state is JobState.ACCEPTED
    assert second.rounds[0].manifest.fixed == (1, 2, 3)


def test_whoever_is_gone_before_the_first_close_is_left_out(federation):
    fed = federation(4, 2)
    gone = fed.parties.pop()
    fed.members.pop(gone.name)
    job = train_waiting(fed, toy_request(), [30, 61, 200])
    assert job.state is JobState.REJECTED or job.accepted
    assert job.rounds[0].contributors == (1, 2, 3)


def train_waiting(fed, request, moments):
    """Run a job while the clock moves to each of the moments."""
    fed.post(fed.members["org-0"].request(request))
    fed.pump()
    for moment in moments:
        fed.now_s = moment
        fed.pump()
    return fed.coordinator.transcript.job_of(request.request)


def test_five_of_six_members_are_enough_for_the_quorum(federation):
    fed = federation(6, 2)
    gone = fed.parties.pop()
    fed.members.pop(gone.name)
    job = train_waiting(fed, toy_request(), [61, 130, 200, 300])
    assert job.state is JobState.ACCEPTED
    state = fed.members["org-0"].state(job)
    np.testing.assert_array_equal(state["sums"], sums_of(range(5)))


def test_a_contributor_lost_after_the_first_step_ends_the_job_void(federation):
    fed = federation(6, 2)
    fed.post(fed.members["org-0"].request(toy_request()))
    job = None
    while job is None or not job.accepted:
        advance(fed)
        job = fed.coordinator.transcript.job_of(toy_request().request)
    lost = fed.parties.pop()
    fed.members.pop(lost.name)
    for moment in range(100, 3000, 50):
        fed.now_s = float(moment)
        fed.pump()
    assert job.state is JobState.VOID
    assert len(job.accepted) == 1
    assert len([entry for entry in job.rounds if entry.state is RoundState.VOID]) == 3


def advance(fed):
    """Let everybody act once."""
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
    for party in fed.parties:
        fed.step(party)


def test_parties_may_stop_and_start_between_any_two_messages(federation):
    fed = federation()
    fed.post(fed.members["org-0"].request(toy_request()))
    job = None
    turn = 0
    while job is None or not job.state.final:
        name = fed.parties[turn % 3].name
        if turn % 4 == 3:
            again = Coordinator(
                signer=fed.coordinator._signer,
                settings=fed.coordinator.settings,
                federation=fed.coordinator._federation,
            )
            for entry in fed.log:
                again.accept(entry)
            fed.coordinator = again
        advance(fed)
        current = fed.coordinator.transcript.open_job
        idle = current and current.open_round is None
        if idle:
            fed.restart(name)
        turn += 1
        fed.now_s += 1
        job = fed.coordinator.transcript.job_of(toy_request().request)
        assert turn < 500
    assert job.state is JobState.ACCEPTED
    fed.pump()
    for member in fed.members.values():
        np.testing.assert_array_equal(member.state(job)["sums"], sums_of(range(3)))


def test_a_member_restarted_in_a_round_does_not_answer_for_it_and_the_step_is_tried_again(federation):
    fed = federation()
    fed.post(fed.members["org-0"].request(toy_request()))
    while not (job := fed.coordinator.transcript.job_of(toy_request().request)) or not (
        job.rounds and job.rounds[-1].manifest
    ):
        advance(fed)
    first = job.rounds[-1]
    fed.restart("org-1")
    for moment in range(0, 1000, 10):
        fed.now_s = float(moment)
        fed.pump()
    assert first.outcome is RoundState.VOID or 2 in first.contributions
    assert job.state is JobState.ACCEPTED


def test_members_with_other_parameters_do_not_train_together(federation):
    fed = federation()
    odd = ToyLearner(toy_rows(2), params='{"other":1}')
    fed.parties[2].learners = lambda _: odd
    fed.restart("org-2")
    job = fed.train(toy_request())
    assert job.state is JobState.VOID
    assert "2 members are ready from the same state" in job.reason


def test_a_member_whose_data_fail_declines_with_a_code_and_no_more(federation):
    fed = federation()

    class Broken(ToyLearner):
        def local(self, step, state):
            raise DataError("column amount holds 12345")

    broken = Broken(toy_rows(2))
    fed.parties[2].learners = lambda _: broken
    fed.restart("org-2")
    job = fed.train(toy_request())
    assert job.state is JobState.VOID
    assert job.declined == {3: "FA200 the data cannot be used"}
    assert b"12345" not in b"".join(entry.envelope.to_bytes() for entry in fed.log)


@pytest.mark.parametrize("position", [-1, 10, -9])
def test_a_sum_that_is_changed_on_the_way_is_rejected_and_the_job_rolled_back(federation, position):
    fed = federation()
    fed.post(fed.members["org-0"].request(toy_request()))
    while (
        not (job := fed.coordinator.transcript.job_of(toy_request().request))
        or not job.rounds
        or (job.rounds[-1].opened is None)
    ):
        advance_until_opened(fed)
    opened = job.rounds[-1].opened.attachment
    bent = bytearray(fed.blobs[opened])
    bent[position] ^= 128
    fed.blobs[opened] = bytes(bent)
    fed.pump()
    assert job.state is JobState.REJECTED, fed.errors
    assert all(member.state(job) is None for member in fed.members.values())


def advance_until_opened(fed):
    """As advance, but stop right after a masked sum is published."""
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
        if post.envelope.kind == "opened" and fed.coordinator.transcript.open_job.number:
            return
    for party in fed.parties:
        fed.step(party)


def test_scores_that_are_not_finite_make_members_reject(federation):
    fed = federation()
    for index, party in enumerate(fed.parties):
        strange = ToyLearner(toy_rows(index), finite=False)
        party.learners = lambda _, own=strange: own
    for party in fed.parties:
        fed.restart(party.name)
    job = fed.train(toy_request())
    assert job.state is JobState.REJECTED


def test_an_epoch_does_not_end_while_a_job_runs(federation):
    fed = federation()
    fed.post(fed.members["org-0"].request(toy_request()))
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
    with pytest.raises(ProtocolError, match="between jobs"):
        fed.coordinator.new_epoch()


def test_a_new_epoch_replaces_all_secrets_and_trains_on(federation):
    fed = federation()
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    first = fed.coordinator.transcript.live
    fed._append(fed.coordinator.new_epoch())
    fed.pump()
    second = fed.coordinator.transcript.live
    assert second is not first
    assert second.id != first.id
    assert all(label.startswith(second.digest) for party in fed.parties for label in party.vault._sealed)
    assert fed.train(toy_request(2)).state is JobState.ACCEPTED


@pytest.mark.parametrize("state", ["gathering", "joining", "collecting", "closed", "opened"])
def test_it_is_known_whom_a_job_waits_for(federation, state):
    """With one party silent from a state on, the others can say its name."""
    fed = federation(3, 2)
    fed.post(fed.members["org-0"].request(toy_request()))
    for _ in range(300):
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
        job = fed.coordinator.transcript.open_job
        now = job.open_round.state.value if job.open_round else job.state.value
        reached = now == state or (state, now) in {("joining", "announced"), ("closed", "opening")}
        parties = fed.parties[:2] if reached and job.number else fed.parties
        head = len(fed.log)
        for party in parties:
            fed.step(party)
        if len(parties) == 2 and head == len(fed.log):
            break
    assert job.waiting_for() == (3,)


def test_a_job_gets_fresh_keys_once_most_of_the_quota_is_used(federation):
    fed = federation(3, 2, quota=120)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    first = fed.coordinator.transcript.live
    used = sum(entry.ask.layout.coefficients for entry in fed.coordinator.transcript.rounds.values())
    for tag in range(2, 30):
        job = fed.train(toy_request(tag))
        assert job.state is JobState.ACCEPTED, (tag, used, job.reason)
    assert len(fed.coordinator.transcript.epochs) > 1
    assert fed.coordinator.transcript.live is not first
