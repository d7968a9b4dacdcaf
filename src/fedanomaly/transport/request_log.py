"""What a service tells of the requests that it answers: one line of log each, and sums."""

from __future__ import annotations

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedanomaly.transport.metrics import Declared, Instruments

REFUSALS_TOLD_IN_A_SECOND = 10
METHODS = frozenset({"GET", "POST", "PUT"})
REQUESTS = (
    Declared(name="fedanomaly_requests_total", kind="counter", unit="requests", labels=("method", "route", "status"),
             meaning="Requests that were answered; a path without a route has the route unknown."),
    Declared(name="fedanomaly_request_seconds", kind="histogram", unit="seconds", labels=("route",),
             buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
             meaning="Duration of requests; /v1/envelopes of a coordinator waits for news on purpose."),
    Declared(name="fedanomaly_received_bytes_total", kind="counter", unit="bytes", meaning="Bodies of requests."),
    Declared(name="fedanomaly_sent_bytes_total", kind="counter", unit="bytes", meaning="Bodies of answers."),
    Declared(name="fedanomaly_refusals_total", kind="counter", unit="requests", labels=("code",),
             meaning="Requests that were refused, by error code."),
)  # fmt: skip
"""What every service counts of its requests."""

log = structlog.get_logger("fedanomaly.transport")


class RequestMetrics(Instruments):
    """Metrics that have `REQUESTS` among them."""

    def answered(self, method: str, route: str, status: int, *, seconds: float, received: int, sent: int) -> None:
        """Count a request that was answered."""
        known = method if method in METHODS else "other"  # its text is the caller's
        self.count("fedanomaly_requests_total", method=known, route=route, status=str(status))
        self.observe("fedanomaly_request_seconds", seconds, route=route)
        self.add("fedanomaly_received_bytes_total", received)
        self.add("fedanomaly_sent_bytes_total", sent)


class RequestLog:
    """Logs and counts each request: route, status, duration, sizes. No query, no header, no body.

    Of requests that are refused it tells a few in a second, and how many more there
    were with the next: whoever sends them must not fill the disk.

    Parameters
    ----------
    app : ASGI application
        What answers.
    metrics : RequestMetrics
        Where it is counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: RequestMetrics) -> None:
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
