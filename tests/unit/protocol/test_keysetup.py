"""Setting a key epoch up: no dealer, no trust in the coordinator, a crash at any instant."""

from __future__ import annotations

import dataclasses
import os

import pytest

from fedanomaly.errors import FedAnomalyError, MessageError, ProtocolError, RefusedError, ReplayError
from fedanomaly.protocol import Entry, EpochState, JobState, Policy, Transcript, seal
from fedanomaly.protocol.messages import Confirm, Deal, Hello, Roster
from tests.unit.protocol.driving import (
    asked,
    catch_up,
    enrol_all,
    job_of,
    listen,
    meddle,
    read,
    say,
    set_up_to,
    signed_by,
)
from tests.unit.protocol.mortal import Machine, pump
from tests.unit.protocol.toy import toy_request

SETUP_WRITES = [
    "save",
    "put hello",
    "put roster",
    "put deal",
    "put deal",
    "put confirm",
    "save",
    "destroy",
    "erase deal",
    "erase deal",
]


def called(federation, members: int = 3, threshold: int = 2):
    """A federation in which everybody is enrolled and the first epoch is called."""
    fed = federation(members, threshold, enrol=False)
    enrol_all(fed)
    assert fed.coordinator.transcript.epoch.state is EpochState.CALLED
    return fed


def test_these_are_all_durable_writes_of_a_set_up(federation):
    fed = called(federation)
    machine = Machine(fed.parties[1])
    fed.restart("org-1")
    fed.pump()
    assert machine.writes[: len(SETUP_WRITES)] == SETUP_WRITES
    assert machine.writes[len(SETUP_WRITES)].startswith("put join")


@pytest.mark.parametrize("stops_before", range(len(SETUP_WRITES) + 1))
def test_a_crash_between_any_two_durable_writes_changes_nothing_in_the_end(federation, stops_before):
    fed = called(federation)
    Machine(fed.parties[1], stops_before)
    fed.restart("org-1")
    assert pump(fed, "org-1")
    fed.pump()
    for _ in range(30):  # a crash at the first join costs a round of the self-test
        fed.now_s += 20
        fed.pump()
    epoch = fed.coordinator.transcript.live
    assert epoch is not None
    assert not fed.errors
    assert set(fed.parties[1].vault._sealed) == {epoch.digest + b"live"}
    assert not list(fed.parties[1].rows.all("deal"))


def test_a_hello_that_this_node_did_not_write_is_not_accepted(federation):
    """A twin, or whoever stole the identity, said hello first."""
    fed = called(federation)
    call = fed.coordinator.transcript.epoch.digest
    stolen = Hello(
        call=call,
        nonce=os.urandom(32),
        hello=fed.parties[0].vault.generate(b"x", members=3, threshold=2, index=2).hello(),
    )
    fed.post(signed_by(fed, 2, stolen))
    fed.pump()
    assert 2 not in fed.coordinator.transcript.epoch.accepts
    assert isinstance(fed.errors[-1][1], RefusedError)
    assert "did not write" in str(fed.errors[-1][1])
    assert fed.coordinator.transcript.live is None


def test_the_coordinator_cannot_put_another_hello_into_the_roster(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.CALLED)
    listen(fed)
    transcript = fed.coordinator.transcript
    epoch = transcript.epoch
    own = dataclasses.replace(read(fed.log[-1]), nonce=bytes(32))
    with pytest.raises(ProtocolError, match="may not post"):
        transcript.check(seal(fed._identity, fed._federation, "hello", own.to_bytes()).envelope)
    posted = [epoch.hellos[index][1].digest for index in (1, 2, 3)]
    for listed in ([posted[0], posted[0], posted[2]], posted[::-1], [*posted[:2], bytes(32)], posted[:2]):
        bent = Roster(call=epoch.digest, hellos=tuple(listed))
        with pytest.raises(ProtocolError, match="what was posted"):
            transcript.check(seal(fed._identity, fed._federation, "roster", bent.to_bytes()).envelope)


def forked_roster(fed) -> list[Entry]:
    """The log as shown to another member: the third member, a colluder, said another hello there."""
    at = next(index for index, entry in enumerate(fed.log) if entry.envelope.kind == "hello")
    shown = list(fed.log[: at + 2])
    other = dataclasses.replace(read(fed.log[at + 2]), nonce=bytes(32))
    shown.append(Entry(at + 3, 0.0, signed_by(fed, 3, other).envelope))
    hellos = tuple(entry.envelope.digest for entry in shown[at:])
    roster = Roster(call=read(fed.log[at]).call, hellos=hellos)
    shown.append(Entry(at + 4, 0.0, seal(fed._identity, fed._federation, "roster", roster.to_bytes()).envelope))
    return shown


