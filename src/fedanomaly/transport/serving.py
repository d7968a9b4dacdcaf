"""Runs a service as one process: its socket, its TLS, its signals."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import threading
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from fedanomaly.errors import ConfigError, FedAnomalyError
from fedanomaly.transport.http import MAX_CONNECTIONS, Http
from fedanomaly.transport.server_tls import ServerTls, tell_of

GRACEFUL_STOP_S = 10
KEEP_ALIVE_S = 30
CLOSING_CONNECTIONS = 200
"""Room for those that made place for others and are not gone yet."""

log = structlog.get_logger("fedanomaly.transport")


def options_of(app: ASGIApp, tls: ServerTls | None = None, **others: Any) -> uvicorn.Config:  # noqa: ANN401
    """Return how an application is served; `others` are options of uvicorn's."""
    options: dict[str, Any] = {
        "ssl_context_factory": (lambda _config, _default: tls.context) if tls else None,
        "access_log": False,
        "log_config": None,
        "http": Http,
        "ws": "none",
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "on",
        "limit_concurrency": MAX_CONNECTIONS + CLOSING_CONNECTIONS,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": GRACEFUL_STOP_S,
    }
    return uvicorn.Config(app, **options | others)


class Server(uvicorn.Server):
    """Uvicorn that says when it listens, takes a new certificate, and stops for good at the second signal.

    Parameters
    ----------
    config : uvicorn.Config
        How to serve.
    tls : ServerTls, optional
        Certificate that is served.
    """

    def __init__(self, config: uvicorn.Config, tls: ServerTls | None = None) -> None:
        super().__init__(config)
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so once requests are answered."""
        await super().startup(sockets)
        if self.started:
            if threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
            self.announce()
            if self._tls is not None:
                tell_of(self._tls.current)

    def announce(self) -> None:
        """Say where this service listens; to be overridden."""
        log.info("listening")

    def reload(self) -> None:
        """Serve the certificate that lies there now; one that is unusable leaves the old one in place."""
        if self._tls is None:
            return
        try:
            tell_of(self._tls.load())
        except FedAnomalyError as error:
            log.error("certificate-kept", error=str(error))  # noqa: TRY400 - the text says it all

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal, at once at the second; either way `run` returns."""
        # Unlike uvicorn's own, it does not raise the signal again after the last request.
        _ = sig, frame
        self.force_exit, self.should_exit = self.should_exit, True


def allow_connections() -> None:
    """Take as many file handles as this process may have: the usual 1,024 are fewer than a flood of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(host: str, port: int, *, hint: str) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    ConfigError
        If the address cannot be had; with `hint`.
    """
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; else the body of every answer
    # waits for the acknowledgement of its head, which Linux delays by 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}", hint=hint) from None
    return listener
