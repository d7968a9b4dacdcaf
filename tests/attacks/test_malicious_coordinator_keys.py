"""A coordinator that swaps results, lowers parameters, brings its own members or replays old keys."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.errors import ProtocolError, RefusedError, ReplayError
from fedanomaly.fhe import MaskedSum, Preset
from fedanomaly.protocol import JobState, Policy, seal
from fedanomaly.protocol.messages import (
    Announce,
    Opened,
)
from fedanomaly.protocol.participant import Participant
from tests.attacks.fork import Fork
from tests.unit.protocol.driving import (
    asked,
    enrol_all,
    job_of,
    listen,
    meddle,
    read,
    say,
    signed_by,
    until,
)
from tests.unit.protocol.toy import toy_request

# Results, parameters, rosters


@pytest.mark.parametrize("relabelled", [False, True])
def test_the_sum_of_one_job_is_not_taken_for_that_of_another(federation, relabelled):
    fed = federation(4, 2)
    first = fed.train(toy_request(1)).rounds[0]
    asked(fed, 2)
    round_ = until(fed, "closed")
    listen(fed)
    attachment = fed.blobs[first.published.attachment]
    if relabelled:
        attachment = MaskedSum(round_.posted.hash, MaskedSum.from_bytes(attachment, first.posted).residues).to_bytes()
    say(fed, Opened(manifest=round_.posted.hash, contributors=round_.contributors), attachment)
    fed.pump()
    assert {(vote.accept, vote.state_tag) for vote in round_.votes.values()} == {(False, bytes(32))}
    assert job_of(fed, 2).state is JobState.REJECTED
    assert fed.members["org-0"].state(job_of(fed, 2)) is None


@pytest.mark.parametrize(
    "lowered",
    [
        {"threshold": 3},
        {"members": 5},
        {"policy": bytes(32)},
        {"roster": bytes(32)},
        {"epoch": bytes(32)},
        {"kind": "test"},
        {"field_bits": 8},
        {"preset": Preset.N8192},
    ],
)
def test_a_round_with_other_parameters_than_the_epoch_and_the_step_is_not_joined(federation, lowered):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "announced")
    before = [entry.envelope for entry in fed.log[:-1]]
    fork = Fork(fed, "org-0", before)
    bent = dataclasses.replace(round_.ask, **lowered)
    assert fork.say(Announce(ask=bent.to_bytes())) is not None
    assert fork.answers() == []


@pytest.mark.parametrize(
    "lowered", [{"threshold": 1}, {"threshold": 3}, {"policy": bytes(32)}, {"number": 3}, {"identities": "fewer"}]
)
def test_a_key_epoch_with_another_roster_or_threshold_than_the_federation_gets_no_hello(federation, lowered):
    fed = federation(4, 2)
    call = dataclasses.replace(fed.coordinator.transcript.epoch.call, number=2)
    if "identities" in lowered:
        lowered = {"identities": call.identities[:3]}
    fork = Fork(fed, "org-0")
    assert isinstance(fork.say(dataclasses.replace(call, **lowered)), ProtocolError)
    assert fork.answers() == []


def test_members_that_the_coordinator_made_up_are_kept_out_by_pinned_identities(federation):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    pinned = tuple(party.identity.public_key for party in fed.parties[:2])
    for party in fed.parties[:2]:
        party.policy = Policy(identities=pinned)
        fed.restart(party.name)
    fed.pump()
    assert {name for name, _ in fed.errors} == {"org-0", "org-1"}
    assert all("not pinned here" in str(error) for _, error in fed.errors)
    assert set(fed.coordinator.transcript.epoch.hellos) == {3, 4}
    assert not fed.parties[0].vault._sealed


def test_nothing_of_one_key_epoch_is_taken_in_another(federation):
    """Whatever was ever said: as it was, and said again by who said it, about the new epoch."""
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    old = [entry.envelope for entry in fed.log]
    fed._append(fed.coordinator.new_epoch())
    listen(fed, "org-0", "org-1", "org-2")
    fork = Fork(fed, "org-0")
    for envelope in old:
        assert isinstance(fork.show(envelope), ReplayError)
    signers = {party.identity.public_key: party.identity for party in fed.parties}
    for envelope in old:
        if envelope.sender in signers and envelope.kind not in {"enrol", "job-request"}:
            attached = (fed.blobs.get(envelope.attachment) or b"") + b"again"
            again = seal(signers[envelope.sender], fed._federation, envelope.kind, envelope.body, attached)
            assert isinstance(fork.show(again.envelope), ProtocolError), envelope.kind
    assert fork.answers() == []


def test_old_deals_do_not_open_in_a_new_epoch(federation):
    fed = federation(4, 2)
    old = {
        (read(entry).receiver): entry
        for entry in fed.log
        if entry.envelope.kind == "deal" and entry.envelope.sender == fed.parties[3].identity.public_key
    }
    fed._append(fed.coordinator.new_epoch())
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, 4, read(post), fed.blobs[old[read(post).receiver].envelope.attachment]),)
            if post.envelope.kind == "deal" and post.envelope.sender == fed.parties[3].identity.public_key
            else (post,)
        ),
    )
    fed.pump()
    assert set(fed.coordinator.transcript.epoch.confirms) == {4}
    assert fed.coordinator.transcript.live is None


def test_a_self_test_never_sums_data(federation):
    """Under kind test a node sends zeros, also if it is asked between real rounds."""
    fed = federation(4, 2)
    asked(fed)
    until(fed, "announced", step=1)
    fork = Fork(fed, "org-0")
    test = dataclasses.replace(fork.log.jobs[0].rounds[0].ask, round=2)
    assert fork.say(Announce(ask=test.to_bytes())) is not None
    member = fork.member
    participant = Participant(member._desk, fork.log.jobs[0], None, None)
    with pytest.raises(RefusedError, match="sums zeros"):
        participant._zeros(dataclasses.replace(test, schema=b"\1" * 32))
