"""The fold: every envelope has one place, one sender and one time."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from fedanomaly.errors import FedAnomalyError, MessageError, ProtocolError, ReplayError, VersionError
from fedanomaly.protocol import Entry, Transcript, seal
from fedanomaly.protocol.messages import Enrol, JobEnd, Outcome
from tests.unit.protocol.folding import at, body, changed, folded, snapshot
from tests.unit.protocol.toy import toy_request


def test_the_same_log_folds_to_the_same_state(finished):
    assert snapshot(folded(finished, len(finished.log))) == snapshot(finished.coordinator.transcript)


def test_every_envelope_is_refused_a_second_time(finished):
    for count, entry in enumerate(finished.log, 1):
        transcript = folded(finished, count)
        before = snapshot(transcript)
        with pytest.raises(ReplayError):
            transcript.add(dataclasses.replace(entry, seq=count + 1))
        assert snapshot(transcript) == before


def test_what_the_coordinator_says_is_refused_while_what_it_rests_on_is_missing(finished):
    log = finished.log
    spoken = [index for index, entry in enumerate(log) if entry.envelope.sender == finished._identity.public_key]
    for missing, following in itertools.pairwise(spoken):
        transcript = folded(finished, missing)
        before = snapshot(transcript)
        with pytest.raises(FedAnomalyError):
            transcript.check(log[following].envelope)
        assert snapshot(transcript) == before


def test_another_federation_an_unknown_kind_and_a_bent_signature_are_refused(finished):
    transcript = folded(finished, len(finished.log))
    member = finished.parties[0].identity
    with pytest.raises(ProtocolError, match="another federation"):
        transcript.check(seal(member, bytes(32), "enrol", b"").envelope)
    with pytest.raises(VersionError, match="not known"):
        transcript.check(seal(member, finished._federation, "gossip", b"").envelope)
    good = seal(member, finished._federation, "enrol", Enrol(name="x").to_bytes()).envelope
    with pytest.raises(ProtocolError, match="signature"):
        transcript.check(dataclasses.replace(good, signature=bytes(64)))


def test_entries_follow_one_another_without_gaps(finished):
    transcript = folded(finished, 3)
    with pytest.raises(ProtocolError, match="does not follow"):
        transcript.add(dataclasses.replace(finished.log[3], seq=5))
    transcript.skip(Entry(9, 0.0, finished.log[3].envelope))
    assert transcript.head == 3
    transcript.skip(Entry(4, 0.0, finished.log[3].envelope))
    assert transcript.head == 4


Z = bytes(32)


def test_an_acceptance_needs_its_quorum(finished):
    position = at(finished, "vote", 2)
    transcript = folded(finished, position)
    message = Outcome(ask=transcript.open_job.open_round.ask.digest, outcome="accepted", reason="")
    with pytest.raises(ProtocolError, match="quorum"):
        transcript.check(seal(finished._identity, finished._federation, "outcome", message.to_bytes()).envelope)


def test_a_job_is_not_trained_before_its_last_step(finished):
    position = at(finished, "announce", 3)
    transcript = folded(finished, position)
    message = JobEnd(epoch=transcript.live.id, job=1, outcome="accepted", reason="")
    with pytest.raises(ProtocolError, match="not trained"):
        transcript.check(seal(finished._identity, finished._federation, "job-end", message.to_bytes()).envelope)


def test_the_log_opens_once_and_first(finished):
    transcript = Transcript(finished._federation, finished._identity.public_key)
    with pytest.raises(ProtocolError, match="opened once, and first"):
        transcript.check(finished.log[1].envelope)


def test_a_complete_federation_takes_nobody_else(finished):
    from fedanomaly.node.keystore import Keystore

    transcript = folded(finished, len(finished.log))
    late = seal(Keystore(b"\7" * 32, bytes(32)), finished._federation, "enrol", Enrol(name="late").to_bytes()).envelope
    with pytest.raises(ProtocolError, match="complete"):
        transcript.check(late)
    again = seal(finished.parties[0].identity, finished._federation, "enrol", Enrol(name="other").to_bytes()).envelope
    with pytest.raises(ReplayError):
        transcript.check(again)


def test_a_member_that_did_not_join_does_not_contribute_and_one_off_the_list_opens_nothing(finished):
    position = at(finished, "contribution")
    transcript = folded(finished, position)
    round_ = transcript.rounds[body(finished, "contribution").manifest]
    thinner = dataclasses.replace(round_.manifest, joins=round_.manifest.joins[1:], decryptors=(2, 3))
    round_.manifest = thinner
    party = finished.parties[0]
    message = body(finished, "contribution")
    bent = dataclasses.replace(message, manifest=thinner.hash)
    with pytest.raises(ProtocolError, match="joined"):
        transcript.check(seal(party.identity, finished._federation, "contribution", bent.to_bytes(), b"x").envelope)
    from fedanomaly.protocol.messages import Statement

    void = Statement(manifest=thinner.hash, opens=False, contributors=())
    with pytest.raises(ProtocolError, match="decryptors"):
        transcript.check(seal(party.identity, finished._federation, "statement", void.to_bytes()).envelope)


def test_an_abandoned_round_takes_void_and_then_ends_void(finished):
    from fedanomaly.protocol.messages import Abandon, Statement

    position = at(finished, "statement", 4)
    transcript = folded(finished, position)
    round_ = transcript.open_job.open_round
    seq = position
    say = lambda signer, message: seal(signer, finished._federation, message.kind, message.to_bytes()).envelope  # noqa: E731
    abandon = Abandon(manifest=round_.manifest.hash, reason="late")
    transcript.add(Entry(seq + 1, 0.0, say(finished._identity, abandon)))
    with pytest.raises(ReplayError):
        transcript.check(say(finished._identity, dataclasses.replace(abandon, reason="again")))
    void = Statement(manifest=round_.manifest.hash, opens=False, contributors=())
    silent = [party for index, party in enumerate(finished.parties, 1) if index not in round_.statements]
    for offset, party in enumerate(silent):
        transcript.add(Entry(seq + 2 + offset, 0.0, say(party.identity, void)))
    accepted = Outcome(ask=round_.ask.digest, outcome="accepted", reason="")
    with pytest.raises(ProtocolError, match="void"):
        transcript.check(say(finished._identity, accepted))
    transcript.check(say(finished._identity, dataclasses.replace(accepted, outcome="void")))


def test_a_member_cannot_fill_the_log_with_requests(finished):
    transcript = folded(finished, len(finished.log))
    member = finished.parties[1].identity
    for tag in range(17):
        request = toy_request(100 + tag)
        post = seal(member, finished._federation, request.kind, request.to_bytes())
        entry = Entry(transcript.head + 1, 0.0, post.envelope)
        if tag < 16:
            transcript.add(entry)
    with pytest.raises(ProtocolError, match="wait already"):
        transcript.add(entry)


def test_a_round_is_not_announced_before_anybody_is_ready(finished):
    transcript = folded(finished, at(finished, "job-start") + 1)
    with pytest.raises(ProtocolError, match="nobody is ready"):
        transcript.check(finished.log[at(finished, "announce", 2)].envelope)


def test_a_manifest_belongs_to_the_round_that_was_announced(finished):
    earlier = body(finished, "manifest", 2)
    transcript, envelope = changed(finished, "manifest", 3, manifest=earlier.manifest, attachment=True)
    with pytest.raises(ProtocolError, match="something else"):
        transcript.check(envelope)
    round_ = transcript.rounds[round_hash(earlier)]
    with pytest.raises(ProtocolError, match="no such manifest"):
        round_.of(Z)


def round_hash(posted) -> bytes:
    from fedanomaly.fhe import Manifest

    return Manifest.from_bytes(posted.manifest).hash


def test_a_member_declines_once(finished):
    from fedanomaly.protocol.messages import Decline

    transcript = folded(finished, at(finished, "ready") + 1)
    party = finished.parties[0]
    job = transcript.open_job
    for reason in ("one", "two"):
        decline = Decline(epoch=job.epoch.id, job=1, reason=reason)
        post = seal(party.identity, finished._federation, decline.kind, decline.to_bytes())
        entry = Entry(transcript.head + 1, 0.0, post.envelope)
        if reason == "one":
            transcript.add(entry)
    with pytest.raises(ReplayError, match="has answered"):
        transcript.add(entry)
    assert job.declined == {1: "one"}


def test_a_reason_is_short(finished):
    from fedanomaly.protocol.messages import Decline

    transcript = folded(finished, at(finished, "ready") + 1)
    long = Decline(epoch=transcript.open_job.epoch.id, job=1, reason="x" * 10_000)
    post = seal(finished.parties[0].identity, finished._federation, long.kind, long.to_bytes())
    with pytest.raises(MessageError, match="reason"):
        transcript.check(post.envelope)


def test_a_self_test_passes_by_sums_that_opened(finished):
    position = at(finished, "announce") + 1
    transcript = folded(finished, position)
    ask = transcript.open_job.open_round.ask
    say = lambda message: seal(finished._identity, finished._federation, message.kind, message.to_bytes()).envelope  # noqa: E731
    transcript.add(Entry(position + 1, 0.0, say(Outcome(ask=ask.digest, outcome="void", reason="late"))))
    passed = JobEnd(epoch=transcript.epoch.id, job=0, outcome="accepted", reason="")
    with pytest.raises(ProtocolError, match="has not passed"):
        transcript.check(say(passed))
    transcript.check(say(dataclasses.replace(passed, outcome="void")))
