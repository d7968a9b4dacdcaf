"""Envelopes: signed whole, canonical, versioned."""

from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.errors import FedAnomalyError, MessageError, ProtocolError, VersionError
from fedanomaly.node.keystore import Keystore
from fedanomaly.protocol import Envelope, seal
from fedanomaly.protocol.envelope import MAX_BODY_BYTES, write_all
from fedanomaly.protocol.messages import KINDS, Message, NextStep

SIGNER = Keystore(bytes(32), bytes(32))
FEDERATION = bytes(range(32))


def sealed(body: bytes = b"body", attachment: bytes | None = b"attached") -> Envelope:
    return seal(SIGNER, FEDERATION, "join", body, attachment).envelope


def test_an_envelope_reads_back_as_it_was_written():
    envelope = sealed()
    again = Envelope.from_bytes(envelope.to_bytes())
    assert again == envelope
    assert again.digest == envelope.digest
    again.verify()


def test_signing_is_deterministic_so_a_resend_is_bit_identical():
    assert sealed().to_bytes() == sealed().to_bytes()


@settings(deadline=None)
@given(st.integers(min_value=0), st.integers(0, 7))
def test_no_bit_of_an_envelope_can_be_changed(position, bit):
    raw = bytearray(sealed().to_bytes())
    raw[position % len(raw)] ^= 1 << bit
    with pytest.raises(FedAnomalyError):
        Envelope.from_bytes(bytes(raw)).verify()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_parses_serialises_to_the_same_bytes(data):
    try:
        envelope = Envelope.from_bytes(data)
    except FedAnomalyError:
        return
    assert envelope.to_bytes() == data


def test_another_federation_cannot_reuse_a_signature():
    moved = dataclasses.replace(sealed(), federation=bytes(32))
    with pytest.raises(ProtocolError):
        moved.verify()


def test_trailing_bytes_an_unknown_version_and_another_label_are_refused():
    raw = sealed().to_bytes()
    with pytest.raises(MessageError):
        Envelope.from_bytes(raw + b"\0")
    with pytest.raises(VersionError):
        Envelope.from_bytes(raw.replace(b"fedanomaly/1", b"fedanomaly/2", 1))
    with pytest.raises(MessageError, match="not an envelope"):
        Envelope.from_bytes(raw.replace(b"envelope", b"envelopa", 1))


def test_a_body_has_a_limit_and_an_attachment_has_digest_and_size():
    with pytest.raises(MessageError, match="too large"):
        Envelope.from_bytes(sealed(bytes(MAX_BODY_BYTES + 1)).to_bytes())
    half = dataclasses.replace(sealed(), size=0)
    with pytest.raises(MessageError, match="digest and a size"):
        Envelope.from_bytes(half.to_bytes())


def test_a_sequence_of_envelopes_reads_back():
    envelopes = (sealed(b"a"), sealed(b"b", None))
    assert Envelope.read_all(write_all(envelopes)) == envelopes


def test_a_key_that_is_no_point_fails_as_any_bad_signature():
    with pytest.raises(ProtocolError, match="signature"):
        dataclasses.replace(sealed(), sender=os.urandom(32)).verify()


def values_for(kind: type[Message]) -> st.SearchStrategy[Message]:
    hashes = st.binary(min_size=32, max_size=32)
    named = {
        "int": st.integers(0, 2**64 - 1),
        "bool": st.booleans(),
        "bytes": st.binary(max_size=40),
        "str": st.text(max_size=20),
        "Hash": hashes,
        "tuple[int, ...]": st.lists(st.integers(0, 65535), max_size=5).map(tuple),
        "tuple[bytes, ...]": st.lists(hashes, max_size=3).map(tuple),
    }
    return st.builds(kind, **{field.name: named[field.type] for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", [*KINDS.values(), NextStep], ids=lambda kind: kind.kind)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_every_message_reads_back_and_nothing_else_is_one(kind, data):
    message = data.draw(values_for(kind))
    raw = message.to_bytes()
    assert kind.from_bytes(raw) == message
    for bad in (raw + b"\0", raw[:-1], raw.replace(b"fedanomaly/1", b"fedanomaly/9", 1)):
        with pytest.raises(FedAnomalyError):
            kind.from_bytes(bad)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_message_is_never_read_as_another_kind(kind, data):
    raw = data.draw(values_for(kind)).to_bytes()
    for other in KINDS.values():
        if other is not kind:
            with pytest.raises(MessageError):
                other.from_bytes(raw)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("vote", "accept", b"\2"),
        ("vote", "accept", b""),
        ("close", "contributors", b"\1"),
        ("close", "contributions", b"\1" * 31),
        ("join", "generation", b"\1"),
        ("enrol", "name", b"\xff"),
    ],
)
def test_a_malformed_field_is_refused(kind, field, value):
    from fedanomaly.types.canonical import begin, item

    cls = KINDS[kind]
    out = begin(kind)
    for entry in dataclasses.fields(cls):
        good = {"int": bytes(8), "bool": b"\0", "bytes": b"", "str": b"", "Hash": bytes(32)}.get(entry.type, b"")
        out += item(entry.name, value if entry.name == field else good)
    with pytest.raises(MessageError):
        cls.from_bytes(out)
