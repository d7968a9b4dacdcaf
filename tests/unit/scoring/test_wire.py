"""Frames and offers: what is parsed is what was written, and nothing else is."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.errors import FedAnomalyError, MessageError, VersionError
from fedanomaly.fhe.scoring import PreparedCircuit
from fedanomaly.scoring.wire import HEAD_BYTES, FrameHead, Offer
from fedanomaly.types.canonical import item_int
from tests.unit.scoring.conftest import circuit

HEADS = st.builds(
    FrameHead,
    direction=st.sampled_from(["batch", "answer"]),
    digest=st.binary(min_size=32, max_size=32),
    batch_id=st.binary(min_size=16, max_size=16),
    size=st.integers(0, 2**64 - 1),
)


@given(HEADS)
def test_a_head_is_read_as_it_was_written(head):
    assert FrameHead.from_bytes(head.to_bytes(), head.direction) == head


@given(st.one_of(st.binary(max_size=100), st.binary(min_size=60, max_size=60).map(lambda more: b"FASB" + more)))
def test_what_is_read_is_written_the_same(data):
    try:
        head = FrameHead.from_bytes(data, "batch")
    except (MessageError, VersionError):
        return
    assert head.to_bytes() == data


@given(HEADS)
def test_a_batch_is_no_answer(head):
    other = "answer" if head.direction == "batch" else "batch"
    with pytest.raises(MessageError):
        FrameHead.from_bytes(head.to_bytes(), other)


@given(HEADS, st.integers(0, HEAD_BYTES - 1))
def test_half_a_head_is_none(head, size):
    with pytest.raises(MessageError):
        FrameHead.from_bytes(head.to_bytes()[:size], head.direction)


@given(HEADS, st.integers(0, 2**32 - 1).filter(lambda version: version != 1))
def test_another_version_is_refused_as_such(head, version):
    data = head.to_bytes()
    with pytest.raises(VersionError):
        FrameHead.from_bytes(data[:4] + version.to_bytes(4, "little") + data[8:], head.direction)


@pytest.mark.parametrize(("digest", "batch_id", "size"), [(31, 16, 0), (32, 15, 0), (32, 16, -1)])
def test_a_head_with_names_of_another_length_is_not_written(digest, batch_id, size):
    with pytest.raises(MessageError):
        FrameHead(direction="batch", digest=bytes(digest), batch_id=bytes(batch_id), size=size).to_bytes()


@pytest.fixture(scope="module")
def offered():
    model = circuit()
    prepared = PreparedCircuit(model, bytes(32))
    return Offer(prepared.shape, prepared.constants()).to_bytes(model.digest), model.digest


def test_an_offer_is_read_as_it_was_written(offered):
    data, digest = offered
    assert Offer.from_bytes(data, digest).to_bytes(digest) == data


def test_an_offer_for_another_circuit_is_refused(offered):
    with pytest.raises(MessageError):
        Offer.from_bytes(offered[0], os.urandom(32))


@given(st.integers(0, 300), st.integers(1, 255))
def test_a_changed_offer_is_refused_or_reads_as_other_bytes(offered, at, change):
    data, digest = bytearray(offered[0]), offered[1]
    data[at] ^= change
    try:
        offer = Offer.from_bytes(bytes(data), digest)
    except FedAnomalyError:
        return
    assert offer.to_bytes(digest) == bytes(data)


@pytest.mark.parametrize("cut", [1, 100, 70_000])
def test_a_cut_offer_is_refused(offered, cut):
    with pytest.raises(MessageError):
        Offer.from_bytes(offered[0][:-cut], offered[1])


@pytest.mark.parametrize("fact", ["features", "outputs", "weight bits"])
@pytest.mark.parametrize("number", [0, 2**31 - 1, 2**31, 2**63 - 1])
def test_an_offer_of_no_shape_is_refused(offered, fact, number):
    data, digest = offered
    at = data.index(item_int(fact, 0)[:-8]) + len(item_int(fact, 0))
    with pytest.raises(MessageError):
        Offer.from_bytes(data[: at - 8] + number.to_bytes(8, "little") + data[at:], digest)
