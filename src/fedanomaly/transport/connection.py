"""One signed HTTP conversation with a coordinator or a scoring service: limits, retries, typed errors."""

from __future__ import annotations

import hashlib
import http
import ipaddress
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urlsplit

import stamina
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.util import parse_url

from fedanomaly.errors import CertificateError, ConfigError, ProtocolError, UnavailableError
from fedanomaly.transport.failures import error_of
from fedanomaly.transport.invitations import check_origin
from fedanomaly.transport.proxies import pools_through, proxy_of
from fedanomaly.transport.signing import RequestSigner
from fedanomaly.transport.trust import client_context, tls_failure

MAX_FAILURE_BYTES = 16 * 1024
MIN_BYTES_PER_S = 1024
"""Slower answers are given up: one that trickles would hold a node's conversation for days."""
PIECE_BYTES = 256 * 1024
"""Most that is read at a time; each piece has the seconds of its timeout."""
KEPT_CONNECTIONS = 64
"""As many threads each find one that is open already."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how often to try again.

    Parameters
    ----------
    connect_timeout_s : float
        Until a connection stands, and for each piece of a request.
    io_timeout_s : float
        Until an answer begins, and between two pieces of it.
    attempts : int
        Tries of one request. Only what may be repeated safely is: every request
        of ours is idempotent.
    retry_for_s : float
        After this many seconds no new try starts.
    """

    connect_timeout_s: float = 10.0
    io_timeout_s: float = 30.0
    attempts: int = 5
    retry_for_s: float = 60.0


