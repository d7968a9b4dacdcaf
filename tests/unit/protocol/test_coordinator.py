"""The coordinator: deadlines, attachments, and never stuck."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from fedanomaly.errors import CapacityError, MessageError, ProtocolError
from fedanomaly.fhe import InMemory, Preset
from fedanomaly.protocol import EpochState, JobState, Settings
from fedanomaly.protocol.coordinator import MAX_DEAL_BYTES
from fedanomaly.protocol.messages import TRAINED, Ready, Statement
from tests.unit.protocol.driving import (
    advance,
    asked,
    catch_up,
    enrol_all,
    job_of,
    meddle,
    pass_time,
    read,
    renew,
    set_up_to,
    signed_by,
    teach,
    until,
)
from tests.unit.protocol.federations import refold
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


def lose(fed, *names: str) -> None:
    """Let members fall silent for good."""
    fed.parties = [party for party in fed.parties if party.name not in names]


def next_post(fed):
    return next(iter(fed.coordinator.act(fed.now_s, fed.blobs)), None)


# Attachments


def due(fed, state: str):
    """Return what the first member would post first, when a round is in a state."""
    asked(fed)
    until(fed, state)
    assert not catch_up(fed, "org-0")
    return next(iter(fed.members["org-0"].act(fed.blobs.__getitem__)))


@pytest.mark.parametrize(("kind", "state"), [("contribution", "collecting"), ("statement", "closed")])
def test_what_is_attached_to_a_round_is_checked_on_receipt(federation, kind, state):
    fed = federation()
    good = due(fed, state)
    assert good.envelope.kind == kind
    fed.coordinator.check(good.envelope, InMemory(good.attachment))
    with pytest.raises(MessageError, match="missing"):
        fed.coordinator.check(good.envelope, None)
    of_another_round = bytearray(good.attachment)
    of_another_round[good.attachment.index(read(good).manifest)] ^= 1
    beyond_the_prime = good.attachment[:-64] + b"\xff" * 64
    for bad in (b"rubbish", good.attachment[:-1], good.attachment + b"\0", bytes(of_another_round), beyond_the_prime):
        bent = signed_by(fed, 1, read(good), bad)
        with pytest.raises(MessageError):
            fed.coordinator.check(bent.envelope, InMemory(bent.attachment))


def test_nothing_is_attached_to_a_message_that_needs_nothing(federation):
    fed = federation()
    join = due(fed, "announced")
    fed.coordinator.check(join.envelope, None)
    stuffed = signed_by(fed, 1, read(join), b"x" * 100)
    with pytest.raises(MessageError, match="no attachment"):
        fed.coordinator.check(stuffed.envelope, InMemory(stuffed.attachment))


def test_a_deal_has_a_largest_size(federation):
    fed = federation(enrol=False)
    enrol_all(fed)
    set_up_to(fed, EpochState.DEALING)
    assert not catch_up(fed, "org-0")
    good = next(iter(fed.members["org-0"].act(fed.blobs.__getitem__)))
    fed.coordinator.check(good.envelope, InMemory(good.attachment))
    large = signed_by(fed, 1, read(good), bytes(MAX_DEAL_BYTES + 1))
    with pytest.raises(MessageError, match="of this size"):
        fed.coordinator.check(large.envelope, InMemory(large.attachment))


def test_a_post_is_stored_before_the_next_one_is_made(federation):
    fed = federation(enrol=False)
    posts = fed.coordinator.act(0.0, fed.blobs)
    first = next(posts)
    assert first.envelope.kind == "founded"
    with pytest.raises(ProtocolError, match="stored and accepted"):
        next(posts)


def test_a_restarted_coordinator_says_what_it_would_have_said(federation):
    fed = federation()
    asked(fed)
    for state in ("joining", "collecting", "closed", "opened"):
        until(fed, state)
        fed.now_s += 1000.0
        before = next_post(fed)
        refold(fed)
        assert next_post(fed) == before
        fed.now_s -= 1000.0


def test_the_settings_of_the_log_stand_above_those_it_was_started_with(federation):
    fed = federation(4, 2)
    fed.coordinator._settings = Settings(name="other", members=9, threshold=5)
    assert fed.coordinator.settings.members == 4


# Members that never come


def test_without_all_members_there_is_no_key_epoch(federation):
    fed = federation(enrol=False)
    enrol_all(fed)
    del fed.log[-2:]
    refold(fed)
    fed.now_s = 1e6
    assert next_post(fed) is None
    assert fed.coordinator.transcript.epochs == []


def test_a_set_up_waits_for_whoever_is_missing(federation):
    fed = federation(enrol=False)
    enrol_all(fed)
    missing = fed.parties.pop()
    pass_time(fed, 10_000, 5000)
    assert fed.coordinator.transcript.epoch.state is EpochState.CALLED
    fed.parties.append(missing)
    fed.pump()
    assert fed.coordinator.transcript.live is not None


def test_a_job_that_too_few_are_ready_for_ends_void(federation):
    fed = federation(4, 2)
    lose(fed, "org-2", "org-3")
    asked(fed)
    fed.pump()
    assert job_of(fed).state is JobState.GATHERING
    assert job_of(fed).waiting_for() == (3, 4)
    pass_time(fed, 60)
    assert job_of(fed).state is JobState.VOID
    assert job_of(fed).reason == "2 members are ready from the same state, 3 are needed"
    assert job_of(fed).waiting_for() == ()


def test_a_job_that_nobody_is_ready_for_ends_void(federation):
    fed = federation(3, 2)
    asked(fed)
    lose(fed, "org-0", "org-1", "org-2")
    pass_time(fed, 80)
    assert job_of(fed).state is JobState.VOID


@pytest.mark.parametrize("bad", [False, True])
def test_a_job_with_nothing_to_sum_ends_void_and_holds_nobody_up(federation, bad):
    """Also if a single bad member is the last that did not decline."""
    fed = federation(3, 2)

    class Idle(ToyLearner):
        def next_step(self, state):
            return None

    if not bad:
        for index in range(3):
            teach(fed, f"org-{index}", Idle(toy_rows(index)))
        job = fed.train(toy_request())
        assert job.reason == "there is nothing to sum"
    else:
        asked(fed)
        until(fed, "joining")
        ready = Ready(
            epoch=job_of(fed).epoch.id,
            job=1,
            generation=1,
            relations=b"",
            state_tag=bytes(32),
            next_step=TRAINED.to_bytes(),
        )
        job = job_of(fed)
        job.ready[3] = ready
        lose(fed, "org-0", "org-1", "org-2")
        for index in (1, 2):
            job.declined[index] = "away"
        pass_time(fed, 80)
    assert job.state is JobState.VOID
    assert next_post(fed) is None


# The self-test


def spoil_tests(fed, spoilt) -> None:
    """Replace the third member's contribution to a self-test by another one, while `spoilt()`."""

    def change(post):
        log = fed.coordinator.transcript
        if post.envelope.kind == "contribution" and post.envelope.sender == fed.parties[2].identity.public_key:
            round_ = log.rounds[read(post).manifest]
            if round_.ask.kind == "test" and spoilt():
                bent = bytearray(post.attachment)
                bent[-100] ^= 1
                return (signed_by(fed, 3, read(post), bytes(bent)),)
        return (post,)

    meddle(fed, change)


