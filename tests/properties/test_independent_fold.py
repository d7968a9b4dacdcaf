"""Two folds of the same log: they accept the same envelopes and refuse the same ones.

At every point of a finished log both are shown messages from around that point,
as they were and with items changed, exchanged or moved to other senders, and
properly signed. Whatever one accepts the other accepts.
"""

from __future__ import annotations

import copy
import dataclasses
import random

from tests.independent.encoding import Refused, begin, item, take
from tests.independent.envelopes import BODIES, read_body
from tests.independent.log import Log
from tests.unit.protocol.folding import finished  # noqa: F401 (a fixture)

from fedanomaly.errors import FedAnomalyError
from fedanomaly.protocol import Envelope, Transcript, seal
from fedanomaly.protocol.messages import KINDS

NEAR, VARIANTS = 6, 2


def real_accepts(transcript: Transcript, raw: bytes) -> bool:
    try:
        transcript.check(Envelope.from_bytes(raw))
    except (FedAnomalyError, ValueError):
        return False
    return True


def second_accepts(log: Log, raw: bytes) -> bool:
    try:
        log.admit(raw)
    except Refused:
        return False
    return True


def both(fed) -> tuple[Transcript, Log]:
    named = (fed._federation, fed._identity.public_key)
    return Transcript(*named), Log(*named)


def bodies(log) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for entry in log:
        found.setdefault(entry.envelope.kind, []).append(entry.envelope.body)
    return found


def items_of(body: bytes) -> list[tuple[str, bytes]]:
    out = []
    while body:
        label, value, body = take(body)
        out.append((label, value))
    return out


def changed_item(value: bytes, rng: random.Random) -> bytes:
    choice = rng.randrange(5)
    if choice == 0 or not value:
        return value + b"\0"
    if choice == 1:
        return value[:-1]
    if choice == 2:
        return bytes(len(value))
    at = rng.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :]


def variant(body: bytes, kind: str, known: dict[str, list[bytes]], rng: random.Random) -> bytes:
    """Return a body with one item changed, or taken from another message of its kind."""
    own, other = items_of(body), items_of(rng.choice(known[kind]))
    at = rng.randrange(len(own))
    label, value = own[at]
    own[at] = (label, other[at][1] if rng.random() < 0.5 else changed_item(value, rng))
    return b"".join(item(name, content) for name, content in own)


def test_both_folds_accept_and_refuse_the_same_messages(finished):  # noqa: F811
    fed, rng = finished, random.Random(7)  # noqa: S311 (chooses test cases)
    signers = [*(party.identity for party in fed.parties), fed._identity]
    by_key = {signer.public_key: signer for signer in signers}
    transcript, log = both(fed)
    known, accepted, refused = bodies(fed.log), set(), set()
    for position, entry in enumerate(fed.log):
        for nearby in fed.log[max(0, position - NEAR) : position + NEAR]:
            envelope = nearby.envelope
            attached = fed.blobs[envelope.attachment] if envelope.size else None
            own, body = by_key[envelope.sender], envelope.body
            tried = [
                (own, body, attached),
                *((own, variant(body, envelope.kind, known, rng), attached) for _ in range(VARIANTS)),
                (rng.choice(signers), body, attached),
                (own, body, None if attached else b"something"),
            ]
            for signer, said, data in tried:
                raw = seal(signer, fed._federation, envelope.kind, said, data).envelope.to_bytes()
                if real_accepts(transcript, raw):
                    accepted.add(envelope.kind)
                    assert second_accepts(copy.deepcopy(log), raw), (position, envelope.kind, said)
                else:
                    refused.add(envelope.kind)
                    assert not second_accepts(log, raw), (position, envelope.kind, said)
        transcript.add(entry)
        log.admit(entry.envelope.to_bytes())
    assert accepted == refused == {entry.envelope.kind for entry in fed.log}


def test_both_refuse_to_close_with_fewer_or_others_though_what_is_named_arrived(finished):  # noqa: F811
    """The set of the second step of the job: two of three, in another order, twice the same, nobody."""
    fed, seen = finished, 0
    transcript, log = both(fed)
    for entry in fed.log:
        if entry.envelope.kind == "close":
            close = KINDS["close"].from_bytes(entry.envelope.body)
            named = dict(zip(close.contributors, close.contributions, strict=True))
            self_test = not any(job.request for job in log.jobs)
            for contributors in ((1, 2), (2, 1, 3), (1, 1, 2), (1,), (), (1, 2, 3)):
                own = tuple(named[index] for index in contributors)
                said = dataclasses.replace(close, contributors=contributors, contributions=own).to_bytes()
                raw = seal(fed._identity, fed._federation, "close", said).envelope.to_bytes()
                right = contributors == (1, 2, 3) or (self_test and contributors in ((1, 2), (1,)))
                assert real_accepts(transcript, raw) == second_accepts(copy.deepcopy(log), raw) == right
                seen += 1
        transcript.add(entry)
        log.admit(entry.envelope.to_bytes())
    assert seen == 24


def test_both_read_a_body_of_every_kind_alike():
    """Bodies of the right items and of random values: both parse them, or both do not."""
    rng = random.Random(11)  # noqa: S311 (chooses test cases)
    parsed = 0
    for kind, fields in BODIES.items():
        for _ in range(60):
            body = begin(kind)
            for field in fields.split():
                name, type_ = field.split(":")
                sizes = {"int": 8, "hash": 32, "hashes": 64, "indices": 4, "truth": 1, "text": 5, "bytes": 7}
                size = sizes[type_] + (rng.random() < 0.1)
                value = bytes(rng.randrange(2 if type_ == "truth" else 128) for _ in range(size))
                body += item(name, b"\xff" * size if rng.random() < 0.02 else value)
            try:
                KINDS[kind].from_bytes(body)
                right = True
            except (FedAnomalyError, ValueError):
                right = False
            try:
                read_body(kind, fields, body)
                found = True
            except Refused:
                found = False
            assert found == right, (kind, body)
            parsed += right
    assert parsed > 500
