"""What surrounds the requests: start and end of the service, its ticks, the request log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedanomaly.coordinator.home import Home
from fedanomaly.coordinator.metrics import Metrics, exposed
from fedanomaly.coordinator.service import TICK_S, Service
from fedanomaly.errors import FedAnomalyError

REFUSALS_TOLD_IN_A_SECOND = 10

log = structlog.get_logger("fedanomaly.coordinator")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a home open, and its deadlines watched, for as long as the application runs."""
    home, metrics = app.state.home, app.state.metrics
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(home.lock())
            stack.enter_context(exposed(metrics, home.config.metrics_port))
            service = app.state.service = await Service.open(home, metrics=metrics)
        except FedAnomalyError as error:
            app.state.failure = error  # for `run`; the server itself says only that the start failed
            raise
        stack.push_async_callback(service.close)
        ticker = asyncio.create_task(_tick(service))
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)


async def call_new_epoch(home: Home) -> None:
    """Call for a new key epoch, on a home that nobody serves right now.

    Raises
    ------
    UnavailableError
        If a process serves the home.
    ProtocolError
        If a job is under way.
    """
    with home.lock():
        service = await Service.open(home)
        try:
            await service.new_epoch()
        finally:
            await service.close()


async def _tick(service: Service) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        await service.tick()


class RequestLog:
    """Logs and counts each request: route, status, duration, sizes. No query, no header, no body.

    Of requests that are refused it tells a few in a second, and how many more there
    were with the next: whoever sends them must not fill the disk.

    Parameters
    ----------
    app : ASGI application
        What answers.
    metrics : Metrics
        Where it is counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._second = 0
        self._told = self._untold = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and log how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, answered, received, sent = time.perf_counter(), 0, 0, 0

        async def taken() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def watch(message: Message) -> None:
            nonlocal answered, sent
            if message["type"] == "http.response.start":
                answered = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, taken, watch)
        except Exception:
            answered = 500
            log.exception("request-failed")
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            error = scope.get("state", {}).get("error")
            seconds = time.perf_counter() - started_s
            self._metrics.answered(scope["method"], route, answered, seconds=seconds, received=received, sent=sent)
            line = {
                "method": scope["method"],
                "route": route,
                "status": answered,
                "duration_ms": round(1000 * seconds, 1),
            }
            if answered < 400:
                log.debug("request", **line)
            elif answered >= 500 or self._may_tell():
                untold, self._untold = self._untold, 0
                more = {"error": error} if error else {}
                log.warning("request", **line, **more, **({"untold": untold} if untold else {}))
            else:
                self._untold += 1

    def _may_tell(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        return self._told <= REFUSALS_TOLD_IN_A_SECOND
