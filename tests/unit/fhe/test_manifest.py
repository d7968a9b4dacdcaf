"""A manifest is read from the bytes that are hashed (vectors: test_vectors.py)."""

import dataclasses
import hashlib

import pytest

from fedanomaly.errors import MessageError
from fedanomaly.fhe import Ask, Manifest
from fedanomaly.fhe.manifest import join_signed
from fedanomaly.types.canonical import begin, item


def test_what_is_built_is_read_from_the_same_bytes(four):
    manifest = four.manifest()
    again = Manifest.from_bytes(manifest.raw)
    assert again == manifest
    assert again.hash == hashlib.sha256(manifest.raw).digest()
    assert again.joined == (1, 2, 3, 4)
    assert again.join_of(2) == manifest.joins[1]
    assert again.join_of(5) is None


def test_an_ask_comes_back_and_its_digest_binds_every_item(federation):
    ask = federation.ask()
    assert Ask.from_bytes(ask.to_bytes()) == ask
    digests = {ask.digest}
    for change in (
        {"job": 2},
        {"step": 2},
        {"round": 2},
        {"fields": 51},
        {"field_bits": 21},
        {"kind": "test"},
        {"policy": bytes([1] * 32)},
        {"schema": bytes([1] * 32)},
        {"state_tag": bytes([1] * 32)},
    ):
        digests.add(dataclasses.replace(ask, **change).digest)
    assert len(digests) == 10
    for bad in (ask.to_bytes() + b"\0", ask.to_bytes()[:-1], b"", begin("ask") + ask.to_bytes()):
        with pytest.raises(MessageError):
            Ask.from_bytes(bad)


def test_a_join_signs_the_ask_the_member_and_its_nonce(federation):
    ask = federation.ask()
    join = federation.manifest().joins[0]
    signed = join.signed(ask)
    assert signed == join_signed(ask, member=1, generation=1, nonce=join.nonce)
    others = {
        join_signed(ask, member=2, generation=1, nonce=join.nonce),
        join_signed(ask, member=1, generation=2, nonce=join.nonce),
        join_signed(ask, member=1, generation=1, nonce=bytes(32)),
        join_signed(federation.ask(job=2), member=1, generation=1, nonce=join.nonce),
    }
    assert signed not in others
    assert len(others) == 4


def test_what_may_be_opened_follows_the_fixed_set(four):
    free = four.manifest()
    fixed = Manifest.build(
        free.ask,
        joins=free.joins,
        decryptors=free.decryptors,
        fixed=(1, 2, 4),
        previous=bytes([1] * 32),
        certificate=b"statements",
    )
    assert free.may_open((1, 2, 4))
    assert free.may_open((1, 2, 3, 4))
    assert fixed.may_open((1, 2, 4))
    assert not fixed.may_open((1, 2, 3, 4))
    for never in ((), (1, 2), (1, 2, 2), (2, 1, 4), (0, 1, 2), (1, 2, 5)):
        assert not free.may_open(never)
    assert four.manifest(kind="test").may_open((3,))


def test_a_manifest_that_breaks_a_rule_is_not_even_built(four):
    manifest = four.manifest()
    for change in ({"decryptors": (1, 2, 3)}, {"joins": manifest.joins[:2]}, {"fixed": (1, 2)}, {"certificate": b"x"}):
        with pytest.raises(MessageError):
            Manifest.build(manifest.ask, **{"joins": manifest.joins, "decryptors": manifest.decryptors, **change})


def test_trailing_and_missing_bytes_are_refused(federation):
    raw = federation.manifest().raw
    for bad in (raw + b"\0", raw + item("D", b""), raw[:-1], raw[1:], b""):
        with pytest.raises(MessageError):
            Manifest.from_bytes(bad)
