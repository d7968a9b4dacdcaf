"""From values to an opened sum, through Python alone."""

import numpy as np
import pytest
from tests.sums import added

from fedanomaly.errors import DataError, MessageError, RefusedError, RejectedError
from fedanomaly.fhe import Contribution, DecryptionShare, InMemory, MaskedSum, Preset, add_up
from fedanomaly.fhe.sums import WINDOW_BYTES

EVERYBODY = (1, 2, 3)


@pytest.mark.parametrize(
    ("preset", "field_bits", "fields"),
    [
        (Preset.N4096, 20, 1),
        (Preset.N4096, 20, 8190),
        (Preset.N4096, 30, 100),
        (Preset.N8192, 20, 70_000),
        (Preset.N8192, 60, 300),
        (Preset.N8192, 3, 1000),
    ],
)
def test_three_members_open_their_sum_exactly(federation, preset, field_bits, fields):
    manifest = federation.manifest(preset=preset, field_bits=field_bits, fields=fields)
    values = federation.values(manifest)

    masked = federation.masked(manifest, values, EVERYBODY)

    assert len(masked.residues) == manifest.ask.layout.message_bytes
    for member in federation.members:
        opened = member.open(manifest, EVERYBODY, masked)
        np.testing.assert_array_equal(opened, sum(values))


@pytest.mark.parametrize("contributors", [(1, 2, 3), (1, 2, 4), (2, 3, 4), (1, 2, 3, 4)])
def test_every_set_opens_its_own_sum_and_no_other(four, contributors):
    manifest = four.manifest()
    values = four.values(manifest, seed=1)
    masked = four.masked(manifest, values, contributors)

    opened = four.members[0].open(manifest, contributors, masked)

    np.testing.assert_array_equal(opened, sum(values[i - 1] for i in contributors))
    for other in {(1, 2, 3), (1, 2, 4), (1, 2, 3, 4)} - {contributors}:
        with pytest.raises(RejectedError):
            four.members[0].open(manifest, other, masked)


def test_the_largest_values_do_not_carry(federation):
    manifest = federation.manifest()
    most = (1 << manifest.ask.layout.value_bits) - 1
    values = [np.full(50, most, dtype=np.uint64)] * 3

    opened = federation.members[0].open(manifest, EVERYBODY, federation.masked(manifest, values, EVERYBODY))

    np.testing.assert_array_equal(opened, np.full(50, 3 * most))


def test_a_test_round_sums_zeros_whatever_the_values(federation):
    manifest = federation.manifest(kind="test")
    masked = federation.masked(manifest, federation.values(manifest), (2,))
    np.testing.assert_array_equal(federation.members[0].open(manifest, (2,), masked), np.zeros(50))


def test_repeated_calls_give_the_same_bytes(federation):
    manifest = federation.manifest()
    values = federation.values(manifest)[0]
    member = federation.members[0]
    assert member.contribution(manifest, values) == member.contribution(manifest, values)
    assert member.share(manifest, EVERYBODY) == member.share(manifest, EVERYBODY)


def test_another_manifest_gives_other_bytes_for_the_same_values(federation):
    first, second = federation.manifest(round=1), federation.manifest(round=2)
    values, member = federation.values(first)[0], federation.members[0]
    assert member.contribution(first, values).residues != member.contribution(second, values).residues
    assert member.share(first, EVERYBODY).residues != member.share(second, EVERYBODY).residues


def test_values_may_be_frozen_or_strided(federation):
    manifest = federation.manifest()
    values = federation.values(manifest)[0]
    spread = np.repeat(values, 2)[::2]
    frozen = values.copy()
    frozen.flags.writeable = False
    member = federation.members[0]
    expected = member.contribution(manifest, values)
    assert member.contribution(manifest, spread) == expected
    assert member.contribution(manifest, frozen) == expected


@pytest.mark.parametrize("size", [0, 49, 51])
def test_another_number_of_values_is_refused(federation, size):
    with pytest.raises(DataError):
        federation.members[0].contribution(federation.manifest(), np.zeros(size, dtype=np.uint64))


def test_a_value_beyond_its_bits_is_refused(federation):
    manifest = federation.manifest()
    values = federation.values(manifest)[0]
    values[-1] = 1 << manifest.ask.layout.value_bits
    with pytest.raises(DataError):
        federation.members[0].contribution(manifest, values)


@pytest.mark.parametrize(
    "contributors", [(), (1, 2), (1, 2, 2), (2, 1, 3), (0, 1, 2), (1, 2, 4), (1, 2, 3, 65536 + 4), (-1, 1, 2, 3)]
)
def test_a_set_that_may_not_be_opened_gets_no_share(federation, contributors):
    manifest = federation.manifest()
    assert not manifest.may_open(contributors)
    with pytest.raises(RefusedError):
        federation.members[0].share(manifest, contributors)
    with pytest.raises(RejectedError):
        federation.members[0].open(manifest, contributors, MaskedSum(manifest.hash, bytes(390)))


def test_who_is_no_decryptor_gives_no_share(four):
    manifest = four.manifest()
    fewer = type(manifest).build(manifest.ask, joins=manifest.joins[:3], decryptors=(1, 2, 3))
    with pytest.raises(RefusedError):
        four.members[3].share(fewer, (1, 2, 3))
    with pytest.raises(RefusedError):
        four.members[3].contribution(fewer, four.values(fewer)[3])


