"""What parses re-serialises to the same bytes; everything else is one of our errors."""

import json
import os
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.coordinator.conftest import Identity

from fedanomaly.detectors import Mahalanobis
from fedanomaly.errors import FedAnomalyError, KeystoreError
from fedanomaly.features import Column, Schema
from fedanomaly.fhe.scoring import Shape
from fedanomaly.node.keystore import Cost, Keystore
from fedanomaly.protocol import Envelope, Settings
from fedanomaly.protocol.messages import KINDS
from fedanomaly.protocol.relations import Relation, read_relations, write_relations
from fedanomaly.scoring.release import Release, make_release, read_release
from fedanomaly.scoring.wire import FrameHead, Offer
from fedanomaly.simulation.federation import Federation, Party
from fedanomaly.simulation.simulate import ArrayLearner, matrix_schema, request_for
from fedanomaly.transport import Invitation, error_of
from fedanomaly.transport.wire import (
    Enrolment,
    FederationInfo,
    Feed,
    FeedEntry,
    Parts,
    Posted,
    decode,
    encode,
    parse_digest,
)
from fedanomaly.types import Circuit, State
from fedanomaly.types.canonical import begin, item, item_int

BOUNDED = settings(max_examples=int(os.environ.get("FEDANOMALY_EXAMPLES", "25")), deadline=None)
PASSPHRASE = "four words nobody said"
INVITATION = Invitation(
    url="https://federation.example:7400",
    coordinator=b"c" * 32,
    federation=b"f" * 32,
    name="North Bank",
    secret=b"s" * 32,
)
SCHEMA = Schema(
    (
        Column(name="amount", kind="numeric", lower=0.0, upper=1e6),
        Column(name='näme "\\\x7f\n', kind="categorical", levels=("card", "é\t")),
        Column(name="at", kind="time"),
    )
)
HEADS = (
    Enrolment(secret=b"s" * 32, envelope=b"e" * 90),
    FederationInfo(
        version=1, federation=b"f" * 32, coordinator=b"c" * 32, name="n", members=3, threshold=2, enrolled=1,
        max_blob_bytes=1 << 28,
    ),
    Feed(head=9, entries=(FeedEntry(seq=9, received_at=1.5, data=b"d" * 40),), chain=b"h" * 32),
    Parts(whole=False, parts={0: b"d" * 32, 7: b"e" * 32}),
    Posted(seq=7),
)  # fmt: skip


