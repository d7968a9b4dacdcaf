"""What is turned away before it costs anything, and what is not."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest
import structlog

from fedanomaly.transport.gate import STRANGERS_AT_ONCE, Gate
from fedanomaly.transport.serving import listen
from fedanomaly.transport.wire import MAX_HEAD_BYTES
from tests.unit.coordinator.conftest import serve

MEMBER = os.urandom(32)


class Inner:
    """The application behind the gate: counts who gets there, holds bodies until it is told to go on."""

    def __init__(self) -> None:
        self.reached = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        self.reached += 1
        if scope.get("hold"):
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


class Answer:
    def __init__(self) -> None:
        self.status, self.headers, self.code = 0, {}, ""

    async def __call__(self, message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.code = msgspec.json.decode(message["body"]).get("code")


async def unread():
    raise AssertionError("the gate read a body")


class Entrance:
    def __init__(self) -> None:
        self.inner, self.refusals, self.now_s = Inner(), Counter(), 0.0
        metrics = SimpleNamespace(count=lambda _, code: self.refusals.update([code]))
        self.gate = Gate(
            self.inner,
            open_paths={"/v1/enrol"},
            is_member={MEMBER}.__contains__,
            metrics=metrics,
            clock=lambda: self.now_s,
        )

    async def ask(self, path: str, *headers: tuple[bytes, bytes], hold: bool = False) -> Answer:
        answer = Answer()
        scope = {"type": "http", "path": path, "headers": list(headers), "hold": hold}
        await self.gate(scope, unread, answer)
        return answer


def keyid(key: bytes) -> tuple[bytes, bytes]:
    return b"signature-input", b'fedanomaly=("@method");created=1;keyid="' + key.hex().encode() + b'";nonce="x"'


@pytest.mark.parametrize(
    "headers",
    [(), (keyid(os.urandom(32)),), (keyid(MEMBER), keyid(MEMBER)), ((b"signature-input", b"((("),)],
    ids=["unsigned", "key of nobody", "two signatures", "garbled"],
)
def test_a_request_without_the_key_of_a_member_goes_no_further(headers):
    async def run():
        entrance = Entrance()
        answer = await entrance.ask("/v1/status", *headers, (b"content-length", b"9"))
        assert (answer.status, answer.code, answer.headers[b"connection"]) == (401, "FA406", b"close")
        assert (entrance.inner.reached, entrance.refusals) == (0, {"FA406": 1})

    asyncio.run(run())


def test_a_path_that_leads_nowhere_is_not_found_and_the_key_of_a_member_is_let_through():
    async def run():
        entrance = Entrance()
        assert (await entrance.ask("/nothing")).code == "FA404"
        assert entrance.inner.reached == 0
        assert (await entrance.ask("/v1/status", keyid(MEMBER))).status == 200

    asyncio.run(run())


def test_few_strangers_send_bodies_at_a_time_and_none_a_large_one():
    async def run():
        entrance, body = Entrance(), (b"content-length", b"9")
        held = [asyncio.create_task(entrance.ask("/v1/enrol", body, hold=True)) for _ in range(STRANGERS_AT_ONCE)]
        await asyncio.sleep(0)
        busy = await entrance.ask("/v1/enrol", body)
        assert (busy.status, busy.code, busy.headers[b"retry-after"]) == (503, "FA500", b"1")
        entrance.inner.go_on.set()
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        assert (await entrance.ask("/v1/enrol", body)).status == 200
        large = await entrance.ask("/v1/enrol", (b"content-length", str(MAX_HEAD_BYTES + 1).encode()))
        assert (large.status, large.code) == (413, "FA303")

    asyncio.run(run())


def test_a_flood_is_one_line_of_log_a_second():
    async def run():
        entrance = Entrance()
        with structlog.testing.capture_logs() as lines:
            for _ in range(500):
                await entrance.ask("/v1/status")
            entrance.now_s = 1.0
            await entrance.ask("/nothing")
        assert [line["event"] for line in lines] == ["turned-away", "turned-away"]
        assert (lines[1]["FA406"], lines[1]["FA404"]) == (499, 1)

    asyncio.run(run())


def test_what_is_not_http_is_refused_with_a_code(federation):
    with serve(federation.home), federation.connect() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert msgspec.json.decode(body)["code"] == "FA301"


def test_answers_are_not_held_back_for_acknowledgements():
    with listen("127.0.0.1", 0, hint="") as listener:
        assert listener.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on
