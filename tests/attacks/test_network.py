"""Somebody on the network who reads, changes, replays, cuts and reorders requests and answers, without TLS.

Everything that counts is signed and everything private is encrypted before it
leaves a node: what is changed is refused, and a member says nothing more for it.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedanomaly.errors import FedAnomalyError, ProtocolError, UnavailableError
from fedanomaly.protocol import Envelope
from tests.attacks.between import Web, said, web
from tests.attacks.fork import private
from tests.unit.coordinator.conftest import plain_logs
from tests.unit.protocol.driving import read
from tests.unit.protocol.toy import toy_request, toy_rows

__all__ = ["plain_logs"]


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    with web(tmp_path_factory.mktemp("network")) as made:
        yield made


_tags = itertools.count(1)


@pytest.fixture
def job(wire):
    """A job that was just asked for; whatever a test did, it is brought to its end afterwards."""
    wire.between.honest()
    first = wire.organisations[0]
    first.client.post(first.member.request(toy_request(next(_tags))).envelope)
    yield wire
    wire.between.honest()
    wire.pump()
    assert wire.log.jobs[-1].state.value == "accepted"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def until_due(wire: Web, kind: str):
    """Run until the second member has something of this kind to say and has not said it; returns the member."""
    victim = wire.organisations[1]
    for _ in range(100):
        for organisation in (wire.organisations[0], wire.organisations[2]):
            organisation.step()
        log = wire.log.open_job
        open_round = log.open_round if log else None
        done = {
            "ready": log and len(log.ready) == 2,
            "join": open_round and len(open_round.joins) == 2,
            "contribution": open_round and len(open_round.contributions) == 2,
            "statement": open_round and len(open_round.statements) == 2,
        }[kind]
        if done:
            return victim
        if not wire.organisations[0].step() and not wire.organisations[2].step():
            victim.step()
    raise AssertionError(f"nothing of kind {kind} is due")


def test_whoever_records_the_network_reads_no_statistic_and_no_key(job):
    job.pump()
    traffic = b"".join(exchange.request + exchange.answer for exchange in job.between.exchanges)
    assert b"contribution" in traffic  # it reads what there is to read
    sums = [toy_rows(index).sum(axis=0) for index in range(3)]
    for plain in (*sums, np.sum(sums, axis=0), *(toy_rows(index)[0] for index in range(3))):
        for kind in ("<i8", "<i4", "<f8", ">i8"):
            assert plain.astype(kind).tobytes() not in traffic
    for organisation in job.organisations:
        party = organisation.party
        for secret in (party.identity._identity.private_bytes_raw(), party.vault._key, *party.vault._sealed.values()):
            assert secret[:32] not in traffic
        state = organisation.member.state(organisation.member.transcript.jobs[-1])
        assert state is not None
        assert state.to_bytes()[-60:] not in traffic


def test_a_bit_changed_anywhere_in_a_request_changes_nothing(job):
    """Method, path, query, each header, the body: refused, or it was of no account and is what the member signed."""
    victim = until_due(job, "join")
    (honest,) = _due(victim)
    head, blobs, refused = job.head, job.blobs(), 0
    raw = _request_of_a_post(job, victim, honest.envelope)
    length = raw.lower().index(b"content-length")
    longer = range(length, raw.index(b"\r\n", length))  # the coordinator would wait for more: cut requests are below
    for at in (at for at in range(0, len(raw), 29) if at not in longer):
        job.between.request = lambda raw, at=at: flipped(raw, min(at, len(raw) - 1))
        try:
            victim.client.post(honest.envelope)
        except FedAnomalyError:
            refused += 1
        new = _stored(job)[head:]
        if new:  # a byte of no account, as in the name of the client: from here on the log has it
            assert new[0].digest == honest.envelope.digest
            assert {envelope.sender for envelope in new[1:]} <= {job.federation.home.identity.public_key}
    assert job.blobs() == blobs
    assert refused > 5


def _request_of_a_post(job, victim, envelope: Envelope) -> bytes:
    """Return the request, without letting it through."""
    seen: list[bytes] = []
    job.between.request = seen.append
    with pytest.raises(UnavailableError):
        victim.client.post(envelope)
    return seen[0]


def _due(organisation) -> list:
    entries, _ = organisation.client.feed(organisation.member.transcript.head)
    for entry in entries:
        organisation.member.accept(entry)
    return list(organisation.member.act(organisation.client.download))


def _stored(job) -> list[Envelope]:
    first = job.organisations[0].client
    request, answer = job.between.request, job.between.answer
    job.between.honest()
    entries, after = [], 0
    while True:
        more, head = first.feed(after)
        entries += [entry.envelope for entry in more]
        after = len(entries)
        if after >= head:
            break
    job.between.request, job.between.answer = request, answer
    return entries


@pytest.mark.parametrize("kind", ["ready", "join", "contribution", "statement"])
def test_a_bit_changed_anywhere_in_an_answer_lets_nothing_else_out_and_the_member_goes_on(job, kind):
    victim = until_due(job, kind)
    job.between.answer = lambda _request, raw: None
    assert isinstance(victim.tried(), UnavailableError)
    sizes = []
    job.between.answer = lambda _request, raw: sizes.append(len(raw))
    assert isinstance(victim.tried(), UnavailableError)
    sent_before = len(victim.sent)
    body = sizes[0]
    for at in range(body // 40, body, max(1, body // 60)):
        job.between.answer = lambda _request, raw, at=at: flipped(raw, min(at, len(raw) - 1)) + b""
        victim.tried()
    job.between.honest()
    assert victim.tried() is None or victim.tried() is None  # the first one may find its connection closed
    assert victim.refused == []
    new = victim.sent[sent_before:]
    said = {(post.envelope.kind, read(post).manifest, post.envelope.digest) for post in new if private([post])}
    assert len(said) == len({(kind, manifest) for kind, manifest, _ in said})


def test_whatever_is_sent_again_is_one_or_is_refused(job):
    """Every request of the whole job once more, as it was, in another order: no entry and no blob more."""
    start = len(job.between.exchanges)
    job.pump()
    recorded = [exchange.request for exchange in job.between.exchanges[start:]]
    head, blobs = job.head, job.blobs()
    statuses = {job.between.forward(request).split(b" ", 2)[1] for request in recorded[::-1]}
    assert job.head == head
    assert job.blobs() == blobs
    assert statuses <= {b"200", b"401", b"409"}
    signed = [request for request in recorded if b"signature-input" in request.lower()]
    assert {job.between.forward(request).split(b" ", 2)[1] for request in signed[-20:]} <= {b"401", b"409"}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_an_answer_that_was_cut_is_no_answer(job, share):
    victim = until_due(job, "contribution")
    job.between.answer = lambda _request, raw: raw[: int(len(raw) * share)]
    before = victim.member.transcript.head
    assert isinstance(victim.tried(), FedAnomalyError)
    assert victim.member.transcript.head == before


def test_a_request_that_was_cut_leaves_nothing(job):
    victim = until_due(job, "contribution")
    (honest,) = _due(victim)
    head, blobs = job.head, job.blobs()
    job.between.request = lambda raw: raw[:-1] if raw.startswith(b"PUT") else raw
    job.between.forward, forward = (lambda raw: b"" if raw.startswith(b"PUT") else forward(raw)), job.between.forward
    with pytest.raises(FedAnomalyError):
        victim.client.upload(honest.attachment)
    job.between.forward = forward
    job.between.honest()
    with pytest.raises(FedAnomalyError):
        victim.client.post(honest.envelope)
    assert (job.head, job.blobs()) == (head, blobs)


def test_answers_that_were_swapped_are_refused(job):
    """The answer to another question, of another member or of an earlier time."""
    victim = until_due(job, "contribution")
    answers = {exchange.line.split("?")[0].split("/")[2].split(" ")[0]: exchange for exchange in job.between.exchanges}
    assert {"envelopes", "blobs"} <= set(answers)
    others = [exchange for exchange in job.between.exchanges if exchange.answer]
    before = victim.member.transcript.head
    for exchange in [*answers.values(), *others[:: max(1, len(others) // 25)]]:
        job.between.answer = lambda _request, _raw, exchange=exchange: exchange.answer + b""
        error = victim.tried()
        if error is None:  # an old answer of the feed may say that there is nothing new
            assert victim.member.transcript.head == before
    assert private(victim.sent[-1:]) == [] or victim.member.transcript.head > before


def test_another_coordinator_in_its_place_gets_nothing_that_it_can_use(job, tmp_path):
    """Requests are for one federation: elsewhere they are refused, and what answers there is not believed."""
    with web(tmp_path / "other") as other:
        victim = until_due(job, "contribution")
        job.between.forward, forward = other.between.forward, job.between.forward
        head, sent = other.head, len(victim.sent)
        try:
            assert isinstance(victim.tried(), FedAnomalyError)
            with pytest.raises(ProtocolError):
                victim.client.federation()
        finally:
            job.between.forward = forward
        assert other.head == head
        assert private(victim.sent[sent:]) == []


def test_a_redirect_is_not_followed(job, wire):
    victim = until_due(job, "contribution")
    asked = []
    elsewhere = type(wire.between)(job.federation.home.config.listen_port)
    elsewhere.request = asked.append
    for status in (301, 302, 303, 307, 308):
        job.between.answer = lambda _request, _raw, status=status: said(status, b"", f"location: {elsewhere.url}/")
        assert isinstance(victim.tried(), FedAnomalyError)
    elsewhere.close()
    assert asked == []
