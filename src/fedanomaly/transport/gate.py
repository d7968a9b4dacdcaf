"""Turns away what no member can have sent, at the price of a look at the request's head.

A flood of such requests must not slow members down, so none of them is routed,
parsed, logged or answered one by one: a fixed answer, and one line of log a
second for all of them. Who passes is not thereby trusted; every rule is checked
again, and in full, behind the gate.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection

import msgspec
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from fedanomaly.errors import CapacityError, FedAnomalyError, NotFoundError, UnauthenticatedError, UnavailableError
from fedanomaly.transport.failures import failure_of, status_of
from fedanomaly.transport.metrics import Instruments
from fedanomaly.transport.wire import JSON, MAX_HEAD_BYTES

MEMBERS = "/v1/"
SECOND_S = 1.0
STRANGERS_AT_ONCE = 8
_KEY = re.compile(rb';keyid="([0-9a-f]{64})"', re.ASCII)

log = structlog.get_logger("fedanomaly.transport")


class Gate:
    """Refuses unknown paths, and requests to member routes that bear no member's key.

    Parameters
    ----------
    app : ASGI application
        What answers everything else.
    open_paths : collection of str
        Paths that strangers may use.
    is_member : callable
        Whether a public key is one that requests may bear.
    metrics : Instruments
        Where refusals are counted.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        open_paths: Collection[str],
        is_member: Callable[[bytes], bool],
        metrics: Instruments,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._open_paths = frozenset(open_paths)
        self._is_member = is_member
        self._metrics = metrics
        self._clock = clock
        self._strangers = 0
        self._refused: Counter[str] = Counter()
        self._told_at = -SECOND_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in self._open_paths:
            await self._let_stranger_in(scope, receive, send)
        elif (error := self._objection(scope)) is not None:
            await self._refuse(error, scope, send)
        else:
            await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> FedAnomalyError | None:
        if not scope["path"].startswith(MEMBERS):
            return _NO_ROUTE
        signed = [value for name, value in scope["headers"] if name == b"signature-input"]
        key = _KEY.search(signed[0]) if len(signed) == 1 else None
        if key is None or not self._is_member(bytes.fromhex(key[1].decode())):
            return _NO_MEMBER
        return None

    async def _let_stranger_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let few strangers send bodies at a time: they may be slow on purpose."""
        length = _content_length(scope)
        if length == 0:
            await self._app(scope, receive, send)
        elif length is not None and length > MAX_HEAD_BYTES:
            await self._refuse(_TOO_LARGE, scope, send)
        elif self._strangers >= STRANGERS_AT_ONCE:
            await self._refuse(_BUSY, scope, send)
        else:
            self._strangers += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._strangers -= 1

    async def _refuse(self, error: FedAnomalyError, scope: Scope, send: Send) -> None:
        self._note(error)
        body = msgspec.json.encode(failure_of(error))
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
        if isinstance(error, UnavailableError):
            headers.append((b"retry-after", b"1"))
        if _content_length(scope) != 0:  # its body is not read, so nothing can follow it
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _note(self, error: FedAnomalyError) -> None:
        self._metrics.count("fedanomaly_refusals_total", code=error.code)
        self._refused[error.code] += 1
        now_s = self._clock()
        if now_s >= self._told_at + SECOND_S:
            log.warning("turned-away", **self._refused)
            self._refused.clear()
            self._told_at = now_s


_NO_ROUTE = NotFoundError("no such route")
_NO_MEMBER = UnauthenticatedError("a request bears no member's key")
_TOO_LARGE = CapacityError(f"a body exceeds {MAX_HEAD_BYTES} bytes")
_BUSY = UnavailableError("too many strangers at once", retry_after_s=SECOND_S)


def _content_length(scope: Scope) -> int | None:
    """Return the announced length of a body, or None if it has one of unknown length."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return 0
