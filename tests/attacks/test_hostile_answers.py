"""A coordinator that answers a node with anything at all: too much, too deep, too slow, elsewhere, something else.

The node refuses, says so, sends nothing for it, keeps little of it in memory,
and goes on by itself as soon as it is answered honestly.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct
import time
import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from fedanomaly.coordinator import create_invitation
from fedanomaly.errors import FedAnomalyError
from fedanomaly.node import service as module
from fedanomaly.node.enrolment import enrol
from fedanomaly.node.home import Home
from fedanomaly.node.service import NodeService
from fedanomaly.transport import CoordinatorClient, Patience
from fedanomaly.transport.wire import Feed, decode, encode
from tests.attacks.between import Organisation as Other
from tests.attacks.between import Web, said
from tests.unit.coordinator.conftest import found, plain_logs, serve
from tests.unit.node.federation import CHEAP, PASSPHRASE
from tests.unit.protocol.toy import ToyLearner, toy_rows

__all__ = ["plain_logs"]

IMPATIENT = Patience(attempts=1, connect_timeout_s=5, io_timeout_s=0.3)
LIMIT = 6 << 20
"""What an answer of the feed may have."""


class Node:
    """A real node in front of a hostile coordinator; each test does its turns itself."""

    def __init__(self, web: Web, service: NodeService) -> None:
        self.web, self.service = web, service

    def turn(self) -> None:
        self.service._turn(0.0)

    def problems(self) -> int:
        return sum(bool(event.details.get("problem")) for event in self.service.feed.after(0))

    def go_on(self) -> str:
        """Let everybody act honestly until nothing moves; returns the state of the key epoch."""
        self.web.between.honest()
        head = -1
        while head != self.web.head:
            head = self.web.head
            for organisation in self.web.organisations:
                organisation.step()
            self.turn()
        return self.service.status.epoch_state


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)
    with found(tmp_path / "coordinator") as federation, serve(federation.home) as app:
        web = Web(federation, app)
        home = Home.create(tmp_path / "north", PASSPHRASE, cost=CHEAP)
        keystore = home.unlock(PASSPHRASE)
        invitation = create_invitation(federation.home.folder, "north")
        enrol(home, keystore, dataclasses.replace(invitation, url=web.between.url))
        service = NodeService(home, keystore)
        service._client.close()
        service._client = CoordinatorClient(
            web.between.url,
            signer=keystore,
            coordinator=federation.home.identity.public_key,
            federation=federation.home.federation,
            patience=IMPATIENT,
        )
        for index, name in enumerate(("south", "west"), 1):
            web.organisations.append(Other(federation, federation.url, name, ToyLearner(toy_rows(index))))
        try:
            yield Node(web, service)
        finally:
            service.stop()
            web.between.close()
            for organisation in web.organisations:
                organisation.member.close()


def chunked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def feed_of(raw: bytes) -> Feed:
    return decode(Feed, raw.split(b"\r\n\r\n", 1)[1])


def changed(raw: bytes, **fields) -> bytes:
    return said(200, encode(msgspec.structs.replace(feed_of(raw), **fields)))


def times(raw: bytes, at: float) -> bytes:
    return changed(raw, entries=tuple(msgspec.structs.replace(e, received_at=at) for e in feed_of(raw).entries))


HOSTILE = {
    "too much": lambda _: said(200, bytes(LIMIT + (1 << 20))),
    "nothing": lambda _: said(200, b""),
    "no answer": lambda _: None,
    "not HTTP": lambda _: b"\0" * 1000,
    "headers without end": lambda _: (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 for _ in range(1000)),
    "one endless header": lambda _: (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 for _ in range(100)),
    "a page": lambda _: said(200, b"<html>log in here</html>", "content-type: text/html"),
    "JSON": lambda _: said(200, b'{"head": 0, "entries": []}', "content-type: application/json"),
    "deep": lambda _: said(200, b"\x91" * 5_000_000),
    "deep maps": lambda _: said(200, b"\x81\xa1x" * 1_000_000),
    "a list said to be huge": lambda _: said(200, b"\x82\xa4head\x01\xa7entries\xdd\xff\xff\xff\xff"),
    "bytes said to be huge": lambda _: said(200, b"\x81\xa5chain\xc6\xff\xff\xff\xff"),
    "an error page": lambda _: said(500, b"<html>" * 10_000),
    "a wait for ever": lambda _: said(503, b'{"code": "FA500", "message": "m", "retry_after_s": 1e300}'),
    "a refusal": lambda _: said(403, b'{"code": "FA402", "message": "\x1b[2J go away"}'),
    "a code from nowhere": lambda _: said(400, b'{"code": "XX999", "message": "m"}'),
    "compressed": lambda raw: said(200, raw, "content-encoding: gzip"),
    "a shorter log": lambda raw: changed(raw, head=0, entries=()),
    "entries left out": lambda raw: changed(raw, entries=feed_of(raw).entries[1:]),
    "entries out of order": lambda raw: changed(raw, entries=feed_of(raw).entries[::-1]),
    "entries twice": lambda raw: changed(raw, entries=feed_of(raw).entries * 2),
    "another log before": lambda raw: changed(raw, chain=b"\1" * 32),
    "no chain": lambda raw: changed(raw, chain=b""),
    "a body shorter than it says": lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
    "a length below zero": lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nx",
    "two lengths": lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
}


def test_whatever_the_coordinator_answers_the_node_sends_nothing_for_it_and_goes_on(node):
    for what, hostile in HOSTILE.items():
        head, known = node.web.head, node.service.status.head
        node.web.between.answer = lambda _request, raw, hostile=hostile: hostile(raw)
        tracemalloc.start()
        node.turn()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 * LIMIT, what
        assert (node.web.head, node.service.status.head) == (head, known), what
    assert node.problems() >= 1
    assert node.go_on() == "live"
    assert node.service.status.connected


def test_an_endless_answer_is_cut_off_soon(node):
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(2_000):
            sent.append(1 << 16)
            yield bytes(1 << 16)

    node.web.between.answer = lambda _request, _raw: chunked(endless())
    node.turn()
    assert sum(sent) < LIMIT + (8 << 20)  # what is under way in the sockets may come on top
    assert node.go_on() == "live"


def test_an_answer_that_trickles_is_given_up(node):
    """Each byte comes in time, the whole never does."""
    sent = []

    def trickle() -> Iterator[bytes]:
        for _ in range(400):
            sent.append(1)
            yield b"\0"
            time.sleep(0.02)

    for head in (b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Busy"):
        sent.clear()

        def dripping(head=head) -> Iterator[bytes]:
            yield head + b"\r\ncontent-length: 1000000\r\n\r\n"
            yield from trickle()

        node.web.between.answer = lambda _request, _raw, dripping=dripping: dripping()
        started = time.monotonic()
        node.turn()
        assert time.monotonic() - started < 5
        assert len(sent) < 200
    assert node.go_on() == "live"


def test_a_time_that_is_none_does_not_stop_a_node(node):
    none = itertools.cycle([math.nan, math.inf, -math.inf, 1e300, -1e300, -1.0])
    node.web.between.answer = lambda request, raw: (
        times(raw, next(none)) if b"GET /v1/envelopes" in request and raw.startswith(b"HTTP/1.1 200") else raw
    )
    for _ in range(40):
        node.turn()
        for organisation in node.web.organisations:
            organisation.step()
    assert node.go_on() == "live"
    node.service._publish()


def test_a_head_that_is_none_does_not_stop_a_node(node):
    for head in (-1, 2**62, -(2**62)):
        node.web.between.answer = lambda _request, raw, head=head: changed(raw, head=head)
        node.turn()
    assert node.go_on() == "live"


def test_an_attachment_that_is_not_what_it_should_be_is_not_taken(node):
    """The deals of the others, changed on the way: no confirmation leaves, until they come as they are."""
    endless = (bytes(1 << 20) for _ in range(2_000))
    bent = {
        "changed": lambda body: said(200, bytes([body[0] ^ 1]) + body[1:]),
        "empty": lambda _: said(200, b""),
        "endless": lambda _: chunked(endless),
        "another": lambda _: said(200, struct.pack("<Q", 7) * 100),
        "missing": lambda _: said(404, b'{"code": "FA404", "message": "gone"}'),
    }

    def answer(request: bytes, raw: bytes):
        line = request.split(b"\r\n", 1)[0]
        if not line.startswith(b"GET /v1/blobs/") or b"/parts" in line:
            return raw
        asked.append(how[0])
        return bent[how[0]](raw.split(b"\r\n\r\n", 1)[1])

    asked: list[str] = []
    node.service._client._max_blob_bytes = 8 << 20
    node.web.between.answer = answer
    how = ["changed"]
    while not asked:
        for organisation in node.web.organisations:
            organisation.step()
        node.turn()
    for how[0] in bent:
        node.turn()
        node.turn()  # the first one may find its connection closed
    assert set(asked) == set(bent)
    epoch = node.web.log.epoch
    assert epoch.index_of(node.service._identity) not in epoch.confirms
    assert node.problems() >= 1
    assert next(endless, None) is not None
    assert node.go_on() == "live"


def test_a_refused_post_is_told_and_said_again_bit_for_bit(node):
    """A coordinator that answers every post with a refusal hears the same bytes again, and nothing else."""
    bodies = []

    def answer(request: bytes, raw: bytes):
        if request.startswith(b"POST /v1/envelopes"):
            bodies.append(request.split(b"\r\n\r\n", 1)[1])
            return said(403, b'{"code": "FA402", "message": "no"}')
        return raw

    node.web.between.answer = answer
    node.web.between.request = lambda raw: raw.replace(b"POST /v1/envelopes", b"POST /v1/nowhere00")
    for _ in range(4):
        node.turn()
    assert len(bodies) >= 3
    assert len(set(bodies)) == 1
    assert node.go_on() == "live"


def test_the_first_answer_of_all_is_held_against_what_was_pinned(node):
    for bent in (b"", b"\x80", b"\x91" * 60_000, bytes(100_000)):
        node.web.between.answer = lambda _request, _raw, bent=bent: said(200, bent)
        with pytest.raises(FedAnomalyError):
            node.service._client.federation()
    node.web.between.honest()
    assert node.service._client.federation().name == "test"
