"""Whatever byte of a recorded round is changed: it is not accepted.

The round is the first step of the job, in the small ring: 27 envelopes and ten
attachments of 100 to 200 bytes, so every byte of every one is changed, in two ways.
"""

from __future__ import annotations

import pytest

from tests.independent import replay, sums
from tests.independent.encoding import Refused
from tests.independent.envelopes import read_envelope
from tests.independent.steps import MESSAGES, residues

KINDS = {"announce", "join", "manifest", "contribution", "close", "statement", "opened", "vote", "outcome"}


def flips(data: bytes):
    for at in range(len(data)):
        for bits in (0x01, 0x80):
            yield at, data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


@pytest.fixture(scope="module")
def span(recording):
    """Positions of the round's first and last envelope."""
    kinds = [read_envelope(raw).kind for raw in recording.log]
    start = kinds.index("job-start")
    return kinds.index("announce", start), kinds.index("outcome", start) + 1


def test_any_changed_byte_of_any_envelope_of_a_round_is_refused(recording, span):
    log, seen, tried = recording.new_log(), set(), 0
    for position, raw in enumerate(recording.log[: span[1]]):
        if position >= span[0]:
            seen.add(read_envelope(raw).kind)
            for _, changed in flips(raw):
                tried += 1
                with pytest.raises(Refused):
                    log.admit(changed)
        log.admit(raw)
    assert seen == KINDS
    assert tried > 20_000


def test_any_changed_byte_of_any_attachment_of_a_round_is_refused(recording, span):
    tried = 0
    for raw in recording.log[span[0] : span[1]]:
        envelope = read_envelope(raw)
        if not envelope.attached:
            continue
        for _, changed in flips(recording.fetch(envelope)):
            tried += 1
            with pytest.raises(Refused):
                replay.checked_attachment(envelope, changed)
    assert tried > 2_000


def test_set_up_messages_are_refused_as_well_with_any_changed_byte(recording, span):
    """Every third byte, so that every field of every kind is met; the round itself is covered in full."""
    log = recording.new_log()
    for raw in recording.log[: span[0]]:
        for at in range(len(raw) % 3, len(raw), 3):
            with pytest.raises(Refused):
                log.admit(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        log.admit(raw)


@pytest.fixture(scope="module")
def opener(recording):
    """Open a round of the job with one message changed; its sender has signed the change."""
    log = recording.whole_log()
    keys = replay.keys_of(recording, log)

    def attempt(nth: int, envelope, changed: bytes) -> list[int]:
        entry = log.jobs[1].rounds[nth]
        body = residues(changed, MESSAGES[envelope.kind], entry.manifest)
        if envelope.kind == "opened":
            return replay.opening(recording, keys, entry, body)
        true = replay.body_of(recording, envelope, entry)
        layout = entry.ask.layout
        wire = sums.prod(layout.ring.wire)
        masked = layout.from_bytes(replay.body_of(recording, entry.opened, entry))
        parts = zip(masked, layout.from_bytes(body), layout.from_bytes(true), strict=True)
        total = [[(m + b - t) % wire for m, b, t in zip(*part, strict=True)] for part in parts]
        return replay.opening(recording, keys, entry, layout.to_bytes(total))

    def signed_changes(nth: int, stride: int) -> tuple[int, int]:
        """Return how many changes were refused, and how many were only more noise."""
        entry = log.jobs[1].rounds[nth]
        right = recording.rounds[entry.manifest.hash]["opened"]
        sent = [entry.contributions[index] for index in entry.contributors]
        sent += [entry.statements[index][1] for index in entry.manifest.decryptors] + [entry.opened]
        refused = noise = 0
        for envelope in sent:
            for _, changed in list(flips(recording.fetch(envelope)))[::stride]:
                try:
                    assert attempt(nth, envelope, changed) == right
                    noise += 1
                except Refused:
                    refused += 1
        return refused, noise

    return signed_changes


def test_a_change_that_its_sender_signed_gives_the_same_integers_or_none(opener):
    """The small ring has one prime on the wire, so a low bit of a residue is noise: it opens to the same sum."""
    refused, noise = opener(0, 3)
    assert refused > noise > 0


def test_in_the_large_ring_any_signed_change_of_a_residue_is_refused(opener):
    """A residue mod one of three primes moves the coefficient by a multiple of the product of the others."""
    refused, noise = opener(2, 29)
    assert refused > 50
    assert noise == 0
