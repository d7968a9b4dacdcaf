"""How much of what is not a good request the server takes in, and how much of it it tells."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest
import structlog

from fedanomaly.transport.http import MAX_HEADER_BYTES
from fedanomaly.transport.request_log import REFUSALS_TOLD_IN_A_SECOND, RequestLog
from tests.unit.coordinator.conftest import serve

ONE_READ_BYTES = 256 * 1024  # what asyncio reads at once; what begins in there is counted from the next on


def read_all(connection) -> bytes:
    received = bytearray()
    try:
        while piece := connection.recv(4096):
            received += piece
    except ConnectionResetError:
        pass  # it was closed while we still sent
    return bytes(received)


ENDLESS = {
    "a request line": (b"GET /healthz/live?", b"x" * 1000),
    "one header line": (b"GET /healthz/live HTTP/1.1\r\nx-long: ", b"x" * 1000),
    "header lines": (b"GET /healthz/live HTTP/1.1\r\n", b"x-next: " + b"y" * 990 + b"\r\n"),
    "trailers": (
        b"POST /v1/enrol HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"x-next: " + b"y" * 990 + b"\r\n",
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_nothing_without_an_end_is_taken_in(federation, what):
    begin, more = ENDLESS[what]
    with serve(federation.home), federation.connect() as connection:
        connection.sendall(begin)
        try:
            for _ in range((ONE_READ_BYTES + 2 * MAX_HEADER_BYTES) // len(more)):
                connection.sendall(more)
        except (BrokenPipeError, ConnectionResetError):
            pass
        read_all(connection)  # ends, as the connection was closed


def test_too_long_a_header_is_refused_with_a_code(standing):
    with standing.connect() as connection:
        connection.sendall(b"GET /healthz/live HTTP/1.1\r\nx-long: " + b"x" * MAX_HEADER_BYTES)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert msgspec.json.decode(body)["code"] == "FA301"


def test_a_large_body_is_no_header(standing):
    _, client = standing.member
    data = bytes(10 * MAX_HEADER_BYTES)
    assert client.upload(data) == hashlib.sha256(data).digest()


def test_a_trailer_adds_no_header_to_a_request_that_was_checked(standing):
    seen, served = [], standing.app.router

    async def look(scope, receive, send):
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            seen.extend(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b""})

    stack, standing.app.middleware_stack = standing.app.middleware_stack, look
    try:
        with standing.connect() as connection:
            connection.sendall(
                b"POST /v1/enrol HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n0\r\nsignature-input: x\r\n\r\n"
            )
            assert read_all(connection).startswith(b"HTTP/1.1 204 ")
    finally:
        standing.app.middleware_stack = stack
    assert served is standing.app.router
    assert seen == [b"host", b"transfer-encoding"]


def test_refusals_are_told_a_few_in_a_second_and_counted_beyond(monkeypatch):
    async def refuse(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 401, "headers": []})

    async def nothing(*_message):
        return {"type": "http.request"}

    def ask(times):
        for _ in range(times):
            asyncio.run(told({"type": "http", "method": "GET"}, nothing, nothing))

    now_s = [100.0]
    monkeypatch.setattr("fedanomaly.transport.request_log.time", SimpleNamespace(
        monotonic=lambda: now_s[0], perf_counter=time.perf_counter))  # fmt: skip
    told = RequestLog(refuse, metrics=SimpleNamespace(answered=lambda *_, **__: None))
    with structlog.testing.capture_logs() as lines:
        ask(REFUSALS_TOLD_IN_A_SECOND + 50)
        assert len(lines) == REFUSALS_TOLD_IN_A_SECOND
        now_s[0] += 1.0
        ask(2)
    assert [line.get("untold") for line in lines[REFUSALS_TOLD_IN_A_SECOND:]] == [50, None]


def test_what_the_coordinator_says_wakes_at_once_who_waits(served, monkeypatch):
    monkeypatch.setattr("fedanomaly.coordinator.service.WAKE_S", 1000.0)
    _, first = served.enrol("north")
    served.enrol("south")
    head = len(served.log())
    heard = []
    waiting = threading.Thread(target=lambda: heard.extend(first.feed(head, wait_s=20)[0]))
    waiting.start()
    served.enrol("west")  # which completes the federation: the coordinator calls for keys
    waiting.join(10)
    assert [entry.envelope.kind for entry in heard] == ["enrol", "epoch-call"]
