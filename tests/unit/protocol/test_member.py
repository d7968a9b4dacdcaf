"""A member: retries, restarts, catches up, and takes no part in what it cannot vouch for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedanomaly.errors import ConfigError, FedAnomalyError, RefusedError, ReplayError
from fedanomaly.protocol import Entry, JobState, RoundState, Settings, seal
from fedanomaly.protocol.messages import KINDS, Message, Statement
from fedanomaly.protocol.participant import Participant
from fedanomaly.types import FieldSpec, Step
from tests.unit.protocol.driving import (
    asked,
    catch_up,
    job_of,
    listen,
    pass_time,
    read,
    recorded,
    teach,
    until,
)
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows

# What a member has nothing to do with


def test_entries_that_break_the_rules_are_passed_over(federation):
    fed = federation()
    assert fed.train(toy_request()).state is JobState.ACCEPTED
    fed.restart("org-0")
    member = fed.members["org-0"]
    forged = dataclasses.replace(fed.log[5].envelope, signature=bytes(64))
    unknown = seal(fed._identity, fed._federation, "gossip", b"").envelope
    shown = [*fed.log[:5], Entry(6, 0.0, forged), Entry(7, 0.0, unknown), Entry(8, 0.0, fed.log[4].envelope)]
    shown += [Entry(entry.seq + 3, 0.0, entry.envelope) for entry in fed.log[5:]]
    refused = []
    for entry in shown:
        try:
            member.accept(entry)
        except FedAnomalyError as error:
            refused.append((entry.seq, error.code))
    assert refused == [(6, "FA400"), (7, "FA403"), (8, "FA401")]
    assert member.transcript.head == len(shown)
    assert list(member.act(fed.blobs.__getitem__)) == []
    assert member.state(member.transcript.jobs[-1]) is not None


def test_a_kind_that_has_no_place_yet_is_refused(federation, monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Gossip(Message):
        kind = "gossip"

    monkeypatch.setitem(KINDS, "gossip", Gossip)
    fed = federation()
    gossip = seal(fed.parties[0].identity, fed._federation, "gossip", Gossip().to_bytes())
    with pytest.raises(FedAnomalyError, match="without a place"):
        fed.coordinator.transcript.check(gossip.envelope)


def test_a_log_that_is_opened_for_fewer_than_three_is_not_followed(federation):
    fed = federation(enrol=False)
    founded = dataclasses.replace(Settings(name="x", members=3, threshold=2).founded(), members=2)
    opening = seal(fed._identity, fed._federation, "founded", founded.to_bytes())
    with pytest.raises(ConfigError):
        fed.coordinator.transcript.check(opening.envelope)


def test_a_data_set_with_another_schema_takes_no_part(federation):
    fed = federation(4, 2)
    other = ToyLearner(toy_rows(3))
    other.schema = bytes(32)
    teach(fed, "org-3", other)
    job = fed.train(toy_request())
    assert job.declined == {4: "FA402 refused"}
    assert "another schema" in str(fed.errors[0][1])
    assert job.rounds[0].contributors == (1, 2, 3)
    assert fed.members["org-3"].state(job) is None


def test_a_node_without_the_data_set_declines(federation):
    fed = federation(4, 2)

    def missing(request):
        raise ConfigError(f"there is no data set {request.dataset}")

    fed.parties[3].learners = missing
    fed.restart("org-3")
    job = fed.train(toy_request())
    assert job.declined == {4: "FA100 the service is not configured for this"}
    assert job.state is JobState.REJECTED or job.state is JobState.ACCEPTED
    fed.pump()
    assert fed.members["org-3"].state(job) is None


def test_a_node_that_computes_another_state_than_was_voted_for_says_so_and_keeps_no_model(federation):
    fed = federation(5, 2)

    class Odd(ToyLearner):
        def merge(self, step, total, state):
            name = step.fields[0].name
            return state.with_arrays(**{name: total[name] + (name == "sums")})

    teach(fed, "org-4", Odd(toy_rows(4)))
    job = fed.train(toy_request())
    assert job.state is JobState.ACCEPTED
    assert "not the one that this node computed" in str(fed.errors[-1][1])
    assert fed.members["org-4"].state(job) is None
    fed.restart("org-4")
    fed.pump()
    assert fed.members["org-4"].state(job) is None
    assert not list(fed.parties[4].rows.all("state"))
    assert fed.members["org-0"].state(job) is not None


def test_a_node_whose_state_went_another_way_in_between_takes_no_part_any_more(federation):
    fed = federation(6, 2)

    class Odd(ToyLearner):
        def merge(self, step, total, state):
            return super().merge(step, total, state).with_arrays(odd=np.array([1]))

    teach(fed, "org-5", Odd(toy_rows(5)))
    job = fed.train(toy_request())
    assert job.declined == {6: "FA402 refused"}
    assert not job.rounds[-1].contributions.keys() & {6}
    assert fed.members["org-5"].state(job) is None


def test_a_node_whose_detector_has_nothing_left_to_sum_takes_no_part_any_more(federation):
    fed = federation(6, 2)

    class Done(ToyLearner):
        def next_step(self, state):
            return None if "rows" in state else super().next_step(state)

    teach(fed, "org-5", Done(toy_rows(5)))
    pass_time(fed, 20)
    job = fed.train(toy_request())
    assert 6 in job.declined
    assert "nothing left to sum" in str(fed.errors[-1][1])


def test_a_step_that_fits_no_ciphertext_is_declined_with_a_code(federation):
    fed = federation()

    class Wide(ToyLearner):
        def next_step(self, state):
            return Step(name="wide", fields=(FieldSpec(name="rows", shape=(1,), lower=0, upper=(1 << 60) - 1),))

    for index in range(3):
        teach(fed, f"org-{index}", Wide(toy_rows(index)))
    job = fed.train(toy_request())
    assert set(job.declined.values()) == {"FA303 it does not fit: too large, or a quota is used up"}
    assert job.state is JobState.VOID


def test_a_job_that_was_not_accepted_has_no_state(federation):
    fed = federation()
    asked(fed)
    until(fed, "opened", step=1)
    assert not catch_up(fed, "org-0")
    member = fed.members["org-0"]
    assert list(member.act(fed.blobs.__getitem__))
    assert member.state(member.transcript.jobs[-1]) is None
    assert member.state(member.transcript.jobs[0]) is None


def test_a_self_test_learns_nothing(federation):
    fed = federation()
    assert not catch_up(fed, "org-0")
    member = fed.members["org-0"]
    job = member.transcript.jobs[0]
    secrets = member._setup.secrets(job.epoch, fed.blobs.__getitem__)
    with pytest.raises(RefusedError, match="learns nothing"):
        Participant(member._desk, job, secrets, None).catch_up(fed.blobs.__getitem__)


# VOID


def test_a_node_that_takes_no_part_any_more_still_answers_void(federation):
    """It joined, and declined afterwards: its answer frees the rows of the others."""
    from fedanomaly.protocol.messages import Abandon, Decline
    from tests.unit.protocol.driving import say, signed_by

    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    fed.post(signed_by(fed, 4, Decline(epoch=job_of(fed).epoch.id, job=1, reason="away")))
    say(fed, Abandon(manifest=round_.posted.hash, reason="test"))
    listen(fed)
    assert round_.certificate().void
    assert len(round_.statements) == 4


def test_who_said_open_or_restarted_stays_silent_about_an_abandoned_manifest(federation):
    from fedanomaly.protocol.messages import Abandon
    from tests.unit.protocol.driving import say

    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    assert not catch_up(fed, "org-0")
    lost = list(fed.members["org-0"].act(fed.blobs.__getitem__))
    assert read(lost[0]).opens
    fed.restart("org-1")
    sent = recorded(fed)
    say(fed, Abandon(manifest=round_.posted.hash, reason="test"))
    listen(fed)
    assert set(round_.statements) == {3, 4}
    assert not [post for post in sent if isinstance(read(post), Statement) and read(post).opens]
    assert round_.certificate() is None


def test_a_decryptor_that_was_only_slow_frees_the_rows_when_it_answers_at_last(federation):
    fed = federation(4, 2)
    asked(fed, 1)
    round_ = until(fed, "closed")
    listen(fed, "org-0")
    slow, fed.parties = fed.parties[1:], fed.parties[:1]
    pass_time(fed, 200)
    assert round_.outcome is RoundState.VOID
    assert round_.certificate() is None
    fed.parties += slow
    pass_time(fed, 600)
    assert job_of(fed, 1).state.final
    assert round_.certificate().void
    asked(fed, 2)
    fed.pump()
    assert job_of(fed, 2).state is JobState.ACCEPTED


def test_an_orderly_stop_frees_the_rows_at_once(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed, "org-0")
    assert not catch_up(fed, "org-1")
    stopped = [fed.post(post) or read(post) for post in fed.members["org-1"].retire()]
    assert [(statement.manifest, statement.opens) for statement in stopped] == [(round_.posted.hash, False)]
    fed.restart("org-1")
    assert not catch_up(fed, "org-1")
    assert list(fed.members["org-1"].retire()) == []
    pass_time(fed, 200)
    assert round_.certificate().void
    assert job_of(fed).state is JobState.ACCEPTED


def test_a_stop_while_nothing_is_open_says_nothing(federation):
    fed = federation()
    assert list(fed.members["org-0"].retire()) == []
    asked(fed)
    until(fed, "opened")
    assert not catch_up(fed, "org-0")
    assert list(fed.members["org-0"].retire()) == []


# The ledger


def test_frozen_values_that_changed_on_the_disk_are_not_contributed(federation):
    fed = federation()
    asked(fed)
    round_ = until(fed, "collecting")
    rows = fed.parties[0].rows
    for key, value in list(rows.all("frozen")):
        rows.erase("frozen", key)
        rows.put([("frozen", key, bytes([value[0] ^ 1]) + value[1:])])
    fed.step(fed.parties[0])
    assert 1 not in round_.contributions
    assert "not those that were joined with" in str(fed.errors[-1][1])


def test_a_manifest_with_a_join_from_before_the_start_gets_no_contribution(federation):
    fed = federation()
    asked(fed)
    round_ = until(fed, "collecting")
    fed.restart("org-0")
    assert not catch_up(fed, "org-0")
    member = fed.members["org-0"]
    secrets = member._setup.secrets(round_.ask and job_of(fed).epoch, fed.blobs.__getitem__)
    with pytest.raises(RefusedError, match="since it started"):
        member._desk.ledger.contribute(round_, secrets, me=1, quota=1 << 27, certified={}, ready={})
    with pytest.raises(RefusedError, match="since it started"):
        member._desk.ledger.state(round_, me=1, opens=False)


def test_one_data_snapshot_for_a_job(federation):
    fed = federation(4, 2)
    asked(fed)
    until(fed, "announced", step=1)
    fed.parties[0].learners(None).generation = 2
    try:
        listen(fed)
        assert isinstance(fed.errors[-1][1], ReplayError)
        assert job_of(fed).declined == {1: "FA401 this was used before"}
    finally:
        fed.parties[0].learners(None).generation = 1


def test_a_masked_sum_is_decoded_once_and_a_step_has_one_accepted_round(federation):
    fed = federation()
    job = fed.train(toy_request())
    ledger = fed.members["org-0"]._desk.ledger
    first, second = job.rounds
    ledger.opened(first.posted, first.published.attachment)
    with pytest.raises(ReplayError):
        ledger.opened(first.posted, second.published.attachment)
    twin = dataclasses.replace(first.posted, raw=first.posted.raw + b"\0")
    other = type(first)(first.ask, first.identities)
    other.manifest, other.close = twin, first.close
    ledger.accepted(first)
    with pytest.raises(ReplayError):
        ledger.accepted(other)
    with pytest.raises(ReplayError):
        ledger.vote(first.posted, b"another vote")


def test_the_group_keys_of_a_finished_job_are_gone_in_memory_and_at_rest(federation):
    fed = federation(3, 2)
    job = fed.train(toy_request())
    assert job.state is JobState.ACCEPTED
    setup, epoch = fed.members["org-0"]._setup, job.epoch
    kept = setup._load(epoch.digest + b"live", epoch, 1)
    for secrets in (setup.secrets(epoch, fed.blobs.__getitem__), kept):
        with pytest.raises(RefusedError):
            secrets.tag(job.number, b"state")
        assert secrets.tag(job.number + 1, b"state")
    kept.close()
