"""The coordinator's HTTP interface; the table of routes is at the bottom.

Everything but `/v1/federation`, `/v1/enrol` and health wants a signature of an
enrolled member. Bodies are streamed and counted; nothing is parsed before its
size is known and, where a signature is due, before the signature is checked.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.routing import Route

from fedanomaly.coordinator.home import Home
from fedanomaly.coordinator.lifecycle import lifespan
from fedanomaly.coordinator.metrics import Metrics
from fedanomaly.coordinator.service import Service
from fedanomaly.errors import (
    CapacityError,
    UnauthenticatedError,
    UnavailableError,
)
from fedanomaly.transport.answers import add_failures
from fedanomaly.transport.gate import Gate
from fedanomaly.transport.request_log import RequestLog
from fedanomaly.transport.verification import Caller
from fedanomaly.transport.wire import (
    JSON,
    MAX_ENVELOPE_BYTES,
    MAX_HEAD_BYTES,
    MAX_WAIT_S,
    MSGPACK,
    OCTETS,
    PART_BYTES,
    Enrolment,
    Head,
    Parts,
    Posted,
    decode,
    encode,
    parse_digest,
)

BODY_TIMEOUT_S = 120.0
ENROL_TIMEOUT_S = 15.0
WRITE_BYTES = 256 * 1024
MAX_INTEGER = 2**53
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})?", re.ASCII)
EMPTY_SHA256 = parse_digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


async def service_of(request: Request) -> Service:
    """Return the running service."""
    return request.app.state.service


async def caller_of(request: Request) -> Caller:
    """Return the enrolled member that signed the request."""
    return await request.app.state.service.verifier(request)


async def bodiless_caller_of(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Return the member that signed a request without a body."""
    if caller.content_digest != EMPTY_SHA256:
        raise UnauthenticatedError("a body was signed where none belongs")
    return caller


Running = Annotated[Service, Depends(service_of)]
Signed = Annotated[Caller, Depends(caller_of)]
Bodiless = Annotated[Caller, Depends(bodiless_caller_of)]


@dataclass(frozen=True)
class BlobName:
    """Which blob a request is about, and the size that its owner says it has."""

    digest: bytes
    size: int


async def blob_of(digest: Annotated[str, Path()], size: Annotated[int, Query(ge=0, le=MAX_INTEGER)]) -> BlobName:
    """Return the blob that path and query name."""
    return BlobName(parse_digest(digest), size)


Blob = Annotated[BlobName, Depends(blob_of)]

open_routes = APIRouter()
member_routes = APIRouter(prefix="/v1")


@open_routes.get("/healthz")
@open_routes.get("/healthz/live")
async def live() -> Response:
    """Answer as long as the process runs."""
    return Response("ok\n", media_type="text/plain")


@open_routes.get("/healthz/ready")
async def ready(service: Running) -> Response:
    """Answer once requests can be served."""
    await service.check_ready()
    return Response("ok\n", media_type="text/plain")


@open_routes.get("/v1/federation")
async def federation(service: Running) -> Response:
    """Say who answers here."""
    return _head(service.info())


@open_routes.post("/v1/enrol")
async def enrol(service: Running, request: Request) -> Response:
    """Spend an invitation; the envelope in it is signed by the key that it enrols."""
    body = await _read(request, MAX_HEAD_BYTES, ENROL_TIMEOUT_S)
    return _head(Posted(seq=await service.enrol(decode(Enrolment, body))))


@member_routes.get("/envelopes")
async def feed(
    service: Running,
    caller: Bodiless,
    after: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0,
    wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = 0.0,
) -> Response:
    """Return what follows a position of the log, waiting for it if told to."""
    return _head(await service.feed(caller.member, after, wait_s))


@member_routes.post("/envelopes")
async def post(service: Running, caller: Signed, request: Request) -> Response:
    """Append an envelope."""
    body = await _read(request, MAX_ENVELOPE_BYTES, BODY_TIMEOUT_S, caller)
    return _head(Posted(seq=await service.post(caller.member, body)))


@member_routes.get("/status")
async def status(service: Running, _caller: Bodiless) -> Response:
    """Return the federation at a glance."""
    return Response(encode(await service.status(), JSON), media_type=JSON)


