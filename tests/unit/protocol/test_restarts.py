"""Retries, restarts, crashes, absence: a job ends soundly whatever a member goes through."""

from __future__ import annotations

import numpy as np
import pytest

from fedanomaly.errors import ProtocolError, UnavailableError
from fedanomaly.protocol import JobState, RoundState
from tests.unit.protocol.driving import (
    advance,
    asked,
    catch_up,
    job_of,
    pass_time,
    read,
    until,
)
from tests.unit.protocol.mortal import Machine, pump
from tests.unit.protocol.toy import toy_request, toy_rows


def sums_of(members) -> np.ndarray:
    return sum(toy_rows(index - 1).sum(axis=0) for index in members)


def assert_sound(fed, job) -> None:
    """What holds whatever happened: a final job, exact sums, one statement a manifest, nothing frozen."""
    assert job.state.final
    said: dict[tuple[bytes, bytes], set[bytes]] = {}
    for entry in fed.log:
        if entry.envelope.kind == "statement":
            key = (entry.envelope.sender, read(entry).manifest)
            said.setdefault(key, set()).add(entry.envelope.body)
    assert all(len(bodies) == 1 for bodies in said.values())
    for name, member in fed.members.items():
        assert not list(next(party for party in fed.parties if party.name == name).rows.all("frozen"))
        state = member.state(job)
        assert (state is not None) == (job.state is JobState.ACCEPTED)
        if state is not None:
            np.testing.assert_array_equal(state["sums"], sums_of(job.rounds[-1].contributors))


@pytest.mark.parametrize("step", [0, 1])
def test_what_cannot_be_fetched_now_is_fetched_later_and_is_no_reason_to_decline(federation, step):
    fed = federation()
    asked(fed)
    round_ = until(fed, "opened", step)
    assert not catch_up(fed, "org-0")
    member = fed.members["org-0"]

    def away(digest: bytes) -> bytes:
        raise UnavailableError("the coordinator cannot be reached")

    for _ in range(3):
        with pytest.raises(UnavailableError):
            list(member.act(away))
    fed.pump()
    assert round_.state is RoundState.ACCEPTED
    assert not job_of(fed).declined
    assert_sound(fed, job_of(fed))


def test_a_full_disk_is_no_reason_to_decline(federation):
    fed = federation()
    asked(fed)
    until(fed, "announced")
    rows, full = fed.parties[0].rows, True

    class Full:
        get, all, erase = rows.get, rows.all, rows.erase

        def put(self, written):
            if full:
                raise UnavailableError("the ledger did not take the write")
            rows.put(written)

    fed.parties[0].rows = Full()
    fed.restart("org-0")
    fed.pump()
    assert not job_of(fed).rounds[0].posted.join_of(1) if job_of(fed).rounds[0].manifest else True
    assert {type(error) for _, error in fed.errors} == {UnavailableError}
    full = False
    fed.pump()
    assert not job_of(fed).declined
    assert_sound(fed, job_of(fed))


JOB_KINDS = [
    "job-request",
    "job-start",
    "ready",
    "announce",
    "join",
    "manifest",
    "contribution",
    "close",
    "statement",
    "opened",
    "vote",
    "outcome",
    "job-end",
]


@pytest.mark.parametrize("kind", JOB_KINDS)
@pytest.mark.parametrize("who", ["org-1", "everybody"])
def test_a_restart_after_any_kind_of_message_leaves_a_sound_job(federation, kind, who):
    fed = federation(4, 2)
    start = len(fed.log)
    asked(fed)
    while not any(entry.envelope.kind == kind for entry in fed.log[start:]):
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
            if post.envelope.kind == kind:
                break
        else:
            for party in fed.parties:
                fed.step(party)
    for party in fed.parties:
        if who in {party.name, "everybody"}:
            fed.restart(party.name)
    fed.pump()
    pass_time(fed, 1200, 60)
    assert_sound(fed, job_of(fed))
    if who == "org-1":
        assert job_of(fed).state is JobState.ACCEPTED


def writes_of_a_job(federation) -> list[str]:
    fed = federation()
    machine = Machine(fed.parties[1])
    fed.restart("org-1")
    fed.train(toy_request())
    return machine.writes


