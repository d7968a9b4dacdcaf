"""A member that forges, scales, replays and lies: the sum is rejected, and nobody is exposed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedanomaly.errors import DataError, MessageError, ProtocolError, ReplayError
from fedanomaly.fhe import Contribution, DecryptionShare, Manifest
from fedanomaly.protocol import JobState
from fedanomaly.protocol.messages import TRAINED, Decline, Join, Ready, Statement, Vote
from fedanomaly.protocol.rounds import quorum, set_hash
from tests.attacks.fork import private
from tests.sums import added
from tests.unit.protocol.driving import (
    asked,
    enrol_all,
    job_of,
    listen,
    meddle,
    pass_time,
    read,
    recorded,
    signed_by,
    until,
)
from tests.unit.protocol.toy import toy_request

BAD = 4


def secrets_of(fed, index: int):
    member = fed.members[f"org-{index - 1}"]
    return member._setup.secrets(member.transcript.epoch, fed.blobs.__getitem__)


def by_bad(fed, post, kind: str) -> bool:
    return post.envelope.kind == kind and post.envelope.sender == fed.parties[BAD - 1].identity.public_key


def instead(fed, kind: str, attachment) -> None:
    """Let the bad member attach something else to what it posts in a real job."""

    def change(post):
        if not by_bad(fed, post, kind):
            return (post,)
        manifest = fed.coordinator.transcript.rounds[read(post).manifest].posted
        if manifest.ask.kind == "test":
            return (post,)
        return (signed_by(fed, BAD, read(post), attachment(manifest, post.attachment)),)

    meddle(fed, change)


def assert_rejected(fed) -> None:
    """Every honest vote says no and nothing else, nobody keeps a model, and the next job over new keys runs."""
    job = job_of(fed)
    assert job.state is JobState.REJECTED
    votes = job.rounds[-1].votes
    assert {(vote.accept, vote.state_tag, vote.next_step) for vote in votes.values()} == {
        (False, bytes(32), TRAINED.to_bytes())
    }
    assert all(member.state(job) is None for member in fed.members.values())


def scaled(manifest: Manifest, attachment: bytes, times: int) -> bytes:
    contribution = Contribution.from_bytes(attachment, manifest)
    return Contribution(manifest.hash, added(manifest, [contribution] * times).residues).to_bytes()


# Contributions


@pytest.mark.parametrize("times", [0, 2, 3])
def test_a_scaled_contribution_makes_the_sum_rejected(federation, times):
    fed = federation(4, 2)
    instead(fed, "contribution", lambda manifest, attachment: scaled(manifest, attachment, times))
    asked(fed)
    fed.pump()
    assert_rejected(fed)


def test_the_contribution_of_another_member_cannot_be_doubled_as_its_own(federation):
    fed = federation(4, 2)

    def copied(manifest, attachment):
        round_ = fed.coordinator.transcript.rounds[manifest.hash]
        return fed.blobs[round_.contributions[1].attachment]

    instead(fed, "contribution", copied)
    asked(fed)
    fed.pump()
    assert_rejected(fed)


def test_a_contribution_of_an_earlier_round_under_a_new_label_makes_the_sum_rejected(federation):
    fed = federation(4, 2)
    kept = []

    def old(manifest, attachment):
        kept.append(Contribution.from_bytes(attachment, manifest))
        if manifest.ask.job == 1:
            return attachment
        return Contribution(manifest.hash, kept[0].residues).to_bytes()

    instead(fed, "contribution", old)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    fed.post(fed.members["org-0"].request(toy_request(0)))
    fed.pump()
    assert_rejected(fed)


def test_values_beyond_the_declared_range_are_not_even_encrypted(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    ask = round_.ask
    values = np.full(ask.fields, 1 << ask.layout.value_bits, dtype=np.uint64)
    with pytest.raises(DataError):
        secrets_of(fed, BAD).contribution(round_.posted, values)


# Statements


@pytest.mark.parametrize("how", ["another set", "zeros", "scaled", "of the contribution", "of another member"])
def test_a_wrong_share_makes_the_sum_rejected(federation, how):
    fed = federation(4, 2)

    def wrong(manifest, attachment):
        round_ = fed.coordinator.transcript.rounds[manifest.hash]
        if how == "another set":
            return secrets_of(fed, BAD).share(manifest, (1, 2, BAD)).to_bytes()
        if how == "of another member":
            return fed.blobs[round_.statements[1][1].attachment]
        times = {"zeros": 0, "scaled": 2, "of the contribution": 1}[how]
        share = DecryptionShare.from_bytes(attachment, manifest)
        if how == "of the contribution":
            share = Contribution.from_bytes(fed.blobs[round_.contributions[BAD].attachment], manifest)
        return DecryptionShare(manifest.hash, added(manifest, [share] * times).residues).to_bytes()

    instead(fed, "statement", wrong)
    asked(fed)
    fed.pump()
    assert_rejected(fed)


def test_a_void_instead_of_a_share_ends_the_round_and_exposes_nobody(federation):
    fed = federation(4, 2)
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, BAD, Statement(manifest=read(post).manifest, opens=False, contributors=())),)
            if by_bad(fed, post, "statement")
            else (post,)
        ),
    )
    asked(fed)
    fed.pump()
    pass_time(fed, 600)
    job = job_of(fed)
    assert job.state is JobState.VOID
    assert all(entry.opened is None for entry in job.rounds)
    assert len(job.rounds) == fed.coordinator.settings.attempts


def test_a_second_statement_is_refused(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    listen(fed)
    void = Statement(manifest=round_.posted.hash, opens=False, contributors=())
    smaller = Statement(manifest=round_.posted.hash, opens=True, contributors=(1, 2, BAD))
    share = secrets_of(fed, BAD).share(round_.posted, (1, 2, BAD)).to_bytes()
    with pytest.raises(ReplayError):
        fed.post(signed_by(fed, BAD, void))
    with pytest.raises(ProtocolError):
        fed.post(signed_by(fed, BAD, smaller, share))


# Votes


def vote_of(round_, **changes) -> Vote:
    facts = {
        "manifest": round_.posted.hash,
        "contributors": set_hash(round_.contributors),
        "masked": round_.published.attachment,
        "accept": True,
        "state_tag": b"\7" * 32,
        "next_step": TRAINED.to_bytes(),
    }
    return Vote(**{**facts, **changes})


def test_a_forged_vote_does_not_change_what_the_honest_voted_for(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "opened")
    fed.post(signed_by(fed, BAD, vote_of(round_)))
    listen(fed, "org-0", "org-1", "org-2")
    assert round_.won.state_tag == round_.votes[1].state_tag != b"\7" * 32
    with pytest.raises(ReplayError):
        fed.post(signed_by(fed, BAD, vote_of(round_, accept=False)))
    fed.pump()
    job = job_of(fed)
    assert job.state is JobState.ACCEPTED
    assert fed.members["org-0"].state(job) is not None


def test_a_vote_counts_for_who_signed_it(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "opened")
    forged = signed_by(fed, BAD, vote_of(round_)).envelope
    for victim in fed.parties[:3]:
        with pytest.raises(ProtocolError, match="signature"):
            fed.coordinator.check(dataclasses.replace(forged, sender=victim.identity.public_key), None)
    for wrong in ({"masked": bytes(32)}, {"contributors": set_hash((1, 2, 3))}):
        with pytest.raises(ProtocolError, match="another sum"):
            fed.post(signed_by(fed, BAD, vote_of(round_, **wrong)))


def test_without_the_honest_no_state_becomes_current(federation):
    """Where a quorum needs everybody, one liar ends the job; it never decides it."""
    fed = federation(3, 2)
    asked(fed)
    round_ = until(fed, "opened")
    fed.post(signed_by(fed, 3, vote_of(round_)))
    fed.pump()
    assert round_.winning_vote() is None
    assert job_of(fed).state is JobState.REJECTED


@pytest.mark.parametrize("members", range(3, 41))
def test_two_quorums_share_an_honest_member_and_colluders_alone_are_none(members):
    for threshold in range(2, members):
        needed = quorum(members, threshold)
        assert 2 * needed - members >= threshold  # t - 1 of them may be colluders
        assert threshold - 1 < needed <= members


# Joins and jobs


def test_the_join_of_another_member_is_no_join_of_its_own(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    fed.step(fed.parties[0])
    copied = read(fed.log[-1])
    assert isinstance(copied, Join)
    with pytest.raises(ProtocolError, match="signature"):
        fed.post(signed_by(fed, BAD, copied))
    assert BAD not in round_.joins


def test_nobody_declines_or_is_ready_for_another(federation):
    fed = federation(4, 2)
    asked(fed)
    until(fed, "announced")
    job = job_of(fed)
    decline = signed_by(fed, BAD, Decline(epoch=job.epoch.id, job=1, reason="")).envelope
    with pytest.raises(ProtocolError, match="signature"):
        fed.coordinator.check(dataclasses.replace(decline, sender=fed.parties[0].identity.public_key), None)
    late = Ready(
        epoch=job.epoch.id, job=1, generation=9, relations=b"", state_tag=bytes(32), next_step=TRAINED.to_bytes()
    )
    with pytest.raises(ReplayError):
        fed.post(signed_by(fed, BAD, late))


def test_one_liar_about_the_start_is_left_out_of_what_the_others_agree_on(federation):
    fed = federation(5, 2)
    sent = recorded(fed)
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, BAD, dataclasses.replace(read(post), state_tag=bytes(32))),)
            if by_bad(fed, post, "ready")
            else (post,)
        ),
    )
    asked(fed)
    fed.pump()
    job = job_of(fed)
    assert job.takes_part() == (1, 2, 3, 5)
    assert job.state is JobState.ACCEPTED
    assert private(sent)


# Set-up


def test_the_deal_of_another_member_is_no_deal_of_its_own(federation):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)

    def replay(post):
        if not by_bad(fed, post, "deal"):
            return (post,)
        receiver = read(post).receiver
        source = next(sender for sender in (1, 2) if sender != receiver)
        dealt = fed.coordinator.transcript.epoch.deals[source, receiver]
        return (signed_by(fed, BAD, read(post), fed.blobs[dealt.attachment]),)

    meddle(fed, replay)
    fed.pump()
    epoch = fed.coordinator.transcript.epoch
    assert set(epoch.confirms) == {BAD}
    assert {type(error) for _, error in fed.errors} == {MessageError}
    assert fed.coordinator.transcript.live is None


def test_a_deal_to_one_member_is_no_deal_to_another(federation):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)

    def mix_up(post):
        if not by_bad(fed, post, "deal") or read(post).receiver != 2:
            return (post,)
        to_another = fed.coordinator.transcript.epoch.deals[BAD, 1].attachment
        return (signed_by(fed, BAD, read(post), fed.blobs[to_another]),)

    meddle(fed, mix_up)
    fed.pump()
    assert set(fed.coordinator.transcript.epoch.confirms) == {1, 3, BAD}