@member_routes.get("/blobs/{digest}/parts")
async def parts(service: Running, caller: Bodiless, blob: Blob) -> Response:
    """Return which parts of the caller's upload are there."""
    present = await asyncio.to_thread(service.blobs.parts, caller.member, blob.digest, blob.size)
    return _head(Parts(whole=present is None, parts=present or {}))


@member_routes.put("/blobs/{digest}/parts/{number}")
async def put_part(
    service: Running,
    caller: Signed,
    request: Request,
    blob: Blob,
    number: Annotated[int, Path(ge=0, le=MAX_INTEGER)],
) -> Response:
    """Take one part of an upload; its digest is the signed digest of the body. The only part completes it."""
    writer = await asyncio.to_thread(
        service.blobs.part, caller.member, blob.digest, blob.size, number, caller.content_digest
    )
    if writer is not None:
        with writer:
            async with _within(BODY_TIMEOUT_S):
                async for piece in _pieces(request, PART_BYTES):
                    await asyncio.to_thread(writer.write, piece)
            await asyncio.to_thread(writer.commit)
    return Response(status_code=204)


@member_routes.post("/blobs/{digest}")
async def complete(service: Running, caller: Bodiless, blob: Blob) -> Response:
    """Join the parts of an upload."""
    await asyncio.to_thread(service.blobs.complete, caller.member, blob.digest, blob.size)
    return Response(status_code=204)


@member_routes.get("/blobs/{digest}")
async def get_blob(service: Running, _caller: Bodiless, request: Request, digest: str) -> Response:
    """Return a blob, or the one range of it that is asked for."""
    name = parse_digest(digest)
    size = (await asyncio.to_thread(service.blobs.open, name)).size
    start, stop, code, headers = 0, size, 200, {}
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted:
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1 if wanted[2] else size, size)
        if start >= stop:
            return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
        code, headers = 206, {"content-range": f"bytes {start}-{stop - 1}/{size}"}
    return StreamingResponse(
        service.blobs.stream(name, start, stop),
        status_code=code,
        media_type=OCTETS,
        headers={**headers, "content-length": str(stop - start), "accept-ranges": "bytes"},
    )


def create_app(folder: FilePath) -> FastAPI:
    """Return the application of the coordinator whose home is `folder`.

    Raises
    ------
    ConfigError
        If the home is not usable.
    """
    home = Home(folder)
    home.check()
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.home = home
    app.state.metrics = Metrics()
    app.include_router(open_routes)
    app.include_router(member_routes)
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    add_failures(app)
    return app


def guarded(app: FastAPI) -> Gate:
    """Return the application behind its gate, outside of everything else that looks at a request."""
    open_paths = {route.path for route in open_routes.routes if isinstance(route, Route)}
    return Gate(
        app,
        open_paths=open_paths,
        is_member=lambda key: key in app.state.service.transcript.members,
        metrics=app.state.metrics,
    )


def _head(head: Head) -> Response:
    return Response(encode(head), media_type=MSGPACK)


async def _read(request: Request, limit_bytes: int, timeout_s: float, caller: Caller | None = None) -> bytes:
    body = bytearray()
    async with _within(timeout_s):
        async for piece in _pieces(request, limit_bytes):
            body += piece
    if caller is not None and hashlib.sha256(body).digest() != caller.content_digest:
        raise UnauthenticatedError("a body is not the one that was signed")
    return bytes(body)


async def _pieces(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body in pieces of about `WRITE_BYTES`, and no more of it than allowed."""
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > limit_bytes:
        raise CapacityError(f"a body exceeds {limit_bytes} bytes")
    gathered, received = bytearray(), 0
    async for piece in request.stream():
        received += len(piece)
        if received > limit_bytes:
            raise CapacityError(f"a body exceeds {limit_bytes} bytes")
        gathered += piece
        if len(gathered) >= WRITE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


@asynccontextmanager
async def _within(timeout_s: float) -> AsyncIterator[None]:
    """Give up on a body that arrives too slowly: it keeps a place that others wait for."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise UnavailableError(f"a body did not arrive within {timeout_s:.0f} s") from None
