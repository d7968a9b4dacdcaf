"""Takes a body in: into one piece of memory of the size that was agreed on, and not for ever."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from concurrent.futures import Executor
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from fedanomaly.errors import MessageError, UnauthenticatedError, UnavailableError
from fedanomaly.transport.http import INTAKE

WORTH_A_THREAD = 128 * 1024
"""Bytes that take longer to hash than a thread to begin with them."""
HASHED_AT_ONCE = 1024 * 1024
"""Bytes that are hashed on the event loop: most of a millisecond, in which nobody else is answered."""


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


class Body:
    """A body of exactly the size of the memory where it shall go, hashed beside the event loop while it comes in.

    Parameters
    ----------
    memory : memoryview
        Of bytes; what it holds means nothing until `check` has passed.
    pool : Executor
        Whose threads hash.
    """

    def __init__(self, memory: memoryview, pool: Executor) -> None:
        self._memory, self._pool = memory, pool
        self._sha256 = hashlib.sha256()
        self._received = self._hashed = 0
        self._hashing: asyncio.Future[None] | None = None

    async def receive(self, request: Request, *, pace: Pace) -> None:
        """Take in the body of a request of which nothing was read yet.

        Raises
        ------
        MessageError
            If it has another size.
        UnavailableError
            If it comes too slowly.
        """
        size = len(self._memory)
        if stated_length(request) != size:
            raise MessageError(f"the body must have {size} bytes")
        # HTTP ends a body at its stated length, so nothing more can come.
        divert = request.scope.get("extensions", {}).get(INTAKE, lambda *_: None)
        divert(self._memory, self._arrived)
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            while True:
                due_s = started_s + pace.grace_s + self._received / pace.bytes_per_s
                if loop.time() >= due_s:
                    raise UnavailableError("a body came too slowly")
                try:
                    async with asyncio.timeout_at(due_s):
                        await self._end(request)
                    break
                except TimeoutError:
                    pass  # what came meanwhile may have earned it more
        finally:
            divert(None)  # the memory may serve another body next
        if self._received != size:
            raise MessageError(f"the body must have {size} bytes")

    async def check(self, digest: bytes) -> None:
        """Hold the body against the SHA-256 that was signed.

        Raises
        ------
        UnauthenticatedError
            If it is another one.
        """
        if self._hashing is not None:
            await self._hashing
        if self._received - self._hashed > HASHED_AT_ONCE:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._hash)
        self._hash()
        if not hmac.compare_digest(self._sha256.digest(), digest):
            raise UnauthenticatedError("a body is not the one that was signed")

    def _arrived(self, nbytes: int) -> None:
        self._received += nbytes
        idle = self._hashing is None or self._hashing.done()
        if idle and self._received - self._hashed >= WORTH_A_THREAD:
            self._hashing = asyncio.get_running_loop().run_in_executor(self._pool, self._hash)

    def _hash(self) -> None:
        """Hash what there is, and what comes while that lasts; in one thread at a time."""
        while (at := self._hashed) < (until := self._received):
            self._sha256.update(self._memory[at:until])
            self._hashed = until

    async def _end(self, request: Request) -> None:
        """Wait until the body is there; what is not diverted comes here."""
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece = message.get("body", b"")
            self._memory[self._received : self._received + len(piece)] = piece
            self._arrived(len(piece))
            more = message.get("more_body", False)
