"""The scoring service's HTTP interface.

All below `/v1` wants a signature of a tenant. The order of a request is: who
asks, is there a place, may it use the model; only then is its body read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Request, Response

from fedanomaly.errors import CapacityError, FedAnomalyError, MessageError
from fedanomaly.fhe.hidden import PreparedModel
from fedanomaly.scoring.batches import Batches
from fedanomaly.scoring.home import Home
from fedanomaly.scoring.metrics import Metrics
from fedanomaly.scoring.models import Model
from fedanomaly.scoring.receiving import Body, stated_length
from fedanomaly.scoring.service import RESCAN_S, ScoringService
from fedanomaly.scoring.wire import Offer
from fedanomaly.transport.answers import add_failures
from fedanomaly.transport.gate import Gate
from fedanomaly.transport.metrics import CONTENT_TYPE
from fedanomaly.transport.request_log import RequestLog
from fedanomaly.transport.verification import Caller
from fedanomaly.transport.wire import JSON, OCTETS, parse_digest

OPEN_PATHS = ("/health", "/metrics")


async def service_of(request: Request) -> ScoringService:
    """Return the running service."""
    return request.app.state.service


Running = Annotated[ScoringService, Depends(service_of)]


async def caller_of(service: Running, request: Request) -> Caller:
    """Return the tenant that signed the request, if it may be served now."""
    caller = await service.verifier(request)
    service.check_open()
    return caller


Signed = Annotated[Caller, Depends(caller_of)]


async def model_of(service: Running, caller: Signed, digest: str) -> Model:
    """Return the model that the path names, if it is one for this tenant."""
    return service.find(caller.member, parse_digest(digest))


async def place_of(service: Running, caller: Signed) -> AsyncIterator[None]:
    """Hold a place until the answer is sent."""
    with service.slots.place(caller.member):
        yield


Named = Annotated[Model, Depends(model_of)]
open_routes = APIRouter()
tenant_routes = APIRouter(prefix="/v1/models")


@open_routes.get("/health")
async def health(service: Running) -> Response:
    """Say whether requests are served."""
    told = {"ready": not service.draining, "draining": service.draining}
    return Response(msgspec.json.encode(told), 503 if service.draining else 200, media_type=JSON)


@open_routes.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


@tenant_routes.get("")
async def models(service: Running, caller: Signed) -> Response:
    """List what the tenant may score with."""
    return Response(msgspec.json.encode(service.models(caller.member)), media_type=JSON)


@tenant_routes.put("/{digest}", dependencies=[Depends(place_of)])
async def upload(service: Running, caller: Signed, request: Request, digest: str) -> Response:
    """Take a circuit, or an encrypted model, for the tenant that sends it; the same again changes nothing."""
    name = parse_digest(digest)
    if name != caller.content_digest:
        raise MessageError("a circuit is named by its digest")
    if not service.takes_uploads:
        raise CapacityError(
            "this service keeps no models of tenants", hint="have it released there, or max_uploads_per_tenant set"
        )
    size = stated_length(request)
    if size > service.max_upload_bytes:
        raise CapacityError(f"a circuit has {service.max_upload_bytes} bytes at most")
    memory = bytearray(size)
    body = Body(memoryview(memory), service.pool)
    await body.receive(request, pace=service.pace)
    await body.check(caller.content_digest)
    service.metrics.add("fedanomaly_received_bytes_total", size)
    await service.upload(caller.member, name, memory)
    return Response(status_code=204)


@tenant_routes.get("/{digest}/constants", dependencies=[Depends(place_of)])
async def constants(service: Running, caller: Signed, model: Named) -> Response:
    """Return what the tenant needs before its first batch."""
    ready = await service.ready(caller.member, model)
    if isinstance(ready.circuit, PreparedModel):
        raise MessageError("an encrypted model has no constants: who encrypted it has all that decrypting takes")
    return Response(Offer(ready.circuit.shape, ready.constants).to_bytes(model.digest), media_type=OCTETS)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a service, and an eye on its folder, for as long as the application runs."""
    try:
        service = app.state.service = ScoringService(app.state.home, app.state.metrics)
        await service.rescan()
    except FedAnomalyError as error:
        app.state.failure = error  # for `run`; the server itself says only that the start failed
        raise
    watching = asyncio.create_task(_watch(service))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        service.close()


async def _watch(service: ScoringService) -> None:
    while True:
        await asyncio.sleep(RESCAN_S)
        await service.rescan()


def create_app(folder: FilePath) -> FastAPI:
    """Return the application of the scoring service whose home is `folder`.

    Raises
    ------
    ConfigError
        If its settings are not usable.
    """
    home = Home(folder)
    _ = home.config  # checks it
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.home = home
    app.state.metrics = Metrics()
    app.include_router(open_routes)
    app.include_router(tenant_routes)
    app.add_middleware(Batches)
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    add_failures(app)
    return app


def guarded(app: FastAPI) -> Gate:
    """Return the application behind its gate, outside of everything else that looks at a request."""
    return Gate(
        app,
        open_paths=OPEN_PATHS,
        is_member=lambda key: key in app.state.service.tenants,
        metrics=app.state.metrics,
    )