def test_a_crash_between_any_two_durable_writes_of_a_job_leaves_a_sound_job(federation):
    writes = writes_of_a_job(federation)
    assert {"put join frozen nonce generation", "put spent contributed", "put statement"} <= set(writes)
    for stops_before in range(len(writes)):
        fed = federation()
        Machine(fed.parties[1], stops_before)
        fed.restart("org-1")
        fed.post(fed.members["org-0"].request(toy_request()))
        assert pump(fed, "org-1"), writes[stops_before]
        fed.pump()
        pass_time(fed, 300, 60)
        assert_sound(fed, job_of(fed))
        assert job_of(fed).state is JobState.ACCEPTED, writes[stops_before]
        assert not fed.errors, (writes[stops_before], fed.errors)


def test_what_was_posted_and_got_lost_is_posted_again_bit_for_bit(federation):
    fed = federation()
    asked(fed)
    sent = {}
    for _ in range(60):
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
        for name, member in fed.members.items():
            assert not catch_up(fed, name)
            lost = list(member.act(fed.blobs.__getitem__))
            assert list(member.act(fed.blobs.__getitem__)) == lost
            for post in lost:
                sent[post.envelope.kind] = sent.get(post.envelope.kind, 0) + 1
                fed.post(post)
    assert sent == {"ready": 3, "join": 6, "contribution": 6, "statement": 6, "vote": 6}
    assert job_of(fed).state is JobState.ACCEPTED


@pytest.mark.parametrize("new_epoch", [False, True])
def test_a_job_that_finished_while_the_node_was_away_is_caught_up_with(federation, new_epoch):
    """Even if the key epoch has ended since: its secrets go after that, not before."""
    fed = federation(6, 2)
    asked(fed)
    until(fed, "opened", step=1)
    fed.step(fed.parties[5])
    away = fed.parties.pop()
    fed.pump()
    job = job_of(fed)
    assert job.state is JobState.ACCEPTED
    assert fed.members[away.name].state(job) is None
    if new_epoch:
        fed._append(fed.coordinator.new_epoch())
        fed.pump()
    fed.parties.append(away)
    fed.restart(away.name)
    fed.pump()
    own = fed.members[away.name].transcript.job_of(toy_request().request)
    assert fed.members[away.name].state(own).to_bytes() == fed.members["org-0"].state(job).to_bytes()
    assert not list(away.rows.all("frozen"))
    ended = [epoch.digest for epoch in fed.coordinator.transcript.epochs[:-1]]
    assert not [label for label in away.vault._sealed if label[:32] in ended]
    assert fed.coordinator.transcript.live is not None


def test_an_ended_epoch_is_left_although_what_it_taught_cannot_be_opened_any_more(federation):
    fed = federation(6, 2)
    asked(fed)
    until(fed, "opened", step=1)
    away = fed.parties.pop()
    fed.pump()
    fed._append(fed.coordinator.new_epoch())
    away.vault._sealed.clear()
    fed.parties.append(away)
    fed.restart(away.name)
    fed.pump()
    assert "does not hold the secrets" in str(fed.errors[-1][1])
    assert not list(away.rows.all("frozen"))
    assert fed.coordinator.transcript.live is not None
    assert fed.members[away.name].state(fed.members[away.name].transcript.job_of(toy_request().request)) is None


def test_a_member_that_comes_late_votes_but_is_not_added(federation):
    fed = federation(6, 2)
    late = fed.parties.pop()
    asked(fed)
    fed.pump()
    fed.now_s += 60
    until(fed, "collecting")
    fed.parties.append(late)
    fed.pump()
    job = job_of(fed)
    assert job.state is JobState.ACCEPTED
    assert 6 in job.ready
    assert job.rounds[1].contributors == (1, 2, 3, 4, 5)
    assert 6 in job.rounds[1].votes
    assert 6 not in job.rounds[1].joins
    np.testing.assert_array_equal(fed.members[late.name].state(job)["sums"], sums_of(range(1, 6)))


def test_advancing_one_message_at_a_time_ends_as_well(federation):
    fed = federation(4, 2)
    asked(fed)
    for _ in range(80):
        advance(fed)
    assert_sound(fed, job_of(fed))
    with pytest.raises(ProtocolError):
        fed.coordinator.transcript._of(bytes(32))
