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
from fedanomaly.coordinator.service import TICK_S, Service
from fedanomaly.errors import FedAnomalyError

log = structlog.get_logger("fedanomaly.coordinator")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a home open, and its deadlines watched, for as long as the application runs."""
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(app.state.home.lock())
            service = app.state.service = await Service.open(app.state.home)
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
    """Logs one line for each request: route, status, duration. No query, no header, no body.

    Parameters
    ----------
    app : ASGI application
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and log how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, answered = time.perf_counter(), 0

        async def watch(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            answered = 500
            log.exception("request_failed")
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            error = scope.get("state", {}).get("error")
            write = log.debug if answered < 400 else log.warning
            write(
                "request",
                method=scope["method"],
                route=route,
                status=answered,
                duration_ms=round(1000 * (time.perf_counter() - started_s), 1),
                **({"error": error} if error else {}),
            )