def test_a_self_test_that_fails_leads_to_new_keys_as_often_as_the_settings_say(federation):
    fed = federation(enrol=False, attempts=3)
    enrol_all(fed)
    spoil_tests(fed, lambda: True)
    pass_time(fed, 200)
    log = fed.coordinator.transcript
    assert len(log.epochs) == 3
    assert log.live is None
    assert {job.state for job in log.jobs} == {JobState.REJECTED}
    assert next_post(fed) is None


def test_after_a_failed_self_test_the_next_key_epoch_may_live(federation):
    fed = federation(enrol=False, attempts=2)
    enrol_all(fed)
    spoil_tests(fed, lambda: len(fed.coordinator.transcript.epochs) % 2 == 1)
    pass_time(fed, 100)
    log = fed.coordinator.transcript
    assert log.live is log.epochs[1]
    fed._append(fed.coordinator.new_epoch())  # much later; that one failed long ago counts no more
    pass_time(fed, 100)
    assert log.live is log.epochs[3]
    assert fed.train(toy_request()).state is JobState.ACCEPTED


def test_a_self_test_that_stays_void_is_given_up(federation):
    fed = federation(enrol=False, attempts=2)
    enrol_all(fed)
    meddle(fed, lambda post: () if post.envelope.kind == "contribution" else (post,))
    pass_time(fed, 2000)
    log = fed.coordinator.transcript
    assert len(log.epochs) == 2
    assert [job.reason for job in log.jobs] == ["the self-test did not pass"] * 2
    assert [len(job.rounds) for job in log.jobs] == [2, 2]


