"""Runs the coordinator as one process."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from pathlib import Path
from types import FrameType

import msgspec
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedanomaly.coordinator.api import create_app, guarded
from fedanomaly.coordinator.certificates import CertificateView
from fedanomaly.coordinator.tls import EXPIRES_SOON_DAYS, ServerTls
from fedanomaly.errors import ConfigError, FedAnomalyError, MessageError
from fedanomaly.transport import failure_of
from fedanomaly.transport.logs import configure
from fedanomaly.transport.wire import JSON

GRACEFUL_STOP_S = 10
KEEP_ALIVE_S = 30
MAX_CONNECTIONS = 1000
MAX_HEADER_BYTES = 16 * 1024
"""Size of a request line and its header lines; what members send has about 1 KiB."""

log = structlog.get_logger("fedanomaly.coordinator")


def run(folder: Path) -> None:
    """Serve the home `folder` until SIGTERM or SIGINT; what is under way is finished first.

    SIGHUP makes it read its TLS certificate again.

    Raises
    ------
    ConfigError
        If the home is not usable, the address is taken, or another process serves the home.
    FedAnomalyError
        Whatever else kept the service from starting.
    """
    configure("json")
    app = create_app(folder)
    config = app.state.home.config
    configure("json", config.log_level)
    tls = ServerTls(folder / config.tls_certificate, folder / config.tls_key) if config.tls_certificate else None
    options = uvicorn.Config(
        guarded(app),
        ssl_context_factory=(lambda _config, _default: tls.context) if tls else None,
        access_log=False,
        log_config=None,
        http=Http,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_STOP_S,
    )
    with _listen(config.listen_host, config.listen_port) as listener:
        try:
            Server(options, app, tls).run(sockets=[listener])
        except SystemExit:  # how uvicorn says that the start failed
            raise getattr(app.state, "failure", None) or ConfigError("the service did not start") from None


class Http(HttpToolsProtocol):
    """HTTP/1.1 with an end to header lines, and with a code of ours also where no request could be read.

    The parser itself takes in header lines, and trailers behind a body, without end.
    """

    _header_bytes = 0
    _gets_on = _has_headers = False

    def data_received(self, data: bytes) -> None:
        """Take the next bytes; what is neither body nor the end of anything must end soon."""
        self._gets_on = False
        super().data_received(data)
        self._header_bytes = 0 if self._gets_on else self._header_bytes + len(data)
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin with a request."""
        self._has_headers = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header line; not one that comes behind the body, when everything is checked."""
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request be answered."""
        self._has_headers = self._gets_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._gets_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._gets_on = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and close."""
        del msg
        body = msgspec.json.encode(failure_of(MessageError("not an HTTP request")))
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class Server(uvicorn.Server):
    """Uvicorn that lets waiting members go as soon as it is told to stop.

    Parameters
    ----------
    config : uvicorn.Config
        How to serve.
    app : FastAPI
        What is served.
    tls : ServerTls, optional
        Certificate that is served.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, tls: ServerTls | None = None) -> None:
        super().__init__(config)
        self._app, self._tls = app, tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so once requests are answered."""
        await super().startup(sockets)
        if self.started:
            home = self._app.state.home
            if threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            log.info("listening", url=home.config.origin, federation=home.federation.hex())
            if self._tls is not None:
                _tell_of(self._tls.current)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; long polls would hold it up otherwise."""
        log.info("stopping")
        service = getattr(self._app.state, "service", None)
        if service is not None:
            service.stop_waiting()
        await super().shutdown(sockets)

    def _reload(self) -> None:
        """Serve the certificate that lies there now; one that is unusable leaves the old one in place."""
        if self._tls is None:
            return
        try:
            _tell_of(self._tls.load())
        except FedAnomalyError as error:
            log.error("certificate-kept", error=str(error))  # noqa: TRY400 - the text says it all

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal, at once at the second; either way `run` returns."""
        # Unlike uvicorn's own, it does not raise the signal again after the last request.
        _ = sig, frame
        self.force_exit, self.should_exit = self.should_exit, True


def _tell_of(certificate: CertificateView) -> None:
    days = certificate.days_left()
    tell = log.warning if days < EXPIRES_SOON_DAYS else log.info
    tell("certificate", hosts=certificate.hosts, expires=f"{certificate.not_after:%Y-%m-%d}", days_left=int(days))


def _listen(host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; else the body of every answer
    # waits for the acknowledgement of its head, which Linux delays by 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            hint="another coordinator may run there; else set listen_port in coordinator.toml",
        ) from None
    return listener