def test_every_failure_to_open_looks_the_same(federation):
    manifest, other = federation.manifest(), federation.manifest(round=2)
    values = federation.values(manifest)
    masked = federation.masked(manifest, values, EVERYBODY)
    member, size = federation.members[0], manifest.ask.layout.message_bytes
    flipped = bytearray(masked.residues)
    flipped[size // 2] ^= 0x80
    given = [federation.members[index - 1].contribution(manifest, values[index - 1]) for index in EVERYBODY]
    texts = set()
    for bad in (
        bytes(flipped),
        bytes(size),
        b"\xff" * size,
        masked.residues[:-1],
        b"",
        added(manifest, given).residues,  # without a share
        federation.masked(other, values, EVERYBODY).residues,
    ):
        with pytest.raises(RejectedError) as caught:
            member.open(manifest, EVERYBODY, MaskedSum(manifest.hash, bad))
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_a_manifest_of_another_epoch_is_refused(federation):
    foreign = federation.manifest()
    changed = federation.ask(roster=bytes(32))
    manifest = type(foreign).build(changed, joins=foreign.joins, decryptors=foreign.decryptors)
    member, values = federation.members[0], federation.values(foreign)[0]
    with pytest.raises(MessageError):
        member.contribution(manifest, values)
    with pytest.raises(MessageError):
        member.share(manifest, EVERYBODY)
    with pytest.raises(MessageError):
        member.nonce(changed, generation=1, frozen_hash=bytes(32), random=bytes(32))
    with pytest.raises(RejectedError):
        member.open(manifest, EVERYBODY, MaskedSum(manifest.hash, bytes(manifest.ask.layout.message_bytes)))


@pytest.mark.parametrize("kind", [Contribution, DecryptionShare, MaskedSum])
def test_messages_come_back_from_their_bytes(federation, kind):
    manifest = federation.manifest()
    message = kind(manifest.hash, federation.members[0].share(manifest, EVERYBODY).residues)
    raw = message.to_bytes()
    assert kind.from_bytes(raw, manifest) == message
    assert len(raw) == kind.size_bytes(manifest)
    kind.check(InMemory(raw), manifest)
    assert repr(message).startswith(f"<{kind.__name__} of {manifest.hash.hex()[:12]}, ")


def test_bytes_that_are_no_message_of_the_round_are_refused(federation):
    manifest, other = federation.manifest(), federation.manifest(round=2)
    message = federation.members[0].share(manifest, EVERYBODY)
    raw = message.to_bytes()
    for bad in (raw + b"\0", raw[:-1], b"", raw.replace(b"fedanomaly/1", b"fedanomaly/2")):
        with pytest.raises(MessageError):
            DecryptionShare.from_bytes(bad, manifest)
    with pytest.raises(MessageError):
        Contribution.from_bytes(raw, manifest)
    with pytest.raises(MessageError):
        DecryptionShare.from_bytes(raw, other)
    with pytest.raises(MessageError):
        DecryptionShare.from_bytes(DecryptionShare(manifest.hash, message.residues[:-1]).to_bytes(), manifest)


def test_malformed_residues_are_refused_on_receipt_and_in_a_sum(federation):
    manifest = federation.manifest(fields=1)  # 3 residues of 60 bits: 4 bits of padding
    good = federation.members[0].share(manifest, EVERYBODY)
    size = len(good.residues)
    padded = bytearray(good.residues)
    padded[-1] |= 0x80
    for residues in (b"\xff" * size, bytes(padded), good.residues[:-1], b""):
        bad = DecryptionShare(manifest.hash, residues)
        with pytest.raises(MessageError):
            DecryptionShare.check(InMemory(bad.to_bytes()), manifest)
        with pytest.raises(MessageError):
            added(manifest, [good, bad])
    assert added(manifest, [good]).residues == good.residues


def test_messages_of_another_round_or_kind_are_not_added(federation):
    manifest, other = federation.manifest(), federation.manifest(round=2)
    own, foreign = (InMemory(federation.members[0].share(each, EVERYBODY).to_bytes()) for each in (manifest, other))
    for kind, source in ((DecryptionShare, foreign), (Contribution, own)):
        with pytest.raises(MessageError, match="of this round"):
            kind.check(source, manifest)
        with pytest.raises(MessageError, match="of this round"):
            list(add_up(manifest, [(DecryptionShare, own), (kind, source)]))


class Watched(InMemory):
    """Bytes that note how they are read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read(offset, length)


def test_large_messages_are_checked_and_added_a_window_at_a_time(federation):
    manifest = federation.manifest(preset=Preset.N8192, field_bits=40, fields=500_000)
    raw = federation.members[0].share(manifest, EVERYBODY).to_bytes()
    assert len(raw) > 4 * WINDOW_BYTES
    once = Watched(raw)
    DecryptionShare.check(once, manifest)
    head, *windows = once.reads
    assert max(length for _, length in windows) <= WINDOW_BYTES
    assert [offset for offset, _ in windows] == [head[1] + sum(n for _, n in windows[:i]) for i in range(len(windows))]
    assert head[1] + sum(length for _, length in windows) == len(raw)
    twice, again = Watched(raw), Watched(raw)
    pieces = list(add_up(manifest, [(DecryptionShare, twice), (DecryptionShare, again)]))
    assert max(map(len, pieces)) <= WINDOW_BYTES
    assert twice.reads == again.reads == once.reads
    last = len(raw) - 1  # in the last window only
    for bad in (raw[:last] + b"\xff", raw[:-9] + b"\xff" * 9):
        with pytest.raises(MessageError):
            DecryptionShare.check(InMemory(bad), manifest)


def test_bytes_in_memory_are_not_read_beyond_their_end():
    source = InMemory(b"abc")
    assert source.read(1, 2) == b"bc"
    for offset, length in ((2, 2), (4, 0), (-1, 1), (0, -1)):
        with pytest.raises(MessageError):
            source.read(offset, length)
