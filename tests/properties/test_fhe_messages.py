"""What parses re-serialises to the same bytes, and both parsers agree."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.errors import FedAnomalyError, MessageError
from fedanomaly.fhe import Ask, Contribution, JoinPost, Manifest, Preset, layout
from fedanomaly.fhe._engine import call, ffi

HASHES = st.binary(min_size=32, max_size=32)
WORDS = st.integers(0, 2**64 - 1)


@st.composite
def asks(draw):
    members = draw(st.integers(3, 250))
    preset = draw(st.sampled_from(Preset))
    most = {Preset.N4096: 30, Preset.N8192: 60}[preset]
    return Ask(
        kind=draw(st.sampled_from(["sum", "test"])),
        preset=preset,
        members=members,
        threshold=draw(st.integers(2, members - 1)),
        field_bits=draw(st.integers((members - 1).bit_length() + 1, most)),
        fields=draw(st.integers(1, 1 << 20)),
        job=draw(WORDS),
        round=draw(WORDS),
        step=draw(WORDS),
        **{name: draw(HASHES) for name in ("epoch", "roster", "policy", "schema", "step_tag", "state_tag")},
    )


@st.composite
def manifests(draw):
    ask = draw(asks())
    ask = replace(ask, threshold=min(ask.threshold, 10, ask.members - 1))
    least = max(3, ask.threshold + 1)
    joined = sorted(draw(st.sets(st.integers(1, ask.members), min_size=least, max_size=least + 3)))
    count = min(len(joined), ask.threshold + 2)
    fixed = draw(st.sampled_from([(), tuple(joined[:least]), tuple(joined)]))
    joins = tuple(
        JoinPost(
            member=index,
            generation=draw(WORDS),
            nonce=draw(HASHES),
            signature=draw(st.binary(min_size=64, max_size=64)),
        )
        for index in joined
    )
    later = draw(st.booleans())
    return Manifest.build(
        ask,
        joins=joins,
        decryptors=tuple(joined[-count:]),
        fixed=fixed,
        previous=b"\1" * 32 if later else bytes(32),
        certificate=draw(st.binary(min_size=1, max_size=64)) if later else b"",
    )


def engine_hash(raw):
    out = ffi.new("uint8_t[32]")
    try:
        call("fa_manifest_check", raw, len(raw), out)
    except MessageError:
        return None
    return bytes(out)


def python_hash(raw):
    try:
        return Manifest.from_bytes(raw).hash
    except MessageError:
        return None


@given(asks())
def test_asks_come_back(ask):
    assert Ask.from_bytes(ask.to_bytes()) == ask


@given(manifests())
@settings(max_examples=60)
def test_manifests_come_back_and_the_engine_agrees(manifest):
    again = Manifest.from_bytes(manifest.raw)
    assert again == manifest
    assert (
        Manifest.build(
            again.ask,
            joins=again.joins,
            decryptors=again.decryptors,
            fixed=again.fixed,
            previous=again.previous,
            certificate=again.certificate,
        ).raw
        == manifest.raw
    )
    assert engine_hash(manifest.raw) == manifest.hash


@given(manifests(), st.data())
@settings(max_examples=150)
def test_python_and_the_engine_agree_on_altered_manifests(manifest, data):
    raw = bytearray(manifest.raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from([raw[at] ^ 1, raw[at] ^ 2, 0, 255, (raw[at] + 1) % 256]))
    assert engine_hash(bytes(raw)) == python_hash(bytes(raw))


@cache
def one_manifest():
    ask = Ask(
        kind="sum",
        preset=Preset.N4096,
        members=3,
        threshold=2,
        field_bits=20,
        fields=3,
        epoch=bytes(32),
        roster=bytes(32),
        policy=bytes(32),
        job=0,
        round=0,
        step=0,
        schema=bytes(32),
        step_tag=bytes(32),
        state_tag=bytes(32),
    )
    joins = tuple(JoinPost(member=i, generation=0, nonce=bytes(32), signature=bytes(64)) for i in (1, 2, 3))
    return Manifest.build(ask, joins=joins, decryptors=(1, 2, 3))


@given(st.binary(max_size=200))
def test_bytes_are_no_message(data):
    with pytest.raises(MessageError):
        Contribution.from_bytes(data, one_manifest())


@given(st.data())
def test_messages_come_back(data):
    manifest = one_manifest()
    size = manifest.ask.layout.message_bytes
    message = Contribution(manifest.hash, data.draw(st.binary(min_size=size, max_size=size)))
    assert Contribution.from_bytes(message.to_bytes(), manifest).to_bytes() == message.to_bytes()


@given(asks())
def test_a_layout_holds_every_entry(ask):
    try:
        found = ask.layout
    except FedAnomalyError:
        return
    assert found.fields_per_coefficient * found.field_bits <= found.coefficient_bits
    data = -(-ask.fields // found.fields_per_coefficient)
    assert data < found.coefficients <= found.ciphertexts * int(ask.preset)
    assert found == layout(
        ask.preset, members=ask.members, threshold=ask.threshold, field_bits=ask.field_bits, fields=ask.fields
    )
