"""The loopback API: what the CLI, `fa.Client` and the dashboard are clients of."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pyarrow as pa
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fedanomaly import __version__
from fedanomaly.detectors.quality import ALERT_BUDGET
from fedanomaly.errors import CapacityError, ConfigError, DataError, FedAnomalyError, NotFoundError, UnavailableError
from fedanomaly.node.guard import Guard
from fedanomaly.node.health import add_health
from fedanomaly.node.service import NodeService
from fedanomaly.node.views import (
    DatasetView,
    EvaluationView,
    EventsView,
    EventView,
    FailureView,
    JobView,
    ModelView,
    ScoresView,
    StatusView,
    TrainView,
    model_view,
)
from fedanomaly.transport import status_of

MAX_ROWS_BYTES = 256 << 20
MAX_EVENTS = 500
ARROW_STREAM = "application/vnd.apache.arrow.stream"
OCTETS = "application/octet-stream"

Failures = {"default": {"model": FailureView, "description": "What went wrong, and what to do about it."}}


class TrainRequest(BaseModel):
    """A detector to be trained by the federation."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dataset: str
    detector: str = "ensemble"
    model: str | None = Field(default=None, description="Name of the model; that of the data set if left out.")
    params: dict[str, Any] = {}
    sample: int | None = Field(
        default=None, description="Rows to take of each member's, a power of two from 1024 on; all if left out."
    )


class RefreshRequest(BaseModel):
    """How fast a model forgets."""

    model_config = ConfigDict(strict=True, extra="forbid")

    half_life_days: float = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="After so many days the rows that it knows count half."
    )