def test_a_node_accepts_one_roster_for_an_epoch_even_after_a_restart(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.ACCEPTING)
    fed.step(fed.parties[0])
    assert fed.coordinator.transcript.epoch.accepts == {1}
    fed.restart("org-0")
    member = fed.members["org-0"]
    for entry in forked_roster(fed):
        member.accept(entry)
    with pytest.raises(ReplayError):
        list(member.act(fed.blobs.__getitem__))


def test_members_who_see_different_rosters_deal_nothing(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.ACCEPTING)
    shown = Transcript(fed._federation, fed._identity.public_key)
    for entry in forked_roster(fed):
        shown.add(entry)
    fed.step(fed.parties[0])
    with pytest.raises(ProtocolError, match="no such roster"):
        shown.check(fed.log[-1].envelope)
    deal = Deal(roster=shown.epoch.roster_hash, receiver=1)
    with pytest.raises(ProtocolError, match="before every member accepted"):
        shown.check(signed_by(fed, 3, deal, b"deal").envelope)


def test_a_ledger_restored_to_before_it_accepted_the_roster_deals_nothing(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.DEALING)
    fed.parties[0].rows.erase("roster", fed.coordinator.transcript.epoch.digest)
    fed.restart("org-0")
    fed.pump()
    assert not any(sender == 1 for sender, _ in fed.coordinator.transcript.epoch.deals)
    assert "not the one that this node accepted" in str(fed.errors[-1][1])


def test_a_node_that_lost_its_secrets_says_so_and_deals_nothing(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.DEALING)
    fed.parties[0].vault._sealed.clear()
    fed.pump()
    assert "does not hold the secrets" in str(fed.errors[-1][1])
    assert fed.coordinator.transcript.live is None


def test_no_epoch_is_confirmed_while_a_deal_is_withheld(federation):
    fed = called(federation)
    meddle(fed, lambda post: () if post.envelope.kind == "deal" and read(post).receiver == 2 else (post,))
    fed.pump()
    epoch = fed.coordinator.transcript.epoch
    assert epoch.state is EpochState.DEALING
    with pytest.raises(ProtocolError, match="not dealt yet"):
        _ = epoch.id
    with pytest.raises(ProtocolError, match="not dealt yet"):
        fed.coordinator.transcript.check(signed_by(fed, 1, Confirm(epoch=bytes(32), tag=bytes(32))).envelope)


def test_what_a_deal_is_sealed_for_names_sender_receiver_and_roster(federation):
    one, other = called(federation), called(federation)
    seen = set()
    for fed in (one, other):
        set_up_to(fed, EpochState.DEALING)
        epoch = fed.coordinator.transcript.epoch
        seen |= {epoch.deal_info(sender, receiver) for sender in (1, 2, 3) for receiver in (1, 2, 3)}
    assert len(seen) == 2 * 9


def test_the_order_of_deals_does_not_matter_but_every_deal_does(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.CONFIRMING)
    first = next(index for index, entry in enumerate(fed.log) if entry.envelope.kind == "deal")
    backwards, other = list(reversed(fed.log[first:])), list(fed.log[first:])
    other[0] = Entry(
        0, 0.0, seal(fed.parties[0].identity, fed._federation, "deal", other[0].envelope.body, b"other").envelope
    )
    ids = []
    for deals in (fed.log[first:], backwards, other):
        shown = Transcript(fed._federation, fed._identity.public_key)
        for seq, entry in enumerate([*fed.log[:first], *deals], 1):
            shown.add(Entry(seq, 0.0, entry.envelope))
        ids.append(shown.epoch.id)
    assert ids[0] == ids[1] != ids[2]
    honest = signed_by(fed, 1, Confirm(epoch=ids[0], tag=bytes(32))).envelope
    with pytest.raises(ProtocolError, match="another key epoch"):
        shown.check(honest)


def with_bad_deals(fed, dealt) -> None:
    """Let the third member deal what `dealt` returns for a receiver, instead of its own."""
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, 3, read(post), dealt(read(post).receiver) or post.attachment),)
            if post.envelope.kind == "deal" and post.envelope.sender == fed.parties[2].identity.public_key
            else (post,)
        ),
    )


@pytest.mark.parametrize("deal", [b"rubbish", bytes(10_000)])
def test_a_bad_deal_is_noticed_before_it_is_confirmed(federation, deal):
    fed = called(federation)
    with_bad_deals(fed, lambda receiver: deal if receiver == 1 else None)
    fed.pump()
    epoch = fed.coordinator.transcript.epoch
    assert set(epoch.confirms) == {2, 3}
    assert epoch.state is EpochState.CONFIRMING
    assert {type(error) for name, error in fed.errors if name == "org-0"} == {MessageError}


