"""One signed HTTP conversation with a coordinator or a scoring service: limits, retries, typed errors."""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2
import stamina

from fedanomaly.errors import CertificateError, ConfigError, ProtocolError, UnavailableError
from fedanomaly.transport.failures import error_of
from fedanomaly.transport.invitations import check_origin
from fedanomaly.transport.signing import RequestSigner
from fedanomaly.transport.trust import client_context, tls_failure

MAX_FAILURE_BYTES = 16 * 1024
MIN_BYTES_PER_S = 1024
"""Slower answers are given up: one that trickles would hold a node's conversation for days."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how often to try again.

    Parameters
    ----------
    connect_timeout_s : float
        Until a connection stands.
    io_timeout_s : float
        Between two pieces of a request or of an answer.
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
        self._host = urlsplit(check_origin(url)).hostname or ""
        loopback = is_loopback(self._host)
        if url.startswith("http://") and not (loopback or allow_http):
            raise ConfigError("plain HTTP is spoken on this machine only", hint="use an https URL")
        self._signer = signer
        self._patience = patience
        self._http = httpx2.Client(
            base_url=url,
            # Without TLS nobody needs to be trusted; reading the system's store would take a while.
            verify=client_context(ca_file) if url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx2.Timeout(patience.io_timeout_s, connect=patience.connect_timeout_s),
            # A proxy of the environment has no business between two processes of one machine.
            trust_env=not loopback,
            headers={"accept-encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a call under way fails."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        limit_bytes: int,
        params: Mapping[str, str | int | float] | None = None,
        body: bytes = b"",
        media_type: str = "application/octet-stream",
        signed: bool = True,
        wait_s: float = 0.0,
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
        body : bytes
            What to send, `PART_BYTES` at most.
        media_type : str
            Of the body.
        signed : bool
            Whether to sign.
        wait_s : float
            How long the answer may take on purpose.

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
                answer = bytearray()
                headers = {"content-type": media_type} if body else {}
                request = self._request(method, path, params, headers, body)
                for piece in self._stream(request, limit_bytes, signed=signed, wait_s=wait_s):
                    answer += piece
                return bytes(answer)
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
        return self._stream(self._request("GET", path, None, headers, b""), limit_bytes, signed=True, wait_s=0.0)

    def _again(self, error: Exception) -> bool | float:
        """Retry only what says that a retry is safe; wait as long as it asks, else longer each time."""
        if isinstance(error, CertificateError):  # the next try within a minute would meet the same certificate
            return False
        return isinstance(error, UnavailableError) and not self._http.is_closed and (error.retry_after_s or True)

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int | float] | None,
        headers: Mapping[str, str],
        body: bytes,
    ) -> httpx2.Request:
        return self._http.build_request(method, path, params=params, headers=headers, content=body)

    def _stream(self, request: httpx2.Request, limit_bytes: int, *, signed: bool, wait_s: float) -> Iterator[bytes]:
        if signed:
            if self._signer is None:
                raise ConfigError("this connection has no identity to sign with")
            self._signer.sign(request)
        patience_s = self._patience.io_timeout_s + wait_s
        request.extensions["timeout"]["read"] = patience_s
        with _transport_errors(self._host, self._peer):
            started_s = time.monotonic()
            response = self._http.send(request, stream=True)
            try:
                pieces = _paced(response, started_s + patience_s, self._peer)
                if not response.is_success:
                    raise error_of(response.status_code, _head(pieces, MAX_FAILURE_BYTES), self._peer)
                if "range" in request.headers and response.status_code != httpx2.codes.PARTIAL_CONTENT:
                    raise ProtocolError(f"the {self._peer} sent another range than it was asked for")
                received = 0
                for piece in pieces:
                    received += len(piece)
                    if received > limit_bytes:
                        raise ProtocolError(f"the {self._peer}'s answer exceeds {limit_bytes} bytes")
                    yield piece
            finally:
                response.close()


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
    except httpx2.TransportError as error:
        failure = tls_failure(error, host)
        if failure is not None:
            raise failure from error
        text = f"the {peer} cannot be reached: {type(error).__name__}: {error}"
        raise UnavailableError(text, retry_after_s=0.0) from error
    except RuntimeError as error:  # what httpx2 raises when its client was closed meanwhile
        raise UnavailableError(f"the connection was closed: {error}") from error


def _paced(response: httpx2.Response, due_s: float, peer: str) -> Iterator[bytes]:
    """Yield the body as it comes, and give up once it is later than its size excuses."""
    for piece in response.iter_raw():
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
