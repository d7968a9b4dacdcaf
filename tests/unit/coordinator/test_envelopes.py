"""What a bad member can post to a running coordinator, and how the log is read."""

from __future__ import annotations

import threading
import time

import httpx2
import pytest

from fedanomaly.errors import (
    ProtocolError,
    RefusedError,
    ReplayError,
)
from fedanomaly.protocol import seal
from fedanomaly.protocol.messages import ContributionPost, JobEnd
from tests.unit.coordinator.conftest import serve, until
from tests.unit.coordinator.web import ask_for_job


def test_a_member_cannot_post_for_another(served):
    north, _ = served.enrol("north")
    _, south = served.enrol("south")
    with pytest.raises(RefusedError):
        south.post(served.say(north, ask_for_job()).envelope)


def test_a_member_cannot_speak_as_the_coordinator(standing):
    identity, client = standing.member
    message = JobEnd(epoch=bytes(32), job=1, outcome="accepted", reason="")
    with pytest.raises(ProtocolError):
        client.post(standing.say(identity, message).envelope)


@pytest.mark.parametrize("kind", ["", "unknown", "x" * 1000, "founded\n"])
def test_a_kind_that_is_not_known_is_refused(standing, kind):
    identity, client = standing.member
    envelope = seal(identity, standing.home.federation, kind, ask_for_job().to_bytes()).envelope
    with pytest.raises(ProtocolError):
        client.post(envelope)
    assert client.feed(0)[1] == 2


def test_the_same_envelope_twice_is_one_entry(served):
    identity, client = served.enrol("north")
    envelope = served.say(identity, ask_for_job()).envelope
    assert client.post(envelope) == client.post(envelope) == 3
    with pytest.raises(ReplayError):
        client.post(served.say(identity, ask_for_job(model="other")).envelope)
    assert client.feed(0)[1] == 3


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_damaged_envelope_is_refused(standing, web, cut):
    identity, client = standing.member
    data = standing.say(identity, ask_for_job()).envelope.to_bytes()
    assert web(standing, identity)("POST", "/v1/envelopes", content=data[:cut]).status_code in {409, 422}
    flipped = bytearray(data)
    flipped[-10] ^= 1
    assert web(standing, identity)("POST", "/v1/envelopes", content=bytes(flipped)).status_code == 409
    assert client.feed(0)[1] == 2


def test_an_envelope_of_another_version_is_told_so(standing, web):
    identity, client = standing.member
    data = standing.say(identity, ask_for_job()).envelope.to_bytes()
    response = web(standing, identity)("POST", "/v1/envelopes", content=data.replace(b"fedanomaly/1", b"fedanomaly/2"))
    assert (response.status_code, response.json()["code"]) == (409, "FA403")
    assert client.feed(0)[1] == 2


def test_an_envelope_beyond_the_limit_is_not_read(standing, web):
    identity, _ = standing.member
    assert web(standing, identity)("POST", "/v1/envelopes", content=bytes(2 * 1024 * 1024 + 1)).status_code == 413


def test_a_body_that_grows_beyond_what_it_said_is_cut(standing, web):
    identity, _ = standing.member

    def endless(request) -> None:
        del request.headers["content-length"]
        request.headers["transfer-encoding"] = "chunked"
        request.stream = httpx2.ByteStream(bytes(3 * 1024 * 1024))

    response = web(standing, identity)("POST", "/v1/envelopes", content=b"", change=endless)
    assert response.status_code == 413


def test_a_waiting_member_is_woken_by_the_next_entry(served):
    identity, north = served.enrol("north")
    _, south = served.enrol("south")
    got = []
    waiting = threading.Thread(target=lambda: got.append(south.feed(3, wait_s=20)))
    waiting.start()
    service = served.app.state.service
    until(lambda: sum(service._waiting.values()) == 1)
    started_s = time.monotonic()
    north.post(served.say(identity, ask_for_job()).envelope)
    waiting.join(20)
    assert time.monotonic() - started_s < 5
    assert [entry.seq for entry in got[0][0]] == [4]


def test_without_news_the_feed_answers_in_time(standing):
    _, client = standing.member
    assert client.feed(2, wait_s=0.05) == ([], 2)
    assert client.feed(99) == ([], 2)


def test_one_member_cannot_hold_many_places(served, monkeypatch):
    monkeypatch.setattr("fedanomaly.coordinator.service.MAX_WAITING_OF_ONE_MEMBER", 0)
    _, client = served.enrol("north")
    assert client.feed(2, wait_s=20) == ([], 2)


def test_a_long_log_comes_in_pieces(federation, monkeypatch):
    monkeypatch.setattr("fedanomaly.coordinator.service.FEED_ENTRIES", 2)
    with serve(federation.home):
        identity, client = federation.enrol("north")
        for n in range(3):
            client.post(federation.say(identity, ask_for_job(n)).envelope)
        assert [[e.seq for e in client.feed(after)[0]] for after in (0, 2, 4)] == [[1, 2], [3, 4], [5]]
        assert client.feed(0)[1] == 5


def test_bytes_are_not_read_for_an_envelope_that_is_refused_anyhow(served, monkeypatch):
    identity, client = served.enrol("north")
    data = b"x" * 1000
    client.upload(data)
    monkeypatch.setattr(served.app.state.service.blobs, "staged", None)

    with pytest.raises(ProtocolError):
        client.post(served.say(identity, ContributionPost(manifest=bytes(32)), data).envelope)