def test_every_ring_is_tested_before_an_epoch_lives(federation):
    fed = federation()
    (job,) = fed.coordinator.transcript.jobs
    assert [entry.ask.preset for entry in job.accepted] == list(Preset)
    with pytest.raises(ProtocolError, match="nobody asked"):
        _ = job.asked


# A round before its time


def test_what_a_round_has_not_come_to_is_not_there(federation):
    fed = federation()
    asked(fed)
    round_ = until(fed, "announced")
    for missing in ("posted", "published", "won"):
        with pytest.raises(ProtocolError):
            getattr(round_, missing)
    assert round_.certificate() is None


def test_a_share_for_a_manifest_that_is_not_there_is_refused(federation):
    fed = federation()
    void = Statement(manifest=hashlib.sha256(b"").digest(), opens=False, contributors=())
    with pytest.raises(ProtocolError, match="no such manifest"):
        fed.coordinator.check(signed_by(fed, 1, void).envelope, None)


def test_what_comes_too_late_for_a_round_is_refused(federation):
    """The fold says no to the honest and to the coordinator alike."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    fed.step(fed.parties[1])
    join = dataclasses.replace(read(fed.log[-1]), generation=7)
    with pytest.raises(ProtocolError, match="joined already"):
        fed.coordinator.transcript.check(signed_by(fed, 2, join).envelope)
    fed.step(fed.parties[2])
    last = fed.parties.pop()
    fed.now_s += 60
    until(fed, "collecting")
    fed.parties.append(last)
    with pytest.raises(ProtocolError, match="no more joins"):
        fed.coordinator.transcript.check(signed_by(fed, 4, join).envelope)
    assert round_.posted.joined == (1, 2, 3)


def test_a_job_that_cannot_start_again_over_partly_new_rows_ends_void(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    renew(fed, "org-3")
    asked(fed, 2)
    pass_time(fed, 600)
    assert job_of(fed, 2).state is JobState.VOID
    assert "another set was opened before" in str(fed.errors[-1][1])


def test_a_job_that_loses_a_contributor_says_whom_it_needed(federation):
    fed = federation(6, 2)

    class Breaks(ToyLearner):
        def local(self, step, state):
            if step.name == "sums":
                raise CapacityError("too wide")
            return super().local(step, state)

    teach(fed, "org-5", Breaks(toy_rows(5)))
    job = fed.train(toy_request())
    assert job.state is JobState.VOID
    assert (
        job.reason
        == "the job needs whom it began with (org-5: FA303 it does not fit: too large, or a quota is used up)"
    )


# Worn keys


def test_a_quota_that_the_self_test_alone_wears_out_does_not_call_for_keys_for_ever(federation):
    fed = federation(quota=50)
    log = fed.coordinator.transcript
    assert sum(entry.ask.layout.coefficients for entry in log.rounds.values()) > 0.75 * 50
    asked(fed)
    for _ in range(20):
        advance(fed)
    assert len(log.epochs) == 1
    assert job_of(fed).state is JobState.VOID
