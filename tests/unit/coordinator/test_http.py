"""What the network, a stranger or a bad member can do to a running coordinator."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import httpx2
import pytest

from fedanomaly.coordinator import api
from fedanomaly.errors import (
    CapacityError,
    InvitationError,
    MessageError,
    NotFoundError,
    ProtocolError,
    RefusedError,
    ReplayError,
    UnauthenticatedError,
    UnavailableError,
)
from fedanomaly.protocol import Enrol, JobRequest, seal
from fedanomaly.protocol.messages import ContributionPost, Deal, Hello, JobEnd, RosterAccept
from fedanomaly.transport import Invitation, RequestSigner
from fedanomaly.transport.wire import PART_BYTES, Enrolment, encode
from tests.unit.coordinator.conftest import Identity, until


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def ask_for_job(n: int = 0, model: str = "payments") -> JobRequest:
    return JobRequest(
        request=n.to_bytes(16, "big"), model=model, dataset="d", detector="toy", version=1, params="{}",
        schema=bytes(32),
    )  # fmt: skip


class Web:
    """Sends requests exactly as told, signed or not."""

    def __init__(self, federation, identity=None) -> None:
        self._http = httpx2.Client(base_url=federation.url, trust_env=False, timeout=20)
        self._signer = RequestSigner(identity, federation.home.federation) if identity else None

    def __call__(self, method, path, *, content=b"", sign=True, change=lambda request: None, **options):
        request = self._http.build_request(method, path, content=content, **options)
        if self._signer and sign:
            self._signer.sign(request)
        change(request)
        return self._http.send(request)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def web(standing):
    opened = []

    def web(federation, identity=None):
        opened.append(Web(federation, identity))
        return opened[-1]

    yield web
    for each in opened:
        each.close()


# Enrolment


def test_enrolled_organisations_see_each_other_and_the_call_for_keys(served):
    clients = [served.enrol(name)[1] for name in ("north", "south", "west")]
    assert [entry.envelope.kind for entry in clients[2].feed(0)[0]] == ["founded", *["enrol"] * 3, "epoch-call"]
    status = clients[0].status()
    assert (status.name, status.members, status.epoch_state) == ("test", ("north", "south", "west"), "called")
    assert clients[1].federation().enrolled == 3


def test_an_invitation_works_once(served):
    identity, other = Identity(), Identity()
    invitation = served.invite("north")
    served.client(identity).enrol(invitation, served.enrolment(identity, "north"))
    with pytest.raises(InvitationError, match="used before"):
        served.client(other).enrol(invitation, served.enrolment(other, "north"))
    assert served.client(identity).status().members == ("north",)


def test_an_enrolment_whose_answer_was_lost_may_be_sent_again(served):
    identity = Identity()
    invitation, envelope = served.invite("north"), served.enrolment(identity, "north")
    client = served.client(identity)
    assert client.enrol(invitation, envelope) == client.enrol(invitation, envelope) == 2
    assert len(client.feed(0)[0]) == 2


def test_an_invitation_is_for_one_name(served):
    identity = Identity()
    with pytest.raises(InvitationError, match="another name"):
        served.client(identity).enrol(served.invite("north"), served.enrolment(identity, "south"))


def test_an_expired_invitation_is_refused(standing):
    identity = Identity()
    invitation = standing.invite("north", ttl_s=1.0, now_s=time.time() - 5)
    with pytest.raises(InvitationError, match="expired"):
        standing.client(identity).enrol(invitation, standing.enrolment(identity, "north"))


def test_a_guessed_invitation_is_refused(standing):
    identity = Identity()
    real = standing.invite("north")
    guess = Invitation(
        url=real.url, coordinator=real.coordinator, federation=real.federation, name="north", secret=bytes(32)
    )
    with pytest.raises(InvitationError, match="no such"):
        standing.client(identity).enrol(guess, standing.enrolment(identity, "north"))


def test_an_invitation_that_was_refused_is_still_good(served):
    identity = Identity()
    invitation = served.invite("north")
    with pytest.raises(InvitationError):
        served.client(identity).enrol(invitation, served.enrolment(identity, "south"))
    assert served.client(identity).enrol(invitation, served.enrolment(identity, "north")) == 2


def test_an_enrolment_must_be_signed_by_the_key_that_it_enrols(served):
    identity, thief = Identity(), Identity()
    envelope = served.enrolment(identity, "north")
    forged = type(envelope)(
        federation=envelope.federation, kind="enrol", sender=thief.public_key, body=envelope.body,
        signature=envelope.signature,
    )  # fmt: skip
    with pytest.raises(ProtocolError):
        served.client(thief).enrol(served.invite("north"), forged)


def test_a_key_enrols_once_and_a_name_as_well(served):
    identity, client = served.enrol("north")
    with pytest.raises(InvitationError, match="enrolled already; another organisation needs a home of its own"):
        client.enrol(served.invite("south"), served.enrolment(identity, "south"))
    other = Identity()
    with pytest.raises(InvitationError, match="ask for an invitation under another name"):
        served.client(other).enrol(served.invite("north"), served.enrolment(other, "north"))
    assert client.status().members == ("north",)


def test_an_invitation_admits_nothing_but_an_enrolment(served):
    identity = Identity()
    with pytest.raises(RefusedError):
        served.client(identity).enrol(served.invite("north"), served.say(identity, ask_for_job()).envelope)
    enrolment = served.say(identity, Enrol(name="north"), b"attached").envelope
    with pytest.raises(RefusedError):
        served.client(identity).enrol(served.invite("north"), enrolment)


def test_a_member_cannot_enrol_another_key_without_an_invitation(served):
    identity, client = served.enrol("north")
    with pytest.raises(RefusedError):
        client.post(served.enrolment(identity, "north2"))


@pytest.mark.parametrize(
    "body", [b"", b"garbage", encode(Enrolment(secret=b"s", envelope=b"e")), b"\x82\xa6secret\xc4\x01s"]
)
def test_an_enrolment_that_is_none_is_refused(standing, web, body):
    response = web(standing)("POST", "/v1/enrol", content=body)
    assert response.status_code == 422
    assert response.json()["code"] == "FA301"


def test_an_enrolment_beyond_the_limit_is_not_read(standing, web):
    assert web(standing)("POST", "/v1/enrol", content=bytes(65 * 1024)).status_code == 413


# Who may do what

ROUTES = [
    ("GET", "/v1/envelopes"),
    ("POST", "/v1/envelopes"),
    ("GET", "/v1/status"),
    ("GET", f"/v1/blobs/{'a' * 64}/parts?size=1"),
    ("PUT", f"/v1/blobs/{'a' * 64}/parts/0?size=1"),
    ("POST", f"/v1/blobs/{'a' * 64}?size=1"),
    ("GET", f"/v1/blobs/{'a' * 64}"),
]


def test_every_route_but_the_open_ones_is_in_the_list_above(standing):
    found = {
        (method, "/v1" * (not route.path.startswith("/v1")) + route.path)
        for route in (*api.member_routes.routes, *api.open_routes.routes)
        for method in route.methods
    }
    is_open = {"/v1/healthz", "/v1/healthz/live", "/v1/healthz/ready", "/v1/federation", "/v1/enrol"}
    wants_signature = {
        (method, path.replace("{digest}", "a" * 64).replace("{number}", "0"))
        for method, path in found
        if path not in is_open
    }
    assert wants_signature == {(method, path.split("?")[0]) for method, path in ROUTES}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_only_members_are_answered(standing, web, method, path, who):
    response = web(standing, Identity() if who == "stranger" else None)(method, path)
    assert response.status_code == 401
    assert response.json() == {"code": "FA406", "message": "the request is not signed as it must be"}


def test_a_stranger_cannot_make_the_coordinator_read_a_body(standing):
    head = f"PUT {ROUTES[4][1]} HTTP/1.1\r\nhost: h\r\ncontent-length: 8000000\r\n\r\n"
    with standing.connect() as raw:
        raw.sendall(head.encode())
        assert raw.recv(12) == b"HTTP/1.1 401"


def test_a_replayed_request_is_refused(standing, web):
    identity, _ = standing.member
    kept = []
    send = web(standing, identity)
    assert send("GET", "/v1/status", change=lambda request: kept.append(request.headers.copy())).status_code == 200
    replay = send("GET", "/v1/status", sign=False, change=lambda request: request.headers.update(kept[0]))
    assert replay.status_code == 401


def test_a_body_that_was_not_signed_is_refused(served, web):
    identity, client = served.enrol("north")
    honest = served.say(identity, ask_for_job(1)).envelope.to_bytes()
    other = served.say(identity, ask_for_job(2)).envelope.to_bytes()
    assert len(honest) == len(other)

    def swap(request) -> None:
        request.stream = httpx2.ByteStream(other)

    response = web(served, identity)("POST", "/v1/envelopes", content=honest, change=swap)
    assert response.status_code == 401
    assert client.feed(0)[1] == 2


def test_a_body_where_none_belongs_is_refused(standing, web):
    identity, _ = standing.member
    assert web(standing, identity)("GET", "/v1/status", content=b"x").status_code == 401


def test_a_clock_that_is_wrong_is_told_so(standing):
    identity, _ = standing.member
    late = standing.client(identity, clock=lambda: time.time() - 3600)
    with pytest.raises(UnauthenticatedError, match=r"360\d s ago: set your clock"):
        late.status()


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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/envelopes?after=-1", 422), ("GET", "/v1/envelopes?after=x", 422),
        ("GET", "/v1/envelopes?wait_s=31", 422), ("GET", "/v1/envelopes?wait_s=nan", 422),
        ("GET", f"/v1/envelopes?after={2**70}", 422), ("GET", f"/v1/blobs/{'a' * 64}/parts", 422),
        ("GET", "/v1/blobs/..%2F..%2Fcoordinator.key", 404), ("GET", "/v1/blobs/../../coordinator.key", 404),
        ("GET", "/v1/blobs/coordinator.key", 422), ("GET", f"/v1/blobs/{'A' * 64}", 422),
        ("GET", f"/v1/blobs/{'a' * 63}%0a", 422), ("GET", "/v1/blobs/%00", 422),
        ("PUT", f"/v1/blobs/{'a' * 64}/parts/-1?size=1", 422), ("PUT", f"/v1/blobs/{'a' * 64}/parts/1?size=1", 422),
        ("PUT", f"/v1/blobs/{'a' * 64}/parts/0?size={2**50}", 413),
        ("POST", f"/v1/blobs/{'a' * 64}?size=1", 422), ("GET", f"/v1/blobs/{'a' * 64}", 404),
        ("GET", "/v1/nothing", 404), ("DELETE", "/v1/status", 405), ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_has_a_plain_answer(standing, web, method, path, status):
    identity, _ = standing.member
    response = web(standing, identity)(method, path)
    assert response.status_code == status
    assert set(response.json()) <= {"code", "message"}


def test_health_is_answered_to_everybody(standing, web):
    send = web(standing)
    for path in ("/healthz", "/healthz/live", "/healthz/ready"):
        assert send("GET", path).status_code == 200


def test_an_error_nobody_thought_of_says_nothing(served, web, monkeypatch):
    identity, _ = served.enrol("north")
    monkeypatch.setattr(served.app.state.service, "status", None)
    response = web(served, identity)("GET", "/v1/status")
    assert response.status_code == 500
    assert response.json()["code"] == "FA000"


# Feed


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


def test_a_long_log_comes_in_pieces(served, monkeypatch):
    monkeypatch.setattr("fedanomaly.coordinator.service.FEED_ENTRIES", 2)
    identity, client = served.enrol("north")
    for n in range(3):
        client.post(served.say(identity, ask_for_job(n)).envelope)
    assert [[e.seq for e in client.feed(after)[0]] for after in (0, 2, 4)] == [[1, 2], [3, 4], [5]]
    assert client.feed(0)[1] == 5


# Blobs


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
    send, path = web(served, identity), f"/v1/blobs/{'a' * 64}"
    assert send("PUT", f"{path}/parts/0?size=3", content=b"abc").status_code == 204
    assert send("PUT", f"{path}/parts/0?size=3", content=b"abc").status_code == 204
    assert send("PUT", f"{path}/parts/0?size=3", content=b"xyz").status_code == 409
    assert send("POST", f"{path}?size=3").status_code == 422
    assert send("PUT", f"{path}/parts/0?size=3", content=b"xyz").status_code == 204


class TestAttachments:
    """Three members up to their deals, the first messages that carry something."""

    @pytest.fixture
    def dealing(self, served):
        members = [served.enrol(name) for name in ("north", "south", "west")]
        call = served.log()[-1].envelope.digest
        for identity, client in members:
            client.post(served.say(identity, Hello(call=call, nonce=os.urandom(32), hello=bytes(1248))).envelope)
        roster = sha256(served.log()[-1].envelope.body)
        for identity, client in members:
            client.post(served.say(identity, RosterAccept(roster=roster)).envelope)
        return members, roster

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


def test_nobody_in_a_log_line_is_more_than_a_key(served, capfd):
    invitation = served.invite("north")
    identity = Identity()
    served.client(identity).enrol(invitation, served.enrolment(identity, "north"))
    written = "".join(capfd.readouterr())
    assert "appended" in written
    assert invitation.secret.hex() not in written
    assert invitation.to_text() not in written


def test_errors_of_the_disk_may_be_retried(served):
    _, client = served.enrol("north")
    staged = served.home.blobs_path / "staged"
    staged.rmdir()
    staged.write_bytes(b"a file where a folder should be")
    with pytest.raises(UnavailableError):
        client.upload(b"data")


def test_bytes_are_not_read_for_an_envelope_that_is_refused_anyhow(served, monkeypatch):
    identity, client = served.enrol("north")
    data = b"x" * 1000
    client.upload(data)
    monkeypatch.setattr(served.app.state.service.blobs, "staged", None)

    with pytest.raises(ProtocolError):
        client.post(served.say(identity, ContributionPost(manifest=bytes(32)), data).envelope)
