"""What surrounds the requests: start and end of the service, and its ticks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from fedanomaly.coordinator.home import Home
from fedanomaly.coordinator.metrics import exposed
from fedanomaly.coordinator.service import TICK_S, Service
from fedanomaly.errors import FedAnomalyError


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