def create_app(service: NodeService, token: str) -> FastAPI:
    """Return the guarded API of a running node.

    Parameters
    ----------
    service : NodeService
        The node.
    token : str
        What a request must bring as a bearer token.
    """
    app = FastAPI(
        title="FedAnomalyFHE node",
        version=__version__,
        description="The organisation's own node, on 127.0.0.1; every request brings the token of its home.",
        responses=Failures,  # type: ignore[arg-type]
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(FedAnomalyError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _unexpected(service))
    add_health(app, service)
    _add_reading(app, service)
    _add_models(app, service)
    return app


def _add_reading(app: FastAPI, service: NodeService) -> None:
    @app.get("/v1/status", operation_id="status")
    def status() -> StatusView:
        """Return the node and its federation at a glance."""
        return service.status

    @app.get("/v1/datasets", operation_id="datasets")
    def datasets() -> list[DatasetView]:
        """Return the local data sets, the newest snapshot of each."""
        return service.datasets.list()

    @app.post("/v1/jobs", operation_id="train", status_code=202)
    def train(body: TrainRequest) -> TrainView:
        """Ask the federation to train a detector."""
        model = body.model or body.dataset
        asked = {"model": model, "dataset": body.dataset, "detector": body.detector, "params": body.params}
        return TrainView(id=service.train(**asked, sample=body.sample))

    @app.get("/v1/jobs", operation_id="jobs")
    def jobs() -> list[JobView]:
        """Return all jobs of the federation's log, oldest first."""
        return service.jobs

    @app.get("/v1/jobs/{job}", operation_id="job")
    def job(job: str) -> JobView:
        """Return one job and its rounds."""
        for view in service.jobs:
            if view.id == job:
                return view
        raise NotFoundError(f"there is no job {job}")

    @app.get("/v1/events", operation_id="events")
    def events(after: Annotated[int, Query(ge=0)] = 0) -> EventsView:
        """Return what happened at this node after a cursor, oldest first."""
        found = service.feed.after(after)[:MAX_EVENTS]
        views = [EventView(cursor=entry.cursor, at=entry.at, name=entry.name, details=entry.details) for entry in found]
        return EventsView(events=views, cursor=found[-1].cursor if found else after)


def _add_models(app: FastAPI, service: NodeService) -> None:
    @app.get("/v1/models", operation_id="models")
    def models() -> list[ModelView]:
        """Return the newest version of every model of this node."""
        return [model_view(lineage) for lineage in service.models.newest()]

    @app.get("/v1/models/{name}", operation_id="model")
    def model(name: str, version: Annotated[int | None, Query(ge=1)] = None) -> ModelView:
        """Return where a model came from."""
        return model_view(service.models.load(name, version).lineage)

    @app.get(
        "/v1/models/{name}/state",
        operation_id="state",
        response_class=Response,
        responses={200: {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}},
    )
    def state(name: str, version: Annotated[int | None, Query(ge=1)] = None) -> Response:
        """Return the canonical bytes of a model's state."""
        return Response(service.models.load(name, version).state.to_bytes(), media_type=OCTETS)

    @app.post("/v1/models/{name}/refreshes", operation_id="refresh", status_code=202)
    def refresh(name: str, body: RefreshRequest) -> TrainView:
        """Ask the federation to teach a model the rows that came since it was trained, while older ones fade."""
        return TrainView(id=service.refresh(name, body.half_life_days))

    @app.post("/v1/models/{name}/evaluations", operation_id="evaluate", status_code=202)
    def evaluate(name: str, version: Annotated[int | None, Query(ge=1)] = None) -> TrainView:
        """Ask the federation to evaluate a model: every member scores its own held-out rows with its own copy."""
        return TrainView(id=service.evaluate(name, version))

    @app.get("/v1/models/{name}/evaluations/newest", operation_id="evaluation")
    def evaluation(name: str, budget: Annotated[float, Query(gt=0, le=1)] = ALERT_BUDGET) -> EvaluationView:
        """Return the newest evaluation of a model; precision and recall at an alert budget, a share of the rows."""
        return service.evaluation(name, budget)

    @app.post(
        "/v1/models/{name}/score",
        operation_id="score",
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "Rows as an Arrow IPC stream, columns as in the model's feature schema.",
                "content": {ARROW_STREAM: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def score(request: Request, name: str, version: Annotated[int | None, Query(ge=1)] = None) -> ScoresView:
        """Return the scores of rows: high is anomalous, -1 is an outlier.

        They are computed here, or by the scoring service that the policy names.
        """
        body = await _body(request)
        return await run_in_threadpool(_scores, service, name, version, body)


def _scores(service: NodeService, name: str, version: int | None, body: bytes) -> ScoresView:
    from fedanomaly.node.scoring import Scorer  # noqa: PLC0415 - scikit-learn only when it scores

    model = service.models.load(name, version)
    scorer = Scorer.of(model.lineage.schema, model.state)
    try:
        with pa.ipc.open_stream(body) as reader:
            table = reader.read_all()
    except (pa.ArrowException, OSError):
        raise DataError("the body is no Arrow IPC stream") from None
    rows = scorer.encode(table)
    found = service.remote.score(model.lineage, scorer.detector, rows) if service.remote else None
    scored = scorer.scored_here(rows) if found is None else found
    return ScoresView(
        scores=scored.scores.tolist(),
        predictions=scorer.predictions(scored.scores).tolist(),
        threshold=scored.threshold,
        remote=found is not None,
        uncertain=scored.uncertain.tolist(),
        scored_here=scored.local,
        bytes_up=scored.bytes_up,
        bytes_down=scored.bytes_down,
    )


async def _body(request: Request) -> bytes:
    body = io.BytesIO()
    async for piece in request.stream():
        if body.tell() + len(piece) > MAX_ROWS_BYTES:
            raise CapacityError(f"at most {MAX_ROWS_BYTES} bytes are scored at once", hint="send the rows in parts")
        body.write(piece)
    return body.getvalue()


async def _failed(_request: Request, error: Exception) -> JSONResponse:
    # The owner of the node reads its own errors in full.
    if not isinstance(error, FedAnomalyError):
        raise error
    return _answer(
        # What the operator must change is what the caller sent: nobody else sets anything here.
        422 if type(error) is ConfigError else status_of(error),
        code=error.code,
        message=Exception.__str__(error),
        hint=error.hint,
        retry_after_s=error.retry_after_s if isinstance(error, UnavailableError) else None,
    )


def _unexpected(service: NodeService) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    """Return what answers a defect: only its kind is told, since its text may quote a row."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        route = getattr(request.scope.get("route"), "path", "unknown")
        service.feed.problem("request-failed", route=route, error=f"unexpected {type(error).__name__}")
        told = FedAnomalyError("unexpected")
        return _answer(500, code=told.code, message=told.public, hint=None, retry_after_s=None)

    return answer


async def _no_route(_request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    answer = _answer(status, code=NotFoundError.code, message="no such route", hint=None, retry_after_s=None)
    answer.headers.update(headers)
    return answer


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    # Names of fields, never what was in them.
    places = error.errors() if isinstance(error, RequestValidationError) else []
    told = ", ".join(".".join(str(part) for part in place["loc"]) + f": {place['msg']}" for place in places)
    return _answer(422, code=DataError.code, message=told or "invalid request", hint=None, retry_after_s=None)


def _answer(status: int, **told: Any) -> JSONResponse:  # noqa: ANN401 - JSON values
    return JSONResponse(FailureView(**told).model_dump(), status_code=status)
