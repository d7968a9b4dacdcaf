"""Health and metrics on the loopback API.

Health says one bit to whoever asks on this machine, so a supervisor needs no
token; metrics tell how much this organisation takes part, and want it.
"""

from __future__ import annotations

from fastapi import FastAPI, Response

from fedanomaly.errors import UnavailableError
from fedanomaly.node.service import NodeService
from fedanomaly.transport.metrics import CONTENT_TYPE


def add_health(app: FastAPI, service: NodeService) -> None:
    """Add the routes for supervisors and Prometheus; they are no part of the API that clients are made from."""

    @app.get("/healthz", include_in_schema=False)
    @app.get("/healthz/live", include_in_schema=False)
    def live() -> Response:
        """Answer as long as the node works."""
        if not service.alive:
            raise UnavailableError("the node's loop has ended", hint="start the node again")
        return Response("ok\n", media_type="text/plain")

    @app.get("/healthz/ready", include_in_schema=False)
    def ready() -> Response:
        """Answer while the coordinator is reached and the node follows its log."""
        if not service.status.connected:
            raise UnavailableError("the coordinator is not reached, or its log is not followed", retry_after_s=5.0)
        return Response("ok\n", media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)
