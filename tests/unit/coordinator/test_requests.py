"""What the network or a stranger can do to a running coordinator by requests alone."""

from __future__ import annotations

import time

import httpx2
import pytest

from fedanomaly.coordinator import api
from fedanomaly.errors import (
    UnauthenticatedError,
    VersionError,
)
from tests.unit.coordinator.conftest import Identity, until
from tests.unit.coordinator.web import ask_for_job

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


def test_nobody_in_a_log_line_is_more_than_a_key(served, capfd):
    invitation = served.invite("north")
    identity = Identity()
    served.client(identity).enrol(invitation, served.enrolment(identity, "north"))
    written = ""

    def appended() -> bool:  # the line may come after the answer
        nonlocal written
        written += "".join(capfd.readouterr())
        return "appended" in written

    until(appended)
    assert invitation.secret.hex() not in written
    assert invitation.to_text() not in written


def test_a_coordinator_of_another_version_is_not_spoken_to(served, monkeypatch):
    _, client = served.enrol("north")
    monkeypatch.setattr("fedanomaly.coordinator.service.API_VERSION", 99)
    with pytest.raises(VersionError, match="speaks another version") as caught:
        client.federation()
    assert caught.value.hint == "upgrade the older side"
