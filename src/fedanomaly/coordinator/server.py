"""Runs the coordinator as one process."""

from __future__ import annotations

import socket
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from fedanomaly.coordinator.api import create_app, guarded
from fedanomaly.errors import ConfigError
from fedanomaly.transport import serving
from fedanomaly.transport.logs import configure
from fedanomaly.transport.server_tls import ServerTls

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
    serving.allow_connections()
    hint = "another coordinator may run there; else set listen_port in coordinator.toml"
    with serving.listen(config.listen_host, config.listen_port, hint=hint) as listener:
        try:
            Server(serving.options_of(guarded(app), tls), app, tls).run(sockets=[listener])
        except SystemExit:  # how uvicorn says that the start failed
            raise getattr(app.state, "failure", None) or ConfigError("the service did not start") from None


class Server(serving.Server):
    """A server that lets waiting members go as soon as it is told to stop.

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
        super().__init__(config, tls)
        self._app = app

    def announce(self) -> None:
        """Say where the coordinator listens, and for whom."""
        home = self._app.state.home
        log.info("listening", url=home.config.origin, federation=home.federation.hex())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; long polls would hold it up otherwise."""
        log.info("stopping")
        service = getattr(self._app.state, "service", None)
        if service is not None:
            service.stop_waiting()
        await super().shutdown(sockets)