@st.composite
def bent(draw, samples):
    """Draw one of some byte strings with a few of its bytes changed, added, removed or repeated."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from([0, 1, 4, 8, 33])))
        old, other = bytes(data[at:end]), st.binary(min_size=end - at, max_size=end - at)
        new = draw(st.one_of(other, st.binary(max_size=9), st.just(old), st.just(old * 2)))
        data[at:end] = new
    return bytes(data)


@cache
def recorded():
    """Return the envelopes of a whole job, as bytes, and a trained state."""
    parts = np.random.default_rng(3).normal(size=(3, 40, 2))
    detector = Mahalanobis()
    parties = [Party(f"p{at}", lambda _, rows=rows: ArrayLearner(detector, rows)) for at, rows in enumerate(parts)]
    federation = Federation(Settings(name="parsers", members=3, threshold=2), parties)
    federation.enrol()
    federation.train(request_for(detector, model="m", dataset="d", schema=matrix_schema(2)))
    log = [entry.envelope for entry in federation.log]
    federation.close()
    return log, detector.fit(parts[0]).state_


def round_trips(read, data):
    """Read bytes and return what they are; what our errors do not refuse must give the very same bytes again."""
    try:
        value = read(data)
    except FedAnomalyError:
        return None
    assert value.to_bytes() == data
    return value


def test_the_recorded_job_holds_most_kinds_of_messages():
    kinds = {envelope.kind for envelope in recorded()[0]}
    assert kinds <= set(KINDS)
    assert len(kinds) >= 18


@BOUNDED
@given(st.data())
def test_envelopes(data):
    samples = [envelope.to_bytes() for envelope in recorded()[0]]
    round_trips(Envelope.from_bytes, data.draw(bent(samples)))


@pytest.mark.parametrize("kind", KINDS)
@BOUNDED
@given(data=st.data())
def test_messages_of_every_kind(kind, data):
    bodies = [envelope.body for envelope in recorded()[0] if envelope.kind == kind]
    round_trips(KINDS[kind].from_bytes, data.draw(bent(bodies or [recorded()[0][0].body])))
    round_trips(KINDS[kind].from_bytes, data.draw(st.binary(max_size=64)))


@BOUNDED
@given(st.data())
def test_relations_of_sets_of_rows(data):
    told = [Relation(left=(1, 2), right=(3,)), Relation(left=(4, 4), right=(1 << 40,))]
    raw = data.draw(bent([write_relations(told), write_relations(told[:1])]))
    try:
        read = read_relations(raw)
    except FedAnomalyError:
        return
    assert write_relations(read) == raw


@BOUNDED
@given(st.data())
def test_states(data):
    round_trips(State.from_bytes, data.draw(bent([recorded()[1].to_bytes()])))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
@BOUNDED
@given(data=st.data())
def test_heads_on_the_wire(head, data):
    raw = data.draw(bent([encode(head)]))
    try:
        read = decode(type(head), raw)
    except FedAnomalyError:
        return
    # MessagePack has several forms for one value; ours must read back as the same one.
    assert decode(type(head), encode(read)) == read


@BOUNDED
@given(st.integers(-1, 999), bent([b'{"code":"FA401","message":"used","hint":"x","retry_after_s":1.5}']))
@example(404, b"[" * 5000)
def test_failures_of_the_other_side(status, body):
    error = error_of(status, body)
    assert isinstance(error, FedAnomalyError)
    assert str(error).isprintable()


@BOUNDED
@given(bent([INVITATION.to_text().encode()]).map(lambda raw: raw.decode("latin-1")) | st.text(max_size=40))
def test_invitations(text):
    try:
        read = Invitation.from_text(text)
    except FedAnomalyError:
        return
    assert read.to_text() == text.strip()


@BOUNDED
@given(bent([SCHEMA.to_toml().encode(), SCHEMA.to_json().encode()]).map(lambda raw: raw.decode("utf-8", "replace")))
def test_schemas(text):
    for read in (Schema.from_toml, Schema.from_json):
        try:
            schema = read(text)
        except FedAnomalyError:
            continue
        assert Schema.from_toml(schema.to_toml()) == schema
        assert Schema.from_json(schema.to_json()) == schema


@cache
def sealed(folder):
    Keystore.create(folder / "keystore.json", PASSPHRASE, cost=Cost(memory_kib=19_456, iterations=2, lanes=1))
    return (folder / "keystore.json").read_bytes()


@settings(BOUNDED, max_examples=min(BOUNDED.max_examples, 60))
@given(data=st.data())
def test_keystores(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    whole = sealed(folder)
    raw = data.draw(bent([whole]))
    (folder / "bent.json").touch(mode=0o600)
    (folder / "bent.json").write_bytes(raw)
    try:
        Keystore.open(folder / "bent.json", PASSPHRASE)
    except KeystoreError:
        return
    # White space and the order of fields are JSON's; no value may differ.
    assert msgspec.json.decode(raw) == json.loads(whole)


@BOUNDED
@given(bent([b"ab" * 32]).map(lambda raw: raw.decode("latin-1")) | st.text(max_size=70))
def test_names_of_blobs(text):
    try:
        digest = parse_digest(text)
    except FedAnomalyError:
        return
    assert digest.hex() == text


CIRCUITS = (
    Circuit("quadratic", (2, 1), np.array([[1.0, -0.5], [0.0, 2.0], [0.25, 0.0]]), np.array([0.0, -1.5, 3.0])),
    Circuit("linear", (1,), np.array([[1.0, -0.5, 1e-3]]), np.array([0.5])),
)


@st.composite
def loose(draw):
    """Draw a circuit whose parts are in order and need not fit each other."""
    kind, features = draw(st.sampled_from(["linear", "quadratic", "cubic"])), draw(st.integers(0, 4))
    rows = draw(st.lists(st.integers(0, 3), max_size=3))
    forms = max(0, sum(rows) + draw(st.sampled_from([0, 0, 0, 1])))
    numbers = st.lists(st.floats(), min_size=forms * features, max_size=forms * features)
    sizes = (np.array(rows, "<u4"), np.array(draw(numbers), "<f8"), np.array([draw(st.floats())] * forms, "<f8"))
    parts = zip(("rows", "weights", "bias"), sizes, strict=True)
    head = begin("circuit") + item("kind", kind.encode()) + item_int("features", features)
    return head + b"".join(item(name, part.tobytes()) for name, part in parts)


@BOUNDED
@given(bent([circuit.to_bytes() for circuit in CIRCUITS]) | loose())
def test_circuits(data):
    read = round_trips(Circuit.from_bytes, data)
    assert read is None or read.kind in {"linear", "quadratic"}


@pytest.mark.parametrize("direction", ["batch", "answer"])
@BOUNDED
@given(data=st.data())
def test_heads_of_frames(direction, data):
    head = FrameHead(direction=direction, digest=b"d" * 32, batch_id=b"i" * 16, size=49_152)
    raw = data.draw(bent([head.to_bytes()]))
    round_trips(lambda raw: FrameHead.from_bytes(raw, direction), raw)
    other = {"batch": "answer", "answer": "batch"}[direction]
    with pytest.raises(FedAnomalyError):
        FrameHead.from_bytes(head.to_bytes(), other)


@cache
def offered():
    """Return offers as bytes, with what they must fit."""
    shapes = [Shape("linear", 3, 1, 15), Shape("quadratic", 2, 2, 9)]
    return [Offer(shape, bytes(shape.constant_bytes)).to_bytes(b"d" * 32) for shape in shapes]


NUMBERS = st.one_of(st.integers(0, 16), st.sampled_from([1 << 30, 1 << 31, (1 << 63) - 1]))


@st.composite
def made_up(draw):
    """Draw an offer whose parts are in order and need not fit each other."""
    kind, counts = draw(st.sampled_from(["linear", "quadratic", "cubic"])), draw(st.tuples(NUMBERS, NUMBERS, NUMBERS))
    named = zip(("features", "outputs", "weight bits"), counts, strict=True)
    size = draw(st.sampled_from([0, 32_768, 73_728, 147_456]))
    parts = (begin("scoring offer"), item("circuit", b"d" * 32), item("kind", kind.encode()))
    return b"".join((*parts, *(item_int(*each) for each in named), item("constants", bytes(size))))


@BOUNDED
@given(data=st.data())
def test_offers(data):
    raw = data.draw(bent(offered()) | made_up())
    try:
        read = Offer.from_bytes(raw, b"d" * 32)
    except FedAnomalyError:
        return
    assert read.to_bytes(b"d" * 32) == raw
    assert len(read.constants) == read.shape.constant_bytes
    with pytest.raises(FedAnomalyError):
        Offer.from_bytes(raw, b"e" * 32)


@cache
def released():
    """Return a release, its file, and the keys of its two signers."""
    release = Release(federation=b"f" * 32, name="payments", version=3, circuit=CIRCUITS[0])
    signers = [Identity(), Identity()]
    return release, make_release(release, signers), [signer.public_key for signer in signers]


@BOUNDED
@given(data=st.data())
def test_what_is_released(data):
    round_trips(Release.from_bytes, data.draw(bent([released()[0].to_bytes()])))


@BOUNDED
@given(data=st.data())
def test_a_bent_release_file_is_refused(data):
    release, file, keys = released()
    raw = data.draw(bent([file]))
    try:
        read = read_release(raw, federation=b"f" * 32, releasers=keys)
    except FedAnomalyError:
        return
    # What is left is a release with fewer signatures, of the same model.
    assert read.to_bytes() == release.to_bytes()
    assert raw == file or len(raw) < len(file)
