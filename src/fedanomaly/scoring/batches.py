"""The route that encrypted batches take, past the framework: its routing and dependencies take longer than a kernel.

The order is that of every other route: who asks, is there a place, may it use
the model; only then is the body read.
"""

from __future__ import annotations

import asyncio
import re
import time
from types import SimpleNamespace

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fedanomaly.errors import FedAnomalyError, MessageError
from fedanomaly.scoring.receiving import Body, stated_length
from fedanomaly.scoring.service import ScoringService
from fedanomaly.scoring.wire import HEAD_BYTES, FrameHead, frame_bytes
from fedanomaly.transport.answers import refusal
from fedanomaly.transport.wire import OCTETS

_PATH = re.compile(r"/v1/models/([0-9a-f]{64})/batches", re.ASCII)
_ROUTE = SimpleNamespace(path="/v1/models/{digest}/batches")  # as the log of requests knows routes


class Batches:
    """Answers encrypted batches, and passes everything else on.

    Parameters
    ----------
    app : ASGI application
        What answers other requests; `app.state.service` of the application around it scores.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Score a batch, refuse it, or pass a request on."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        request = Request(scope, receive)
        try:
            await self._answer(request, scope["app"].state.service, bytes.fromhex(found[1]), send)
        except FedAnomalyError as error:
            await refusal(request, error)(scope, receive, send)
        except ClientDisconnect:
            request.state.error = "the caller went away"

    async def _answer(self, request: Request, service: ScoringService, digest: bytes, send: Send) -> None:
        started_s = time.perf_counter()
        caller = await service.verifier(request)
        service.check_open()
        with service.slots.place(caller.member):
            model = service.find(caller.member, digest)
            size = frame_bytes(model.shape)
            if stated_length(request) != size:
                raise MessageError(f"a batch for this model has {size} bytes with its head")
            ready = await service.ready(caller.member, model)
            with service.buffers.lend(size) as memory:
                words = memoryview(memory)
                body = Body(words, service.pool)
                await body.receive(request, pace=service.pace)
                service.metrics.add("fedanomaly_received_bytes_total", size)
                # A kernel takes any bytes, so it begins; what it makes of them leaves if these are what was signed.
                scoring = service.score(ready, words[HEAD_BYTES:])
                try:
                    await body.check(caller.content_digest)
                    frame = FrameHead.from_bytes(words[:HEAD_BYTES], "batch")
                    if frame.digest != digest or frame.size != size - HEAD_BYTES:
                        raise MessageError("the batch is one for another model")
                    answer = await scoring
                except FedAnomalyError:
                    await asyncio.wait([scoring])  # until then it reads memory that would serve another body
                    raise
                finally:
                    # It may hold an error whose traceback holds this frame: a cycle, and memoryviews in one make
                    # Python's collector crash (before 3.11.8: github.com/python/cpython/issues/77894).
                    del scoring
            service.metrics.count("fedanomaly_scoring_batches_total")
            given = len(answer) - HEAD_BYTES
            head = FrameHead(direction="answer", digest=digest, batch_id=frame.batch_id, size=given)
            answer[:HEAD_BYTES] = head.to_bytes()
            service.metrics.observe("fedanomaly_scoring_batch_seconds", time.perf_counter() - started_s)
            headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", OCTETS.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer, "more_body": True})
            # Waits while the connection is full: an answer has its place until all but its end was read.
            await send({"type": "http.response.body", "body": b""})
