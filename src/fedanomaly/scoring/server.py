"""Runs a scoring service as one process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from fedanomaly.errors import ConfigError
from fedanomaly.scoring.api import create_app, guarded
from fedanomaly.transport import serving
from fedanomaly.transport.logs import configure
from fedanomaly.transport.server_tls import ServerTls

DRAIN_S = 10.0
LOOK_S = 0.02

log = structlog.get_logger("fedanomaly.scoring")


def run(folder: Path) -> None:
    """Serve the home `folder` until SIGTERM or SIGINT; what is under way is answered first.

    SIGHUP makes it read tenants, releasers, models and its TLS certificate again.

    Raises
    ------
    ConfigError
        If the home is not usable, or the address is taken.
    """
    configure("json")
    app = create_app(folder)
    config = app.state.home.config
    configure("json", config.log_level)
    tls = ServerTls(folder / config.tls_certificate, folder / config.tls_key) if config.tls_certificate else None
    serving.allow_connections()
    hint = "another service may run there; else set listen_port in scoring.toml"
    with serving.listen(config.listen_host, config.listen_port, hint=hint) as listener:
        try:
            Server(serving.options_of(guarded(app), tls), app, tls).run(sockets=[listener])
        except SystemExit:  # how uvicorn says that the start failed
            raise getattr(app.state, "failure", None) or ConfigError("the service did not start") from None


class Server(serving.Server):
    """A server that answers what is under way before it closes a connection.

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
        self._reloads: set[asyncio.Task[None]] = set()  # the loop itself would let go of them

    def announce(self) -> None:
        """Say where the service listens, and for whom."""
        config, service = self._app.state.home.config, self._app.state.service
        log.info("listening", url=config.origin, tenants=len(service.tenants), models=len(service.released))

    def reload(self) -> None:
        """Read again what may change while it serves."""
        super().reload()
        task = asyncio.get_running_loop().create_task(self._app.state.service.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, answer what is under way, then stop."""
        service = getattr(self._app.state, "service", None)
        if service is not None:
            service.draining = True
            log.info("stopping", in_flight=service.slots.taken)
            loop = asyncio.get_running_loop()
            until_s = loop.time() + DRAIN_S
            # The socket still listens: who comes now hears 503 and when to come again, not a closed door.
            # Looked at, not waited for: a second signal ends it as well, and a handler of signals wakes nobody.
            while service.slots.taken and not self.force_exit and loop.time() < until_s:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        await super().shutdown(sockets)
