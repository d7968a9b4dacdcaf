"""Whatever was said once, said again in another round, job or key epoch: it counts for nothing."""

from __future__ import annotations

import pytest

from fedanomaly.errors import MessageError, ProtocolError, ReplayError
from fedanomaly.fhe import Contribution, DecryptionShare, MaskedSum
from fedanomaly.protocol import JobState, seal
from fedanomaly.protocol.messages import TRAINED, ContributionPost, ManifestPost, Opened, Statement
from tests.attacks.fork import Fork, private, raw_manifest
from tests.unit.protocol.driving import (
    asked,
    catch_up,
    job_of,
    listen,
    meddle,
    read,
    recorded,
    renew,
    signed_by,
    teach,
    until,
)
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows

DUE = {"joining": "join", "collecting": "contribution", "closed": "statement", "opened": "vote"}


@pytest.mark.parametrize("state", DUE)
def test_nothing_of_one_round_is_taken_in_another(federation, state):
    """As it was, and signed again over other bytes by whoever said it: by colluders, and by the coordinator."""
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    old = [entry.envelope for entry in fed.log]
    asked(fed, 2)
    until(fed, "announced" if state == "joining" else state)
    fork = Fork(fed, "org-0")
    honest = fork.answers()
    assert [post.envelope.kind for post in honest] == [DUE[state]]
    signers = {party.identity.public_key: party.identity for party in fed.parties}
    signers[fed._identity.public_key] = fed._identity
    for envelope in old:
        assert isinstance(fork.show(envelope), ReplayError)
        if envelope.kind in {"enrol", "job-request"}:
            continue
        attached = (fed.blobs.get(envelope.attachment) or b"") + b"again"
        again = seal(signers[envelope.sender], fed._federation, envelope.kind, envelope.body, attached)
        fed.blobs[again.envelope.attachment] = attached
        assert isinstance(fork.show(again.envelope), ProtocolError), envelope.kind
    assert fork.answers() == honest


def test_a_share_of_an_earlier_round_under_a_new_label_makes_the_sum_rejected(federation):
    fed = federation(4, 2)
    kept = []
    bad = fed.parties[3].identity.public_key

    def old(post):
        if post.envelope.kind != "statement" or post.envelope.sender != bad:
            return (post,)
        manifest = fed.coordinator.transcript.rounds[read(post).manifest].posted
        if manifest.ask.kind == "test":
            return (post,)
        kept.append(DecryptionShare.from_bytes(post.attachment, manifest))
        if manifest.ask.job == 1:
            return (post,)
        assert len(kept[0].residues) == len(kept[-1].residues)
        return (signed_by(fed, 4, read(post), DecryptionShare(manifest.hash, kept[0].residues).to_bytes()),)

    meddle(fed, old)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    for job in (2,):
        assert fed.train(toy_request(job)).state is JobState.REJECTED
    votes = job_of(fed, 2).rounds[-1].votes.values()
    assert {(vote.accept, vote.state_tag, vote.next_step) for vote in votes} == {(False, bytes(32), TRAINED.to_bytes())}


def test_a_message_of_another_round_is_refused_on_receipt_by_its_label(federation):
    """Contribution, share and masked sum name their manifest inside; so does what carries them."""
    fed = federation(4, 2)
    first = fed.train(toy_request(1)).rounds[0]
    asked(fed, 2)
    round_ = until(fed, "collecting")
    contribution = fed.blobs[first.contributions[4].attachment]
    said = ContributionPost(manifest=round_.posted.hash)
    with pytest.raises(MessageError):
        fed.post(signed_by(fed, 4, said, contribution))
    listen(fed)
    round_ = until(fed, "closed")
    share = fed.blobs[first.statements[4][1].attachment]
    said = Statement(manifest=round_.posted.hash, opens=True, contributors=(1, 2, 3, 4))
    with pytest.raises(MessageError):
        fed.post(signed_by(fed, 4, said, share))
    for kind, data in ((Contribution, contribution), (DecryptionShare, share)):
        with pytest.raises(MessageError):
            kind.from_bytes(data, round_.posted)
        with pytest.raises(MessageError):
            MaskedSum.from_bytes(data, first.posted)