def test_shares_of_two_different_secrets_are_noticed_before_they_are_confirmed(federation):
    """The third member deals shares and seeds of other secrets to the second than to the first."""
    fed = called(federation)
    set_up_to(fed, EpochState.DEALING)
    epoch = fed.coordinator.transcript.epoch
    other = fed.parties[2].vault.generate(b"other", members=3, threshold=2, index=3)
    sealed = other.deal(2, hello=epoch.hello_of(2), info=epoch.deal_info(3, 2))
    with_bad_deals(fed, lambda receiver: sealed if receiver == 2 else None)
    fed.pump()
    assert set(epoch.confirms) == {1, 3}
    assert fed.coordinator.transcript.live is None


def test_secrets_that_could_not_be_finished_do_not_pile_up_in_memory(federation):
    fed = called(federation)
    opened = []
    load = fed.parties[0].vault.load
    fed.parties[0].vault.load = lambda *label, **who: opened.append(load(*label, **who)) or opened[-1]
    with_bad_deals(fed, lambda receiver: b"rubbish" if receiver == 1 else None)
    fed.pump()
    fed.pump()
    assert len(opened) > 3
    assert not [secrets for secrets in opened if secrets and secrets._handle]


def test_an_epoch_with_a_wrong_confirmation_never_lives_and_a_new_one_does(federation):
    fed = called(federation)
    lying = True
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, 3, dataclasses.replace(read(post), tag=bytes(32))),)
            if lying and post.envelope.kind == "confirm" and post.envelope.sender == fed.parties[2].identity.public_key
            else (post,)
        ),
    )
    fed.pump()
    first = fed.coordinator.transcript.epoch
    assert len(first.confirms) == 3
    assert first.state is EpochState.CONFIRMING
    lying = False
    fed._append(fed.coordinator.new_epoch())
    fed.pump()
    assert fed.coordinator.transcript.live is not first
    assert first.state is EpochState.ENDED
    assert fed.train(toy_request()).state is JobState.ACCEPTED
    assert not any(label.startswith(first.digest) for party in fed.parties for label in party.vault._sealed)


def test_the_secrets_of_an_ended_epoch_are_destroyed_even_if_this_node_refuses_the_next(federation):
    fed = federation(3, 2)
    old = fed.coordinator.transcript.live
    fed.parties[0].policy = Policy(min_members=4)
    fed.restart("org-0")
    fed._append(fed.coordinator.new_epoch())
    fed.pump()
    assert any("fewer than 4" in str(error) for _, error in fed.errors)
    assert not any(label.startswith(old.digest) for label in fed.parties[0].vault._sealed)


def test_a_vault_restored_to_before_it_confirmed_finishes_from_the_deals_in_the_log(federation):
    fed = called(federation)
    set_up_to(fed, EpochState.CONFIRMING)
    backup = dict(fed.parties[0].vault._sealed)
    fed.pump()
    fed.parties[0].vault._sealed = backup
    fed.restart("org-0")
    assert fed.train(toy_request()).state is JobState.ACCEPTED
    assert fed.members["org-0"].state(job_of(fed)) is not None


def test_a_node_without_the_secrets_of_the_epoch_declines_its_jobs(federation):
    fed = federation(3, 2)
    fed.parties[0].vault._sealed.clear()
    fed.restart("org-0")
    job = fed.train(toy_request())
    assert job.state is JobState.VOID
    assert job.declined == {1: "FA402 refused"}
    assert "start a new key epoch" in str(fed.errors[-1][1])
    fed._append(fed.coordinator.new_epoch())
    fed.pump()
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED


def test_nothing_is_said_by_who_is_not_on_the_roster(federation):
    from fedanomaly.simulation import Party

    fed = federation(3, 2)
    stranger = Party("stranger", lambda _: None)
    fed.parties.append(stranger)
    fed.members["stranger"] = fed._start(stranger)
    assert fed.train(toy_request()).state is JobState.ACCEPTED
    catch_up(fed, "stranger")
    assert list(fed.members["stranger"].act(fed.blobs.__getitem__)) == []


def test_before_the_first_call_nobody_has_a_seat(federation):
    fed = federation(3, 2, enrol=False)
    fed.pump()
    for message in (Confirm(epoch=bytes(32), tag=bytes(32)), Hello(call=bytes(32), nonce=bytes(32), hello=b"")):
        with pytest.raises(ProtocolError, match="call"):
            fed.coordinator.transcript.check(signed_by(fed, 1, message).envelope)
    asked_early = seal(fed.parties[0].identity, fed._federation, "job-request", toy_request().to_bytes())
    with pytest.raises(FedAnomalyError, match="only members"):
        fed.coordinator.transcript.check(asked_early.envelope)


def test_another_call_waits_until_the_job_is_over(federation):
    fed = federation(3, 2)
    asked(fed)
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
    with pytest.raises(ProtocolError, match="between jobs"):
        say(fed, dataclasses.replace(fed.coordinator.transcript.epoch.call, number=2))
