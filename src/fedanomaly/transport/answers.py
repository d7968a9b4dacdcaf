"""How a service answers what it refuses, and what nobody thought of."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fedanomaly.errors import FedAnomalyError, MessageError, NotFoundError
from fedanomaly.transport.failures import failure_of, status_of
from fedanomaly.transport.wire import JSON


def add_failures(app: FastAPI) -> None:
    """Let every exception end in an answer with a code; `app.state.metrics` counts refusals."""
    app.add_exception_handler(FedAnomalyError, _on_our_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_surprise)


def _failed(error: FedAnomalyError, code: int | None = None) -> Response:
    failure = failure_of(error)
    headers = {} if failure.retry_after_s is None else {"retry-after": f"{failure.retry_after_s:.0f}"}
    return Response(msgspec.json.encode(failure), code or status_of(error), headers, JSON)


def refusal(request: Request, error: FedAnomalyError) -> Response:
    """Return the answer to a request that is refused, and count it."""
    request.state.error = str(error)
    request.app.state.metrics.count("fedanomaly_refusals_total", code=error.code)
    return _failed(error)


async def _on_our_error(request: Request, error: Any) -> Response:  # noqa: ANN401
    return refusal(request, error)


async def _on_invalid(request: Request, _error: Any) -> Response:  # noqa: ANN401
    return refusal(request, MessageError("a parameter of the request is missing or out of range"))


async def _on_http_error(request: Request, error: Any) -> Response:  # noqa: ANN401
    request.state.error = str(error.detail)
    return _failed(NotFoundError("no such route"), error.status_code)


async def _on_disconnect(request: Request, _error: Any) -> Response:  # noqa: ANN401
    request.state.error = "the caller went away"
    return Response(status_code=400)


async def _on_surprise(_request: Request, _error: Any) -> Response:  # noqa: ANN401
    return _failed(FedAnomalyError("unexpected"))
