"""Prints the OpenAPI document of the scoring service: ``python -m fedanomaly.scoring.openapi``.

The routes are described here and not read off the application, in which those of
batches are no routes of a framework. A test holds one against the other.
"""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path

from fedanomaly import __version__
from fedanomaly.scoring.wire import ModelView
from fedanomaly.transport.openapi import FAILED, FAILURE, SIGNATURE, content
from fedanomaly.transport.wire import JSON, OCTETS

TEXT = "text/plain; charset=utf-8"
DESCRIPTION = (
    "What tenants ask a scoring service. All but health and metrics want an HTTP message signature (RFC 9421) of a "
    "tenant over method, path, query and content digest, and a body that states its length. Batches and answers are "
    "frames: a head of 64 bytes (`FASB` or `FASA`; version, 4 bytes; digest of the circuit, 32; number of the batch, "
    "16; size of what follows, 8; numbers are little-endian), then words of 32 bits. Who asks too much hears 503 and "
    "when to come again, before the body is read."
)
SCHEMAS = "#/components/schemas/"


def health() -> None:
    """Say whether requests are served: 503 once the service was told to stop."""


def metrics() -> None:
    """Return the metrics in Prometheus' text format."""


def models() -> None:
    """List what the tenant may score with: what is released for all, and what it uploaded itself."""


def upload(digest: Annotated[str, Path()]) -> None:
    """Take a circuit or an encrypted model for the tenant that sends it; the same again changes nothing."""


def constants(digest: Annotated[str, Path()]) -> None:
    """Return what the tenant needs before its first batch, in canonical bytes."""


def score(digest: Annotated[str, Path()]) -> None:
    """Answer an encrypted batch; the answer has the batch's number."""


_HEALTH = {JSON: {"schema": {"$ref": f"{SCHEMAS}Health"}}}
_MODELS = {JSON: {"schema": {"type": "array", "items": {"$ref": f"{SCHEMAS}ModelView"}}}}
_METRICS = {TEXT: {"schema": {"type": "string"}}}
ROUTES = (
    ("GET", "/health", health, {"200": _HEALTH, "503": _HEALTH}, None),
    ("GET", "/metrics", metrics, {"200": _METRICS}, None),
    ("GET", "/v1/models", models, {"200": _MODELS}, None),
    ("PUT", "/v1/models/{digest}", upload, {"204": None}, OCTETS),
    ("GET", "/v1/models/{digest}/constants", constants, {"200": content(OCTETS)}, None),
    ("POST", "/v1/models/{digest}/batches", score, {"200": content(OCTETS)}, OCTETS),
)
"""Method, path, description, bodies by status, media type of what is sent."""


def document() -> str:
    """Return the document as it is committed in docs/reference/openapi-scoring.json."""
    app = FastAPI(title="FedAnomalyFHE scoring service", version=__version__, description=DESCRIPTION)
    for method, path, described, _, _ in ROUTES:
        app.add_api_route(path, described, methods=[method])
    found: dict[str, Any] = app.openapi()
    for method, path, _, answers, sent in ROUTES:
        operation = found["paths"][path][method.lower()]
        operation["responses"] = {
            status: {"description": "Done."} | ({"content": body} if body else {}) for status, body in answers.items()
        } | {"default": FAILED}
        if sent:
            operation["requestBody"] = {"required": True, "content": content(sent)}
        if path.startswith("/v1/"):
            operation["security"] = [{"tenant": []}]
    _, views = msgspec.json.schema_components([ModelView], ref_template=SCHEMAS + "{name}")
    views["ModelView"]["description"] = inspect.getdoc(ModelView)
    flags = {name: {"type": "boolean"} for name in ("ready", "draining")}
    told = {"type": "object", "required": list(flags), "additionalProperties": False, "properties": flags}
    found["components"] = {
        "schemas": {"Failure": FAILURE, "Health": told, **views},
        "securitySchemes": {"tenant": SIGNATURE},
    }
    return json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(document(), end="")
