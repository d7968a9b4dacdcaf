"""Messages with other contents, of other senders, at other times: properly signed, and refused."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.errors import MessageError, ProtocolError, ReplayError
from fedanomaly.protocol import seal
from tests.unit.protocol.folding import at, body, changed, folded, snapshot

Z = bytes(32)


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


BENT = [
    ("enrol", 0, {"name": ""}),
    ("enrol", 0, {"name": "a\nb"}),
    ("enrol", 1, {"name": "org-0"}),
    ("epoch-call", 0, {"number": 2}),
    ("epoch-call", 0, {"threshold": 1}),
    ("epoch-call", 0, {"policy": Z}),
    ("epoch-call", 0, {"identities": (Z, Z, Z)}),
    ("hello", 0, {"call": Z}),
    ("hello", 0, {"hello": b"short"}),
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
    ("job-request", 0, {"detector": "x" * 10_000}),
    ("job-request", 0, {"params": " " * 100_000}),
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