class Connection:
    """Sends requests to one service.

    Parameters
    ----------
    url : str
        Its origin.
    signer : RequestSigner or None
        Signs every request but those that go out with ``signed=False``.
    patience : Patience
        Timeouts and retries.
    ca_file : Path, optional
        Certificates to trust instead of the system's.
    allow_http : bool
        Speak plain HTTP beyond this machine; for networks that encrypt below HTTP.
    peer : str
        What errors call the service.

    Raises
    ------
    ConfigError
        If the URL is not an origin, or would go out unencrypted.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: RequestSigner | None,
        patience: Patience,
        ca_file: Path | None = None,
        allow_http: bool = False,
        peer: str = "coordinator",
    ) -> None:
        self._peer = peer
        self._origin = check_origin(url)
        self._host = urlsplit(self._origin).hostname or ""
        loopback = is_loopback(self._host)
        if url.startswith("http://") and not (loopback or allow_http):
            raise ConfigError("plain HTTP is spoken on this machine only", hint="use an https URL")
        self._signer = signer
        self._patience = patience
        self._live = _LiveConnections()
        # Without TLS nobody needs to be trusted; reading the system's store would take a while.
        trust = client_context(ca_file) if url.startswith("https://") else None
        # A proxy of the environment has no business between two processes of one machine.
        self._http = pools_through(None if loopback else proxy_of(url), trust=trust, kept=KEPT_CONNECTIONS)
        self._http.pool_classes_by_scheme = self._live.pools

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a call under way fails."""
        self._live.close()
        self._http.clear()

    def call(
        self,
        method: str,
        path: str,
        *,
        limit_bytes: int,
        params: Mapping[str, str | int | float] | None = None,
        body: Sequence[bytes | bytearray | memoryview] = (),
        media_type: str = "application/octet-stream",
        signed: bool = True,
        wait_s: float = 0.0,
        meanwhile: Callable[[], object] | None = None,
    ) -> bytes:
        """Send a request until it is answered, and return the answer's body.

        Parameters
        ----------
        method, path
            What to ask for.
        limit_bytes : int
            An answer that is larger is refused.
        params : mapping, optional
            Query.
        body : sequence of bytes-like
            What to send, in parts that are sent one behind the other.
        media_type : str
            Of the body.
        signed : bool
            Whether to sign.
        wait_s : float
            How long the answer may take on purpose.
        meanwhile : callable, optional
            Called in every try, once the body is on its way and before its answer is waited for.

        Raises
        ------
        CertificateError
            If the coordinator's certificate does not hold; not tried again.
        UnavailableError
            If nobody answered, or the coordinator asked to come again later.
        FedAnomalyError
            The error that the coordinator answered with.
        """
        for attempt in self.attempts():
            with attempt:
                headers = {"content-type": media_type} if body else {}
                target = f"{path}?{urlencode(params)}" if params else path
                pieces = self._stream(
                    method, target, headers, body, limit_bytes, signed=signed, wait_s=wait_s, meanwhile=meanwhile
                )
                return b"".join(pieces)
        raise AssertionError  # the last attempt raises

    def attempts(self) -> Iterator[stamina.Attempt]:
        """Return the tries of something that may be repeated, with growing pauses."""
        return iter(
            stamina.retry_context(
                on=self._again,
                attempts=self._patience.attempts,
                timeout=self._patience.retry_for_s,
            )
        )

    def stream(self, path: str, *, start: int, limit_bytes: int) -> Iterator[bytes]:
        """Yield the body of a signed GET from byte `start` on; one try."""
        headers = {"range": f"bytes={start}-"} if start else {}
        return self._stream("GET", path, headers, (), limit_bytes, signed=True)

    def _again(self, error: Exception) -> bool | float:
        """Retry only what says that a retry is safe; wait as long as it asks, else longer each time."""
        if isinstance(error, CertificateError):  # the next try within a minute would meet the same certificate
            return False
        return isinstance(error, UnavailableError) and not self._live.closed and (error.retry_after_s or True)

    def _stream(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Sequence[bytes | bytearray | memoryview],
        limit_bytes: int,
        *,
        signed: bool,
        wait_s: float = 0.0,
        meanwhile: Callable[[], object] | None = None,
    ) -> Iterator[bytes]:
        url = parse_url(self._origin + target)
        if signed:
            if self._signer is None:
                raise ConfigError("this connection has no identity to sign with")
            digest = hashlib.sha256()
            for part in body:
                digest.update(part)
            headers |= self._signer.headers(method, url.request_uri.encode("ascii"), digest.digest())
        if body:
            headers["content-length"] = str(sum(len(part) for part in body))
        patience_s = self._patience.io_timeout_s + wait_s
        with _transport_errors(self._host, self._peer):
            started_s = time.monotonic()
            response = self._http.urlopen(
                method,
                url.url,
                body=_pieces(body, meanwhile) if body else None,
                headers={"accept-encoding": "identity"} | headers,
                timeout=urllib3.Timeout(connect=self._patience.connect_timeout_s, read=patience_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                pieces = _paced(response, started_s + patience_s, self._peer)
                if not http.HTTPStatus.OK <= response.status < http.HTTPStatus.MULTIPLE_CHOICES:
                    raise error_of(response.status, _head(pieces, MAX_FAILURE_BYTES), self._peer)
                if "range" in headers and response.status != http.HTTPStatus.PARTIAL_CONTENT:
                    raise ProtocolError(f"the {self._peer} sent another range than it was asked for")
                received = 0
                for piece in pieces:
                    received += len(piece)
                    if received > limit_bytes:
                        raise ProtocolError(f"the {self._peer}'s answer exceeds {limit_bytes} bytes")
                    yield piece
            finally:
                response.close()  # an answer that was read to its end has given its connection back already


class _LiveConnections:
    """The connections that stand, so that closing ends what waits on them in another thread."""

    def __init__(self) -> None:
        self.closed = False
        self._all: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.pools = {
            "http": _pool_of(urllib3.HTTPConnectionPool, self),
            "https": _pool_of(urllib3.HTTPSConnectionPool, self),
        }

    def add(self, connection: HTTPConnection) -> None:
        with self._lock:
            if not self.closed:
                self._all.add(connection)
                return
        connection.close()
        raise ConnectionAbortedError("closed by this side")

    def close(self) -> None:
        with self._lock:
            self.closed = True
            standing = [connection.sock for connection in self._all]
        for each in standing:
            if each is not None:
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)  # below TLS: no other thread is disturbed in it


def _pool_of(kind: type[urllib3.HTTPConnectionPool], live: _LiveConnections) -> type[urllib3.HTTPConnectionPool]:
    class Known(kind.ConnectionCls):  # pyright: ignore[reportUntypedBaseClass, reportGeneralTypeIssues]
        def connect(self) -> None:
            super().connect()
            live.add(self)

        def send(self, data: object) -> None:
            # In one call, a body would have the seconds of one timeout; in many small ones it takes twice as long.
            if not isinstance(data, memoryview):
                super().send(data)
                return
            while data:
                data = data[self.sock.send(data) :]

    return type(kind.__name__, (kind,), {"ConnectionCls": Known})


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@contextmanager
def _transport_errors(host: str, peer: str) -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError) as error:
        failure = tls_failure(error, host)
        if failure is not None:
            raise failure from error
        cause = error.__cause__ or error.__context__ or error  # says it shorter, without pools and ports
        text = f"the {peer} cannot be reached: {type(cause).__name__}: {cause}"
        raise UnavailableError(text, retry_after_s=0.0) from error


def _pieces(
    body: Sequence[bytes | bytearray | memoryview], meanwhile: Callable[[], object] | None
) -> Iterator[memoryview]:
    for part in body:
        yield memoryview(part)
    if meanwhile is not None:
        meanwhile()


def _paced(response: urllib3.BaseHTTPResponse, due_s: float, peer: str) -> Iterator[bytes]:
    """Yield the body as it comes, and give up once it is later than its size excuses."""
    while piece := response.read1(PIECE_BYTES, decode_content=False):
        yield piece
        due_s += len(piece) / MIN_BYTES_PER_S
        if time.monotonic() > due_s:
            raise UnavailableError(f"the {peer}'s answer only trickles", retry_after_s=0.0)


def _head(pieces: Iterator[bytes], limit_bytes: int) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > limit_bytes:
            return b""
    return bytes(body)
