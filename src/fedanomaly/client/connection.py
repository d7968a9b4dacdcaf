"""One HTTP conversation with a node's loopback API: token, limits, typed errors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from fedanomaly import errors
from fedanomaly.errors import ConfigError, FedAnomalyError, ProtocolError, UnavailableError

TIMEOUT_S = 60.0
KEPT_CONNECTIONS = 20
"""So many threads may ask at once before one of them opens a connection for its request alone."""
IDLE_S = 15.0
"""A node closes connections after twice as long. A request that meets the close is lost, and which ones a node did
not get nobody can tell: so no connection is used again that has been idle for longer than this."""
LOOPBACK = frozenset({"127.0.0.1", "localhost"})


class Connection:
    """Sends requests to one node.

    Parameters
    ----------
    url : str
        Address of its loopback API, such as ``http://127.0.0.1:7420``.
    token : str
        What lies in the file `token` of the node's home.

    Raises
    ------
    ConfigError
        If the address is not on this machine: the token would go out in plain text.
        If the token cannot stand in a header.
    """

    def __init__(self, url: str, *, token: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host not in LOOPBACK:
            raise ConfigError(f"{host} is not this machine", hint="a node's API answers on 127.0.0.1 only")
        if not (token.isascii() and token.isprintable()):
            # http.client would refuse it as well, with the token in its error's text.
            raise ConfigError("the token is not one line of text", hint="give it without the line break of its file")
        self.url = url.rstrip("/")
        self._base = parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"}
        kind = _pool_of(urllib3.HTTPSConnectionPool if parts.scheme == "https" else urllib3.HTTPConnectionPool)
        # It reaches the host that was checked, whatever a path says; and it asks no proxy of the environment, which
        # has no business between two processes of one machine.
        self._http = kind(host, parts.port, timeout=TIMEOUT_S, maxsize=KEPT_CONNECTIONS, retries=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return what the node answers, as plain values."""
        return msgspec.json.decode(self.bytes("GET", path, params=params))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send plain values and return what the node answers."""
        content = msgspec.json.encode(body)
        return msgspec.json.decode(self.bytes("POST", path, content=content, kind="application/json"))

    def bytes(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
        kind: str | None = None,
    ) -> bytes:
        """Send bytes and return the bytes of the answer.

        Raises
        ------
        UnavailableError
            If the node does not answer.
        FedAnomalyError
            The error that it answered with.
        """
        target = f"{self._base}{path}?{urlencode(params)}" if params else self._base + path
        headers = {**self._headers, "content-type": kind} if kind else self._headers
        try:
            answer = self._http.urlopen(method, target, body=content, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(
                f"the node at {self.url} does not answer ({type(error).__name__})", hint="run: fedanomaly node run"
            ) from None
        if 200 <= answer.status < 300:
            return answer.data
        raise _error_of(answer)

    def __repr__(self) -> str:
        return f"<Connection to {self.url}>"


def _pool_of(kind: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    """Return a kind of pool that uses no connection again which has been idle for long."""

    class Young(kind.ConnectionCls):  # pyright: ignore[reportUntypedBaseClass, reportGeneralTypeIssues]
        used_s = 0.0

        def getresponse(self) -> urllib3.HTTPResponse:
            response = super().getresponse()
            self.used_s = time.monotonic()
            return response

        @property
        def is_connected(self) -> bool:
            return super().is_connected and time.monotonic() < self.used_s + IDLE_S

    return type(kind.__name__, (kind,), {"ConnectionCls": Young})


class _Failure(msgspec.Struct):
    code: str
    message: str
    hint: str | None = None
    retry_after_s: float | None = None


def _error_of(answer: urllib3.BaseHTTPResponse) -> FedAnomalyError:
    try:
        failure = msgspec.json.decode(answer.data, type=_Failure)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ProtocolError(f"HTTP status {answer.status}", hint="is this the address of a node?")
    kind = _by_code().get(failure.code, FedAnomalyError)
    if issubclass(kind, UnavailableError):
        return kind(failure.message, hint=failure.hint, retry_after_s=failure.retry_after_s or 1.0)
    return kind(failure.message, hint=failure.hint)


def _by_code() -> dict[str, type[FedAnomalyError]]:
    kinds = (value for value in vars(errors).values() if isinstance(value, type))
    return {kind.code: kind for kind in kinds if issubclass(kind, FedAnomalyError)}
