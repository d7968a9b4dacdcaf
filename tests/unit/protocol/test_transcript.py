"""The fold: every envelope has one place, one sender and one time."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from fedanomaly.errors import FedAnomalyError, MessageError, ProtocolError, ReplayError, VersionError
from fedanomaly.protocol import Entry, JobState, Settings, Transcript, seal
from fedanomaly.protocol.messages import Enrol, Founded, JobEnd, Outcome
from fedanomaly.protocol.settings import policy_hash
from tests.unit.protocol.toy import toy_request


@pytest.fixture(scope="module")
def finished():
    """A federation whose log holds one whole job."""
    from fedanomaly.protocol import Settings
    from fedanomaly.simulation import Federation, Party
    from tests.unit.protocol.toy import ToyLearner, toy_rows

    learners = [ToyLearner(toy_rows(index)) for index in range(3)]
    parties = [Party(f"org-{index}", lambda _, own=own: own) for index, own in enumerate(learners)]
    fed = Federation(Settings(name="toy", members=3, threshold=2), parties)
    fed.enrol()
    assert fed.train(toy_request()).state is JobState.ACCEPTED
    yield fed
    fed.close()


def folded(fed, count: int) -> Transcript:
    transcript = Transcript(fed._federation, fed._identity.public_key)
    for entry in fed.log[:count]:
        transcript.add(entry)
    return transcript


def snapshot(transcript: Transcript) -> tuple:
    """What an envelope could change."""
    return (
        transcript.head,
        tuple(transcript.members),
        tuple(transcript.requests),
        tuple((epoch.state, len(epoch.deals), len(epoch.accepts)) for epoch in transcript.epochs),
        tuple(
            (
                job.state,
                len(job.ready),
                len(job.declined),
                tuple((entry.state, len(entry.joins)) for entry in job.rounds),
            )
            for job in transcript.jobs
        ),
    )


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


def test_members_cannot_speak_for_the_coordinator_nor_the_coordinator_for_members(finished):
    for count, entry in enumerate(finished.log):
        transcript = folded(finished, count)
        envelope = entry.envelope
        forged_by = (
            finished.parties[0].identity if envelope.sender == finished._identity.public_key else finished._identity
        )
        attached = finished.blobs.get(envelope.attachment)
        forged = seal(forged_by, finished._federation, envelope.kind, envelope.body, attached).envelope
        with pytest.raises(ProtocolError, match=r"may not post|roster|only members"):
            transcript.check(forged)


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


def at(fed, kind: str, nth: int = 0) -> int:
    """Position of the nth envelope of a kind."""
    return [index for index, entry in enumerate(fed.log) if entry.envelope.kind == kind][nth]


def body(fed, kind: str, nth: int = 0):
    from fedanomaly.protocol.messages import KINDS

    return KINDS[kind].from_bytes(fed.log[at(fed, kind, nth)].envelope.body)


def changed(fed, kind: str, nth: int = 0, *, attachment: bool | None = None, **fields):
    """Return the fold before an envelope, and that envelope with other contents, properly signed."""
    position = at(fed, kind, nth)
    original = fed.log[position].envelope
    signers = {party.identity.public_key: party.identity for party in fed.parties}
    signer = signers.get(original.sender, fed._identity)
    attached = fed.blobs.get(original.attachment)
    if attachment is not None:
        attached = b"something" if attachment else None
    message = dataclasses.replace(body(fed, kind, nth), **fields)
    return folded(fed, position), seal(signer, fed._federation, kind, message.to_bytes(), attached).envelope


Z = bytes(32)
BENT = [
    ("enrol", 0, {"name": ""}),
    ("enrol", 0, {"name": "a\nb"}),
    ("enrol", 1, {"name": "org-0"}),
    ("epoch-call", 0, {"number": 2}),
    ("epoch-call", 0, {"threshold": 1}),
    ("epoch-call", 0, {"policy": Z}),
    ("epoch-call", 0, {"identities": (Z, Z, Z)}),
    ("hello", 0, {"call": Z}),
    ("roster", 0, {"hellos": (Z, Z, Z)}),
    ("roster", 0, {"hellos": ()}),
    ("roster", 0, {"call": Z}),
    ("roster-accept", 0, {"roster": Z}),
    ("deal", 0, {"receiver": 0}),
    ("deal", 0, {"receiver": 1}),
    ("deal", 0, {"receiver": 4}),
    ("deal", 0, {"roster": Z}),
    ("deal", 0, {"attachment": False}),
    ("confirm", 0, {"epoch": Z}),
    ("job-request", 0, {"request": b"short"}),
    ("job-request", 0, {"model": ""}),
    ("job-request", 0, {"dataset": ""}),
    ("job-start", 0, {"epoch": Z}),
    ("job-start", 0, {"job": 2}),
    ("job-start", 0, {"job": 0}),
    ("job-start", 0, {"request": Z}),
    ("ready", 0, {"epoch": Z}),
    ("ready", 0, {"job": 0}),
    ("ready", 0, {"next_step": b"x"}),
    ("ready", 0, {"job": 9}),
    ("join", 0, {"ask": Z}),
    ("join", 0, {"nonce": Z}),
    ("join", 0, {"generation": 77}),
    ("join", 0, {"signature": bytes(64)}),
    ("contribution", 0, {"manifest": Z}),
    ("contribution", 0, {"attachment": False}),
    ("close", 0, {"manifest": Z}),
    ("close", 0, {"contributors": ()}),
    ("close", 0, {"contributors": (1, 2, 4)}),
    ("close", 0, {"contributors": (3, 2, 1)}),
    ("close", 2, {"contributors": (1, 2)}),
    ("close", 0, {"contributions": (Z, Z, Z)}),
    ("statement", 0, {"manifest": Z}),
    ("statement", 0, {"opens": False}),
    ("statement", 0, {"contributors": (1, 2)}),
    ("statement", 0, {"contributors": ()}),
    ("statement", 0, {"attachment": False}),
    ("opened", 0, {"manifest": Z}),
    ("opened", 0, {"contributors": (1, 2)}),
    ("opened", 0, {"attachment": False}),
    ("vote", 0, {"manifest": Z}),
    ("vote", 0, {"masked": Z}),
    ("vote", 0, {"contributors": Z}),
    ("outcome", 0, {"ask": Z}),
    ("outcome", 0, {"outcome": "fine"}),
    ("outcome", 0, {"outcome": "opened"}),
    ("outcome", 0, {"outcome": "void"}),
    ("job-end", 0, {"job": 5}),
    ("job-end", 0, {"outcome": "done"}),
    ("job-end", 0, {"outcome": "running"}),
    ("job-end", 0, {"epoch": Z}),
    ("announce", 0, {"ask": b""}),
    ("manifest", 0, {"manifest": b"x"}),
]


@pytest.mark.parametrize(("kind", "nth", "fields"), BENT)
def test_a_bent_message_is_refused_though_its_sender_signed_it(finished, kind, nth, fields):
    transcript, envelope = changed(finished, kind, nth, **fields)
    before = snapshot(transcript)
    with pytest.raises((ProtocolError, MessageError)):
        transcript.check(envelope)
    assert snapshot(transcript) == before


def announce_with(fed, nth: int, **fields):
    from fedanomaly.fhe import Ask

    ask = Ask.from_bytes(body(fed, "announce", nth).ask)
    return changed(fed, "announce", nth, ask=dataclasses.replace(ask, **fields).to_bytes())


@pytest.mark.parametrize(
    ("nth", "fields"),
    [
        (0, {"kind": "sum"}),
        (2, {"kind": "test"}),
        (2, {"epoch": Z}),
        (2, {"roster": Z}),
        (2, {"policy": Z}),
        (2, {"job": 3}),
        (2, {"round": 1}),
        (2, {"step": 1}),
        (2, {"schema": Z}),
        (2, {"step_tag": Z}),
        (2, {"state_tag": Z}),
        (2, {"fields": 3}),
        (2, {"field_bits": 25}),
        (3, {"step": 0}),
        (3, {"round": 0}),
    ],
)
def test_a_round_is_announced_from_where_the_job_stands_and_nowhere_else(finished, nth, fields):
    transcript, envelope = announce_with(finished, nth, **fields)
    with pytest.raises((ProtocolError, MessageError, ReplayError)):
        transcript.check(envelope)


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


def test_the_policy_hash_binds_members_threshold_and_quota():
    hashes = {policy_hash(3, 2, 10), policy_hash(4, 2, 10), policy_hash(4, 3, 10), policy_hash(3, 2, 11)}
    assert len(hashes) == 4


def test_settings_survive_the_log():
    settings = Settings(name="röntgen", members=5, threshold=3, join_s=1.5, attempts=2)
    assert Settings.of(Founded.from_bytes(settings.founded().to_bytes())) == settings


SECOND = [
    ("hello", {"nonce": Z}),
    ("roster", {}),
    ("roster", {"hellos": ()}),
    ("roster-accept", {}),
    ("roster-accept", {"attachment": True}),
    ("deal", {}),
    ("deal", {"attachment": True}),
    ("confirm", {"tag": Z}),
    ("ready", {"generation": 9}),
    ("join", {"generation": 9}),
    ("manifest", {}),
    ("contribution", {"attachment": True}),
    ("close", {}),
    ("statement", {"attachment": True}),
    ("opened", {"attachment": True}),
    ("vote", {"accept": False}),
    ("outcome", {"reason": "again"}),
    ("job-end", {"reason": "again"}),
    ("job-start", {}),
    ("job-request", {"model": "other"}),
]


@pytest.mark.parametrize(("kind", "fields"), SECOND)
def test_nothing_is_said_twice_in_other_words(finished, kind, fields):
    position = at(finished, kind)
    _, again = changed(finished, kind, **fields)
    transcript = folded(finished, position + 1)
    before = snapshot(transcript)
    with pytest.raises((ReplayError, ProtocolError)):
        transcript.check(again)
    assert snapshot(transcript) == before


LATE = [
    "hello",
    "deal",
    "ready",
    "join",
    "contribution",
    "close",
    "statement",
    "opened",
    "vote",
    "manifest",
    "outcome",
    "announce",
]


@pytest.mark.parametrize("kind", LATE)
def test_what_comes_after_the_end_is_refused(finished, kind):
    """The same roles speak, in other words, when the job is over."""
    _, envelope = changed(finished, kind, **dict(SECOND).get(kind, {}))
    with pytest.raises((ReplayError, ProtocolError)):
        folded(finished, len(finished.log)).check(envelope)


def test_a_member_that_did_not_join_does_not_contribute_and_one_off_the_list_opens_nothing(finished):
    position = at(finished, "contribution")
    transcript = folded(finished, position)
    round_ = transcript.round_of(body(finished, "contribution").manifest)
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


@pytest.mark.parametrize(
    "literal",
    [
        {"name": ""},
        {"members": 2},
        {"members": 251},
        {"threshold": 1},
        {"threshold": 3},
        {"join_s": 0.0},
        {"attempts": 0},
        {"quota": 0},
        {"quota": (1 << 27) + 1},
    ],
)
def test_settings_are_checked_once(literal):
    from fedanomaly.errors import ConfigError

    with pytest.raises(ConfigError):
        Settings(**{"name": "x", "members": 3, "threshold": 2, **literal})


@pytest.mark.parametrize("literal", [{"min_members": 2}, {"min_threshold": 1}])
def test_a_policy_cannot_go_below_what_hides_anybody(literal):
    from fedanomaly.errors import ConfigError
    from fedanomaly.protocol import Policy

    with pytest.raises(ConfigError):
        Policy(**literal)


def test_a_policy_may_insist_on_a_higher_threshold(finished):
    from fedanomaly.protocol import Policy

    call = body(finished, "epoch-call")
    assert "below 3" in Policy(min_threshold=3).refuses_epoch(call)
    assert Policy().refuses_epoch(call) is None


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


def test_a_stranger_has_no_seat_whatever_it_says(finished):
    from fedanomaly.node.keystore import Keystore

    stranger = Keystore(b"\5" * 32, bytes(32))
    for count, entry in enumerate(finished.log):
        envelope = entry.envelope
        if envelope.sender == finished._identity.public_key or envelope.kind == "enrol":
            continue
        attached = finished.blobs.get(envelope.attachment)
        forged = seal(stranger, finished._federation, envelope.kind, envelope.body, attached).envelope
        with pytest.raises(ProtocolError, match=r"not on the roster|only members"):
            folded(finished, count).check(forged)


def test_a_round_is_not_announced_before_anybody_is_ready(finished):
    transcript = folded(finished, at(finished, "job-start") + 1)
    with pytest.raises(ProtocolError, match="nobody is ready"):
        transcript.check(finished.log[at(finished, "announce", 2)].envelope)


def test_a_manifest_belongs_to_the_round_that_was_announced(finished):
    earlier = body(finished, "manifest", 2)
    transcript, envelope = changed(finished, "manifest", 3, manifest=earlier.manifest, attachment=True)
    with pytest.raises(ProtocolError, match="something else"):
        transcript.check(envelope)
    round_ = transcript.round_of(round_hash(earlier))
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
