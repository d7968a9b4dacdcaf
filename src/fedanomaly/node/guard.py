"""Who may talk to the loopback API: this machine's owner, and no web page.

Loopback is no protection of its own: other users of the machine reach it, and so
does a web page whose name resolves to 127.0.0.1 (DNS rebinding). Hence a bearer
token, compared in constant time, and a `Host` header that must be our own.
"""

from __future__ import annotations

import hmac

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from fedanomaly.errors import FedAnomalyError, RefusedError, UnauthenticatedError

HOSTS = ("127.0.0.1", "localhost")
UNGUARDED = frozenset({"/healthz", "/healthz/live", "/healthz/ready"})
"""They say one bit, to a supervisor that holds no token."""


class Guard:
    """Lets a request through only with our host name and, unless it asks for health, the token.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
        The secret of the home.
    """

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 421, or pass the request on; what is no HTTP request gets no answer."""
        if scope["type"] != "http":
            return
        headers = list(scope["headers"])
        hosts = [value for name, value in headers if name == b"host"]
        tokens = [value for name, value in headers if name == b"authorization"]
        if len(hosts) != 1 or hosts[0].decode("latin-1").rsplit(":", 1)[0] not in HOSTS:
            await _refuse(send, 421, RefusedError, "this API answers under 127.0.0.1 only", None)
        elif scope["path"] in UNGUARDED:
            await self._app(scope, receive, send)
        elif len(tokens) != 1 or not hmac.compare_digest(tokens[0], self._expected):
            hint = "it lies in the file `token` of the node's home"
            await _refuse(send, 401, UnauthenticatedError, "the token is missing or wrong", hint)
        else:
            await self._app(scope, receive, send)


async def _refuse(send: Send, status: int, kind: type[FedAnomalyError], message: str, hint: str | None) -> None:
    body = msgspec.json.encode({"code": kind.code, "message": message, "hint": hint, "retry_after_s": None})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
