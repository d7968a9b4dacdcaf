"""Sends malformed requests at a steady rate, from a process of its own, and counts what comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from benchmarks.carrier import Identity
from fedanomaly.protocol import Enrol, seal
from fedanomaly.transport import RequestSigner
from fedanomaly.transport.wire import Enrolment, encode

CONNECTIONS = 8
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Bad:
    """One kind of malformed request: `raw` bytes as they go over the wire."""

    kind: str
    raw: bytes


def malformed(url: str, federation: bytes, member: bytes) -> list[Bad]:
    """Return requests that must all be refused, by somebody who knows the federation and a member's public key."""
    stranger = Identity(os.urandom(32))
    digest = hashlib.sha256(b"x").hexdigest()

    def request(method: str, path: str, body: bytes = b"") -> httpx2.Request:
        return httpx2.Request(method, url + path, content=body)

    def signed(made: httpx2.Request) -> httpx2.Request:
        body = hashlib.sha256(made.read()).digest()
        made.headers.update(RequestSigner(stranger, federation).headers(made.method, made.url.raw_path, body))
        return made

    forged = signed(request("GET", "/v1/envelopes?after=0"))
    forged.headers["signature-input"] = forged.headers["signature-input"].replace(
        stranger.public_key.hex(), member.hex()
    )
    enrolment = seal(stranger, federation, "enrol", Enrol(name="stranger").to_bytes()).envelope.to_bytes()
    huge = request("PUT", f"/v1/blobs/{digest}/parts/0?size=100000000")
    huge.headers["content-length"] = "100000000"
    return [
        Bad("no route", _raw(request("GET", "/v1/nothing"))),
        Bad("other method", _raw(request("DELETE", "/v1/envelopes"))),
        Bad("unsigned", _raw(request("GET", "/v1/envelopes?after=0"))),
        Bad("unsigned body", _raw(request("POST", "/v1/envelopes", os.urandom(2000)))),
        Bad("key of nobody", _raw(signed(request("GET", "/v1/status")))),
        Bad("forged signature", _raw(forged)),
        Bad("garbled signature", _raw(request("GET", "/v1/status"), **{"signature-input": "(((", "signature": "x"})),
        Bad("declares 100 MB", _raw(huge)),
        Bad("path as a digest", _raw(request("GET", "/v1/blobs/..%2f..%2fetc%2fpasswd/parts?size=-1"))),
        Bad("enrols with garbage", _raw(request("POST", "/v1/enrol", os.urandom(500)))),
        Bad(
            "enrols uninvited",
            _raw(request("POST", "/v1/enrol", encode(Enrolment(secret=os.urandom(32), envelope=enrolment)))),
        ),
        Bad("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"),
    ]


def _raw(request: httpx2.Request, **headers: str) -> bytes:
    request.headers.update(headers)
    target = request.url.raw_path
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
    return request.method.encode() + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n" + request.read()


class Flood:
    """Keeps connections to one address and sends what it is given, in turn.

    Parameters
    ----------
    host, port : str, int
        Whom to flood.
    requests : list of Bad
        What to send.
    rate : float
        Requests a second, all connections together.
    """

    def __init__(self, host: str, port: int, requests: list[Bad], rate: float) -> None:
        self._address, self._requests, self._rate = (host, port), requests, rate
        self.answers: Counter[str] = Counter()
        self._next = 0

    async def run(self, seconds: float) -> float:
        """Send for so long; returns the rate that was reached."""
        begun = time.perf_counter()
        await asyncio.gather(*(self._connection(begun, begun + seconds) for _ in range(CONNECTIONS)))
        return self._next / (time.perf_counter() - begun)

    async def _connection(self, begun: float, until: float) -> None:
        streams = None
        while time.perf_counter() < until:
            bad = self._requests[self._next % len(self._requests)]
            due = begun + self._next / self._rate
            self._next += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if streams is None:
                streams = await asyncio.open_connection(*self._address)
            reader, writer = streams
            try:
                writer.write(bad.raw)
                async with asyncio.timeout(PATIENCE_S):
                    answer, closed = await _answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                answer, closed = "connection closed", True
            except TimeoutError:
                answer, closed = "no answer", True
            self.answers[f"{bad.kind}: {answer}"] += 1
            if closed or bad.kind == "declares 100 MB":
                writer.close()
                streams = None


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    body = await reader.readexactly(length)
    status = head.split(b" ")[1].decode()
    try:
        code = str(msgspec.json.decode(body)["code"])
    except (msgspec.DecodeError, TypeError, KeyError):
        code = "no code"
    return f"{status} {code}", b"connection: close" in head


async def main(told: dict[str, Any]) -> dict[str, Any]:
    """Flood as told."""
    parts = urlsplit(told["url"])
    requests = [Bad(kind, base64.b64decode(raw)) for kind, raw in told["requests"]]
    flood = Flood(str(parts.hostname), int(parts.port or 80), requests, told["rate"])
    print("ready", flush=True)
    sys.stdin.readline()
    rate = await flood.run(told["seconds"])
    return {"rate": rate, "answers": dict(flood.answers)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.stdin.readline())))), flush=True)
