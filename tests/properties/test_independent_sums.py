"""The engine against the second implementation, on secrets and values that Hypothesis chooses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.independent import drawn, sums
from tests.independent.encoding import Refused
from tests.independent.epoch import (
    SUITE,
    Keys,
    commitment,
    deal_info,
    hpke_private_key,
    hpke_public_bytes,
    read_state,
    seal,
    to_rows,
    unseal,
    write_deal,
    write_dealing,
    write_keys,
)
from tests.independent.packing import Layout
from tests.independent.rings import RINGS
from tests.independent.streams import Stream

from fedanomaly.errors import RejectedError
from fedanomaly.fhe import Manifest, MaskedSum
from fedanomaly.fhe.secret import EpochSecrets

ROOT = Path(__file__).parents[2]
KEY, U = bytes(32), (1, 2, 3)
FEW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def engine_of(keys: Keys) -> EpochSecrets:
    """Give the engine secrets that the second implementation wrote and sealed."""
    blob = seal(write_keys(keys), KEY, b"here", bytes(range(32)))
    return EpochSecrets.unseal(KEY, b"here", blob, members=keys.members, threshold=keys.threshold, index=keys.index)


@pytest.fixture(scope="module")
def members():
    own = drawn.federation(3, 2)
    theirs = [engine_of(keys) for keys in own]
    yield own, theirs
    for one in theirs:
        one.close()


@st.composite
def steps(draw):
    degree = draw(st.sampled_from([4096, 8192]))
    bits = draw(st.integers(3, 30 if degree == 4096 else 60))
    layout = Layout(degree, 3, 2, bits, draw(st.integers(1, 30)))
    largest = (1 << layout.value_bits) - 1
    value = st.one_of(st.sampled_from([0, 1, largest, largest - 1, largest >> 1]), st.integers(0, largest))
    rows = [draw(st.lists(value, min_size=layout.entries, max_size=layout.entries)) for _ in U]
    return layout, rows, draw(st.integers(0, 40)), draw(st.sampled_from(["sum", "test"]))


@given(steps())
@settings(FEW, max_examples=12)
def test_contributions_shares_and_openings_are_the_same_bit_for_bit(members, step):
    layout, rows, job, kind = step
    own, theirs = members
    manifest = drawn.manifest(layout, kind=kind, job=job)
    real = Manifest.from_bytes(manifest.raw)
    messages = []
    for index, values in enumerate(rows):
        message = sums.contribution(own[index], manifest, values)
        assert theirs[index].contribution(real, np.array(values, dtype=np.uint64)).residues == message
        messages.append(message)
    for index in range(3):
        message = sums.share(own[index], manifest, U)
        assert theirs[index].share(real, U).residues == message
        messages.append(message)
    masked = sums.added(manifest, messages)
    right = [0] * layout.entries if kind == "test" else [sum(column) for column in zip(*rows, strict=True)]
    assert theirs[0].open(real, U, MaskedSum(manifest.hash, masked)).tolist() == right
    assert sums.opened(own[1], manifest, U, masked) == right


@given(st.data())
@settings(FEW, max_examples=30)
def test_both_accept_or_refuse_the_same_masked_sums(members, data):
    """Residues that nobody sent, and small and large changes of a right sum."""
    own, theirs = members
    layout = Layout(data.draw(st.sampled_from([4096, 8192])), 3, 2, 20, 5)
    manifest = drawn.manifest(layout)
    real = Manifest.from_bytes(manifest.raw)
    wire = sums.prod(layout.ring.wire)
    right = layout.encode(0, [7] * 5, layout.chi([7] * 5, own[0].group_key("mac", 1), sums.of("mac", manifest)))
    padded = [a + p for a, p in zip(right, sums.pad(own[0], manifest, U, 0), strict=True)]
    x = layout.rounded([value % layout.ring.modulus for value in padded])
    step = wire >> layout.k
    change = data.draw(st.one_of(st.integers(-4, 4), st.integers(-2 * step, 2 * step), st.integers(0, wire - 1)))
    at = data.draw(st.integers(0, layout.used(0) - 1))
    x[at] = (x[at] + change) % wire
    masked = layout.to_bytes([x])
    try:
        found = sums.opened(own[0], manifest, U, masked)
    except Refused:
        found = None
    try:
        opened = theirs[0].open(real, U, MaskedSum(manifest.hash, masked)).tolist()
    except RejectedError:
        opened = None
    assert found == opened
    assert found in (None, [7] * 5)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["zero", "one", "minus one", "drawn"]))
@settings(FEW, max_examples=4)
def test_any_secret_and_any_key_share_gives_the_same_messages(seed, kind):
    """Extreme ring secrets and arbitrary residues as key shares, not only what set-up draws."""
    layout = Layout(4096, 3, 2, 20, 9)
    keys = drawn.federation(3, 2)[1]
    fixed = {"zero": [0] * 8192, "one": [1] * 8192, "minus one": [-1] * 8192}
    coefficients = fixed.get(kind) or Stream(seed).ternary(8192)
    stream = Stream(drawn.named("shares", seed.hex()))
    own = Keys(**vars(keys))
    own.e, own.f, own.chain = (drawn.named(label, seed.hex()) for label in "efc")
    own.minus_secret = {degree: to_rows(coefficients[:degree], ring) for degree, ring in RINGS.items()}
    residues = [stream.uniform(4096, q) for q in RINGS[4096].primes]
    largest = [[q - 1] * 4096 for q in RINGS[4096].primes]
    own.shares = {4096: {1: residues, 2: largest, 3: residues}, 8192: keys.shares[8192]}
    manifest = drawn.manifest(layout)
    real, values = Manifest.from_bytes(manifest.raw), drawn.values(layout, 2, "drawn")
    with engine_of(own) as theirs:
        contribution = theirs.contribution(real, np.array(values, dtype=np.uint64))
        assert contribution.residues == sums.contribution(own, manifest, values)
        assert theirs.share(real, U).residues == sums.share(own, manifest, U)


def test_secrets_travel_between_both_and_come_back_the_same():
    keys = drawn.federation(3, 2)[0]
    with engine_of(keys) as theirs:
        assert write_keys(read_state(unseal(theirs.seal(KEY, b"there"), KEY, b"there"))) == write_keys(keys)


def test_the_engine_opens_a_deal_that_the_second_implementation_sealed():
    own = {index: drawn.dealing(3, 2, index) for index in U}
    blob = seal(write_dealing(own[1]), KEY, b"", bytes(32))
    theirs = EpochSecrets.unseal(KEY, b"", blob, members=3, threshold=2, index=1)
    for sender in (2, 3):
        info = deal_info(drawn.ROSTER, drawn.named("hello", sender), sender, 1)
        public = hpke_private_key(own[1].hpke).public_key()
        envelope = SUITE.encrypt(write_deal(sender, 1, own[sender].deal_for(1)), public, info)
        bound = commitment(sender, own[sender].part, own[sender].salt)
        hello = hpke_public_bytes(own[sender].hpke) + bound
        theirs.receive(sender, hello=hello, info=info, envelope=envelope)
    assert theirs.finish(drawn.EPOCH, drawn.ROSTER) == drawn.federation(3, 2)[2].confirmation()
    theirs.close()


def test_the_engine_still_gives_the_stored_vectors():
    spec = importlib.util.spec_from_file_location("write_vectors", ROOT / "scripts" / "write_vectors.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    for name, value in writer.vectors().items():
        stored = json.loads((writer.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        assert json.loads(json.dumps(value)) == stored
