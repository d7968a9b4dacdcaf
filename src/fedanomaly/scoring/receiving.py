"""Takes a body in: into one piece of memory of the size that was agreed on, checked as it comes, and not for ever."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from fedanomaly.errors import MessageError, UnauthenticatedError, UnavailableError


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


async def receive(
    request: Request,
    size: int,
    digest: bytes,
    *,
    pace: Pace,
    head_bytes: int = 0,
    check_head: Callable[[memoryview], None] | None = None,
) -> bytearray:
    """Return a body of exactly `size` bytes.

    Parameters
    ----------
    request : Request
        Of which nothing was read yet.
    size : int
        What it must have.
    digest : bytes
        SHA-256 that was signed.
    pace : Pace
        How slow it may be.
    head_bytes, check_head : int, callable
        Called with the first bytes as soon as they are there, and raises if they are wrong.

    Raises
    ------
    MessageError
        If the body has another size.
    UnauthenticatedError
        If it is not what was signed.
    UnavailableError
        If it comes too slowly.
    """
    if stated_length(request) != size:
        raise MessageError(f"the body must have {size} bytes")
    body, at, hashed = bytearray(size), 0, hashlib.sha256()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    try:
        async with asyncio.timeout_at(started_s + pace.grace_s) as due:
            async for piece in request.stream():
                end = at + len(piece)
                if end > size:
                    raise MessageError(f"the body must have {size} bytes")
                body[at:end] = piece
                hashed.update(piece)
                if check_head is not None and at < head_bytes <= end:
                    check_head(memoryview(body)[:head_bytes])
                at = end
                due.reschedule(started_s + pace.grace_s + at / pace.bytes_per_s)
    except TimeoutError:
        raise UnavailableError("a body came too slowly") from None
    if at != size:
        raise MessageError(f"the body must have {size} bytes")
    if not hmac.compare_digest(hashed.digest(), digest):
        raise UnauthenticatedError("a body is not the one that was signed")
    return body