def test_the_votes_of_one_sum_do_not_carry_another(federation):
    """A quorum of votes for one sum is shown with another sum: the fold counts none of them."""
    fed = federation(4, 2)
    asked(fed, 1)
    round_ = until(fed, "opened")
    fork = Fork(fed, "org-3", [entry.envelope for entry in fed.log[:-1]])
    other = MaskedSum.from_bytes(fed.blobs[round_.published.attachment], round_.posted)
    bent = MaskedSum(other.manifest, other.residues[:-1] + bytes([other.residues[-1] ^ 1])).to_bytes()
    listen(fed, "org-0", "org-1", "org-2")
    votes = [entry.envelope for entry in fed.log if entry.envelope.kind == "vote"][-3:]
    assert fork.say(Opened(manifest=round_.posted.hash, contributors=round_.contributors), bent) is None
    for vote in votes:
        assert "another sum" in str(fork.show(vote))
    assert fork.log.rounds[round_.posted.hash].winning_vote() is None
    assert fork.member.state(fork.log.jobs[-1]) is None


def test_a_nonce_from_before_a_restart_is_not_answered_for(federation):
    """The log is shown to the restarted node as it was: its own join stands in it, and it stays silent."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    fed.restart("org-0")
    fork = Fork(fed, "org-0")
    assert private(fork.answers()) == []
    assert round_.posted.join_of(1) is not None


def test_a_nonce_of_one_member_in_the_seat_of_another_is_spent_by_nobody(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    joins = [round_.joins[index] for index in (1, 2, 3, 4)]
    swapped = [type(joins[0])(**{**vars(joins[0]), "nonce": joins[1].nonce}), *joins[1:]]
    fork = Fork(fed, "org-0")
    assert fork.say(ManifestPost(manifest=raw_manifest(round_.ask, joins=swapped, decryptors=(1, 2, 3, 4)))) is not None
    assert private(fork.answers()) == []


def test_a_manifest_repeated_with_other_data_gets_the_same_bytes_or_none(federation):
    """The rows change under a node that joined: it sends what it froze, to the bit, or nothing at all."""
    fed = federation(4, 2)
    own = ToyLearner(toy_rows(0))
    teach(fed, "org-0", own)
    asked(fed)
    round_ = until(fed, "collecting")
    before = [entry.envelope for entry in fed.log]
    (sent,) = Fork(fed, "org-0").answers()
    own.rows[:] = 99
    assert Fork(fed, "org-0").answers() == [sent]
    teach(fed, "org-0", ToyLearner(toy_rows(77)))
    assert private(Fork(fed, "org-0").answers()) == []
    renew(fed, "org-0")
    again = Fork(fed, "org-0", before)
    assert private(again.answers()) == []
    assert round_.posted.hash in again.log.rounds


def test_rows_that_change_without_a_new_number_are_frozen_once_for_a_round(federation):
    """The same round is announced again after the data changed: the node has its join, and keeps to it."""
    fed = federation(4, 2)
    own = ToyLearner(toy_rows(0))
    teach(fed, "org-0", own)
    asked(fed)
    until(fed, "announced")
    fork = Fork(fed, "org-0")
    (join,) = fork.answers()
    own.rows[:] = 0
    assert fork.answers() == [join]


def test_a_vote_is_cast_once_whatever_sum_is_shown_after_a_restart(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "opened")
    before = [entry.envelope for entry in fed.log[:-1]]
    (vote,) = Fork(fed, "org-0").answers()
    fork = Fork(fed, "org-0", before)
    honest = fed.blobs[round_.published.attachment]
    bent = honest[:-1] + bytes([honest[-1] ^ 1])
    assert fork.say(Opened(manifest=round_.posted.hash, contributors=round_.contributors), bent) is None
    assert [post.envelope for post in fork.answers() if post.envelope != vote.envelope] == []


def test_what_a_member_said_before_a_new_key_epoch_is_of_no_use_in_it(federation):
    """Contributions, shares and sums of the old keys, relabelled for a round under the new ones."""
    fed = federation(4, 2)
    first = fed.train(toy_request(1)).rounds[0]
    old = Contribution.from_bytes(fed.blobs[first.contributions[4].attachment], first.posted)
    fed._append(fed.coordinator.new_epoch())
    fed.pump()
    bad = fed.parties[3].identity.public_key

    def relabelled(post):
        if post.envelope.kind != "contribution" or post.envelope.sender != bad:
            return (post,)
        manifest = fed.coordinator.transcript.rounds[read(post).manifest].posted
        return (signed_by(fed, 4, read(post), Contribution(manifest.hash, old.residues).to_bytes()),)

    meddle(fed, relabelled)
    asked(fed, 2)
    fed.pump()
    assert job_of(fed, 2).state is JobState.REJECTED
    sent = recorded(fed)
    for name in fed.members:
        assert catch_up(fed, name) == []
    assert private(sent) == []
