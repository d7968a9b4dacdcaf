"""What a member uploads to a running coordinator: parts, whole blobs, attachments."""

from __future__ import annotations

import os

import pytest

from fedanomaly.coordinator import api
from fedanomaly.errors import (
    CapacityError,
    MessageError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
)
from fedanomaly.protocol.messages import Deal
from fedanomaly.transport.wire import PART_BYTES, Parts, decode
from tests.unit.coordinator.conftest import until
from tests.unit.coordinator.web import ask_for_job, sha256


def test_a_slow_body_is_given_up(served, web, monkeypatch):
    monkeypatch.setattr(api, "BODY_TIMEOUT_S", 0.05)
    identity, client = served.enrol("north")
    data = os.urandom(1000)
    with served.connect() as raw:
        raw.sendall(served.put_head(identity, data) + data[:500])
        assert raw.recv(12) == b"HTTP/1.1 503"
    assert client.upload(data) == sha256(data)


def test_a_caller_that_hangs_up_leaves_nothing(served):
    identity, client = served.enrol("north")
    data = os.urandom(1000)
    staged = served.home.blobs_path / "staged"
    with served.connect() as raw:
        raw.sendall(served.put_head(identity, data) + data[:500])
        until(lambda: list(staged.rglob("*.tmp")))
    until(lambda: not list(staged.rglob("*.tmp")))
    assert client.upload(data) == sha256(data)


def test_an_upload_of_several_parts_arrives_whole(served):
    identity, client = served.enrol("north")
    data = os.urandom(2 * PART_BYTES + 5)
    digest = client.upload(data)
    blobs = served.app.state.service.blobs
    assert blobs.staged(identity.public_key, digest, len(data)).read(0, len(data)) == data
    assert client.upload(data) == digest


def test_what_is_uploaded_is_not_published_before_it_is_used(served):
    _, north = served.enrol("north")
    _, south = served.enrol("south")
    digest = north.upload(b"not yet")
    for client in (north, south):
        with pytest.raises(NotFoundError):
            client.download(digest)


def test_a_blob_beyond_the_limit_is_refused(served):
    _, client = served.enrol("north")
    client._max_blob_bytes = 2**40
    with pytest.raises(CapacityError):
        client.upload(bytes(served.home.config.max_blob_bytes + 1))


def test_a_part_that_is_longer_or_shorter_than_it_must_be_is_refused(standing, web):
    identity, _ = standing.member
    for body in (b"12", b"1234"):
        response = web(standing, identity)("PUT", f"/v1/blobs/{'a' * 64}/parts/0?size=3", content=body)
        assert response.status_code == 422


def test_parts_that_do_not_make_the_blob_start_over(served, web):
    identity, _ = served.enrol("north")
    send, path, size = web(served, identity), f"/v1/blobs/{'a' * 64}", PART_BYTES + 3
    assert send("PUT", f"{path}/parts/1?size={size}", content=b"abc").status_code == 204
    assert send("PUT", f"{path}/parts/1?size={size}", content=b"abc").status_code == 204
    assert send("PUT", f"{path}/parts/1?size={size}", content=b"xyz").status_code == 409
    assert send("PUT", f"{path}/parts/0?size={size}", content=bytes(PART_BYTES)).status_code == 204
    assert send("POST", f"{path}?size={size}").status_code == 422
    assert send("PUT", f"{path}/parts/1?size={size}", content=b"xyz").status_code == 204


def test_a_blob_of_one_part_is_whole_once_it_is_there(served, web):
    identity, client = served.enrol("north")
    digest = client.upload(b"small")
    send, path = web(served, identity), f"/v1/blobs/{digest.hex()}"
    assert decode(Parts, send("GET", f"{path}/parts?size=5").content).whole
    assert send("PUT", f"{path}/parts/0?size=5", content=b"small").status_code == 204
    assert send("PUT", f"{path}/parts/0?size=5", content=b"other").status_code == 422
    assert send("POST", f"{path}?size=5").status_code == 204


class TestAttachments:
    """Three members up to their deals, the first messages that carry something."""

    def test_an_attachment_that_was_posted_is_for_every_member(self, served, dealing):
        members, roster = dealing
        identity, client = members[0]
        post = served.say(identity, Deal(roster=roster, receiver=2), b"sealed" * 1000)
        assert client.upload(post.attachment) == post.envelope.attachment
        seq = client.post(post.envelope)
        assert seq == client.post(post.envelope)
        assert members[1][1].download(post.envelope.attachment) == post.attachment
        assert not list((served.home.blobs_path / "staged").rglob("whole"))

    def test_an_envelope_without_its_attachment_is_refused(self, served, dealing):
        (identity, client), roster = dealing[0][0], dealing[1]
        post = served.say(identity, Deal(roster=roster, receiver=2), b"sealed")
        with pytest.raises(NotFoundError):
            client.post(post.envelope)
        client.upload(post.attachment)
        client.post(post.envelope)

    def test_what_another_member_uploaded_cannot_be_attached(self, served, dealing):
        members, roster = dealing
        post = served.say(members[0][0], Deal(roster=roster, receiver=2), b"sealed")
        members[1][1].upload(post.attachment)
        with pytest.raises(NotFoundError):
            members[0][1].post(post.envelope)

    def test_a_refused_envelope_publishes_nothing(self, served, dealing):
        members, roster = dealing
        identity, client = members[0]
        post = served.say(identity, Deal(roster=roster, receiver=9), b"sealed")
        client.upload(post.attachment)
        with pytest.raises(ProtocolError):
            client.post(post.envelope)
        with pytest.raises(NotFoundError):
            client.download(post.envelope.attachment)

    def test_an_attachment_where_none_belongs_is_refused(self, served, dealing):
        (identity, client), _ = dealing[0][0], dealing[1]
        post = served.say(identity, ask_for_job(), b"attached")
        client.upload(post.attachment)
        with pytest.raises(MessageError):
            client.post(post.envelope)

    def test_a_range_of_a_blob_is_sent(self, served, dealing, web):
        members, roster = dealing
        identity, client = members[0]
        post = served.say(identity, Deal(roster=roster, receiver=2), b"0123456789")
        client.upload(post.attachment)
        client.post(post.envelope)
        send, path = web(served, identity), f"/v1/blobs/{post.envelope.attachment.hex()}"
        for wanted, status, body in [
            ("bytes=4-", 206, b"456789"),
            ("bytes=2-4", 206, b"234"),
            ("bytes=9-99", 206, b"9"),
            ("bytes=10-", 416, b""),
            ("bytes=5-4", 416, b""),
            ("bytes=-3", 200, b"0123456789"),
            ("bytes=0-1,3-4", 200, b"0123456789"),
            ("nonsense", 200, b"0123456789"),
        ]:
            response = send("GET", path, headers={"range": wanted})
            assert (wanted, response.status_code, response.content) == (wanted, status, body)


def test_errors_of_the_disk_may_be_retried(served):
    _, client = served.enrol("north")
    staged = served.home.blobs_path / "staged"
    staged.rmdir()
    staged.write_bytes(b"a file where a folder should be")
    with pytest.raises(UnavailableError):
        client.upload(b"data")
