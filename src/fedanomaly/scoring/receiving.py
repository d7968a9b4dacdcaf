"""Takes a body in: into one piece of memory of the size that was agreed on, and not for ever."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from fedanomaly.errors import MessageError, UnauthenticatedError, UnavailableError
from fedanomaly.transport.http import INTAKE

HASHED_AT_ONCE = 4 * 1024 * 1024
"""Bytes: they take about 3 ms, in which nobody else is answered."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How slow a body may be.

    Parameters
    ----------
    grace_s : float
        Seconds that any body may take.
    bytes_per_s : float
        What must come in beyond them: a byte a second keeps no place.
    """

    grace_s: float = 10.0
    bytes_per_s: float = 64 * 1024


def stated_length(request: Request) -> int:
    """Return how long a body says it is.

    Raises
    ------
    MessageError
        If it does not say.
    """
    stated = request.headers.get("content-length", "")
    if not stated.isascii() or not stated.isdecimal() or "transfer-encoding" in request.headers:
        raise MessageError("a body must state its length")
    return int(stated)


async def receive(request: Request, into: memoryview, *, pace: Pace) -> None:
    """Take in a body of exactly the size of the memory where it shall go.

    Parameters
    ----------
    request : Request
        Of which nothing was read yet.
    into : memoryview
        Of bytes; on an error what it holds means nothing.
    pace : Pace
        How slow it may be.

    Raises
    ------
    MessageError
        If the body has another size.
    UnavailableError
        If it comes too slowly.
    """
    if stated_length(request) != len(into):
        raise MessageError(f"the body must have {len(into)} bytes")
    # HTTP ends a body at its stated length, so nothing more can come.
    at = 0

    def arrived(nbytes: int) -> None:
        nonlocal at
        at += nbytes

    def take(piece: bytes) -> None:
        into[at : at + len(piece)] = piece
        arrived(len(piece))

    divert = request.scope.get("extensions", {}).get(INTAKE, lambda *_: None)
    divert(into, arrived)
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    try:
        while True:
            due_s = started_s + pace.grace_s + at / pace.bytes_per_s
            if loop.time() >= due_s:
                raise UnavailableError("a body came too slowly")
            try:
                async with asyncio.timeout_at(due_s):
                    await _end(request, take)
                break
            except TimeoutError:
                pass  # what came meanwhile may have earned it more
    finally:
        divert(None)  # the memory may serve another body next
    if at != len(into):
        raise MessageError(f"the body must have {len(into)} bytes")


async def check(body: memoryview, digest: bytes, pool: Executor) -> None:
    """Hold a body against the SHA-256 that was signed.

    Parameters
    ----------
    body : memoryview
        Of bytes.
    digest : bytes
        What it should have.
    pool : Executor
        Where a large one is hashed, so that others are answered meanwhile.

    Raises
    ------
    UnauthenticatedError
        If it is another one.
    """
    if len(body) <= HASHED_AT_ONCE:
        found = hashlib.sha256(body)
    else:
        found = await asyncio.get_running_loop().run_in_executor(pool, hashlib.sha256, body)
    if not hmac.compare_digest(found.digest(), digest):
        raise UnauthenticatedError("a body is not the one that was signed")


async def _end(request: Request, take: Callable[[bytes], None]) -> None:
    """Wait until the body is there; what is not diverted comes here."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        take(message.get("body", b""))
        more = message.get("more_body", False)
