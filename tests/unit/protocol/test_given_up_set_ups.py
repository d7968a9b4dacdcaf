"""A set-up that stands still is given up; who could not use what is told; damaged attachments cost no job."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.coordinator.clock import ForwardClock
from fedanomaly.errors import FedAnomalyError, MessageError, ProtocolError, ReplayError, UnavailableError
from fedanomaly.protocol import EpochState, JobState
from fedanomaly.protocol.coordinator import SET_UP_S
from fedanomaly.protocol.messages import Objection, RosterAccept
from tests.unit.protocol.driving import asked, enrol_all, job_of, meddle, read, signed_by


def stuck(federation, kind: str):
    """A federation in which the first deal, or the first hello, is of no use to others."""
    fed = federation(enrol=False)
    enrol_all(fed)
    first, bent, most = fed.parties[0].identity.public_key, [], {"deal": 2, "hello": 1}[kind]

    def change(post):
        if post.envelope.kind != kind or post.envelope.sender != first or len(bent) == most:
            return (post,)
        bent.append(post)
        message, attachment = read(post), post.attachment
        if kind == "hello":
            message = dataclasses.replace(message, hello=bytes([message.hello[0] ^ 1]) + bytes(1215) + bytes(32))
        else:
            attachment = bytes(len(attachment))
        return (signed_by(fed, 1, message, attachment),)

    meddle(fed, change)
    fed.pump()
    return fed


def test_a_set_up_with_a_bad_deal_is_given_up_and_the_next_one_lives(federation):
    fed = stuck(federation, "deal")
    first = fed.coordinator.transcript.epoch
    assert first.state is EpochState.CONFIRMING
    assert set(first.objections) == {(2, 1), (3, 1)}
    fed.now_s += SET_UP_S - 1
    fed.pump()
    assert fed.coordinator.transcript.epoch is first
    fed.now_s += 1
    fed.pump()
    assert fed.coordinator.transcript.live is not first
    assert fed.coordinator.transcript.live
    for party in fed.parties:
        assert first.digest not in party.vault._sealed
        assert not list(party.rows.all("deal"))


def test_a_hello_with_a_false_key_is_objected_to_and_the_set_up_given_up(federation):
    fed = stuck(federation, "hello")
    first = fed.coordinator.transcript.epoch
    assert first.state is EpochState.ACCEPTING  # its owner did not write it; a bad member accepts nevertheless
    fed.post(signed_by(fed, 1, RosterAccept(roster=first.roster_hash)))
    fed.pump()
    assert first.state is EpochState.DEALING
    assert first.objections == {(2, 1): "hello", (3, 1): "hello"}
    fed.now_s += SET_UP_S
    fed.pump()
    assert fed.coordinator.transcript.live
    assert fed.coordinator.transcript.live is not first


def test_patience_doubles_with_each_set_up_that_came_to_nothing(federation):
    fed = federation(enrol=False)
    enrol_all(fed)
    meddle(fed, lambda post: () if post.envelope.kind == "confirm" else (post,))
    fed.pump()
    waited = []
    for _ in range(3):
        began, calls = fed.now_s, len(fed.coordinator.transcript.epochs)
        while len(fed.coordinator.transcript.epochs) == calls:
            fed.now_s += SET_UP_S / 2
            fed.pump()
        waited.append(fed.now_s - began)
    assert waited == [SET_UP_S, 2 * SET_UP_S, 4 * SET_UP_S]


def test_nobody_is_called_again_while_a_hello_is_missing(federation):
    fed = federation(enrol=False)
    enrol_all(fed)
    meddle(fed, lambda post: () if post.envelope.kind == "hello" else (post,))
    fed.pump()
    fed.now_s += 1000 * SET_UP_S
    fed.pump()
    assert len(fed.coordinator.transcript.epochs) == 1


def test_an_objection_names_another_member_once_and_a_kind_of_message(federation):
    fed = stuck(federation, "deal")
    epoch = fed.coordinator.transcript.epoch
    good = Objection(roster=epoch.roster_hash, about=2, what="deal")
    fed.post(signed_by(fed, 1, good))
    with pytest.raises(ReplayError):
        fed.post(signed_by(fed, 1, dataclasses.replace(good, what="hello")))
    for change in ({"roster": bytes(32)}, {"about": 3}, {"about": 0}, {"about": 9}):
        with pytest.raises(ProtocolError):
            fed.post(signed_by(fed, 3, dataclasses.replace(good, **change)))
    with pytest.raises(MessageError):
        fed.post(signed_by(fed, 3, dataclasses.replace(good, what="look")))


def test_an_attachment_that_arrives_damaged_is_asked_for_again(federation):
    fed = federation()
    asked(fed)
    member, damaged = fed.members["org-1"], []

    def fetch(digest):
        damaged.append(digest)
        raise ProtocolError("the blob is not what its digest says")

    for _ in range(200):
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
        for party in fed.parties[::2]:
            fed.step(party)
        for entry in fed.log[member.transcript.head :]:
            member.accept(entry)
        try:
            for post in member.act(fetch):
                assert post.envelope.kind != "decline"
                fed.post(post)
        except UnavailableError:
            break
        except FedAnomalyError:
            continue
    assert damaged
    fed.pump()
    assert job_of(fed).state is JobState.ACCEPTED


def test_time_goes_on_when_the_clock_is_set_back_and_never_runs_backwards():
    now = {"machine": 1000.0, "steady": 5.0}
    clock = ForwardClock(lambda: now["machine"], lambda: now["steady"])
    clock.not_before(400.0)
    assert clock() == 1000.0
    now.update(machine=10.0, steady=15.0)
    assert clock() == 1010.0
    now.update(machine=20.0, steady=25.0)
    assert clock() == 1020.0
    now.update(machine=5000.0, steady=26.0)
    assert clock() == 5000.0
