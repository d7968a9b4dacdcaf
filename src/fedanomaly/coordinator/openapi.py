"""Prints the OpenAPI document of the coordinator: ``python -m fedanomaly.coordinator.openapi``."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI

from fedanomaly import __version__
from fedanomaly.coordinator.api import member_routes, open_routes
from fedanomaly.transport.wire import JSON, MSGPACK, OCTETS

TEXT = "text/plain; charset=utf-8"
DESCRIPTION = (
    "What nodes ask their coordinator. All but health, metrics, the federation and enrolment want an HTTP message "
    "signature (RFC 9421) of an enrolled member over method, path, query and content digest. Bodies in MessagePack "
    "are strict: an unknown or missing field is an error."
)

BODIES = {
    ("/v1/enrol", "post"): MSGPACK,
    ("/v1/envelopes", "post"): OCTETS,
    ("/v1/blobs/{digest}/parts/{number}", "put"): OCTETS,
}
ANSWERS = {
    ("/v1/status", "get"): {"200": JSON},
    ("/v1/blobs/{digest}", "get"): {"200": OCTETS, "206": OCTETS, "416": None},
    ("/v1/blobs/{digest}", "post"): {"204": None},
    ("/v1/blobs/{digest}/parts/{number}", "put"): {"204": None},
}
"""Statuses and media types; what is not in here answers 200 with MessagePack below /v1, and else with text."""

FAILURE = {
    "type": "object",
    "required": ["code", "message"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "pattern": "^FA[0-9]{3}$"},
        "message": {"type": "string"},
        "hint": {"type": "string"},
        "retry_after_s": {"type": "number", "minimum": 0},
    },
}
UNSIGNED = frozenset({"/v1/federation", "/v1/enrol"})


def document() -> str:
    """Return the document as it is committed in docs/reference/openapi-coordinator.json."""
    app = FastAPI(title="FedAnomalyFHE coordinator", version=__version__, description=DESCRIPTION)
    app.include_router(open_routes)
    app.include_router(member_routes)
    found: dict[str, Any] = app.openapi()
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _describe(path, method, operation)
    found["components"] = {
        "schemas": {"Failure": FAILURE},
        "securitySchemes": {
            "member": {"type": "apiKey", "in": "header", "name": "Signature", "description": "RFC 9421"}
        },
    }
    return json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _describe(path: str, method: str, operation: dict[str, Any]) -> None:
    """Say what the framework does not know: bodies are read, and answers written, by hand."""
    usual = {"200": MSGPACK if path.startswith("/v1/") else TEXT}
    answers = ANSWERS.get((path, method), usual)
    operation["responses"] = {
        status: {"description": "Done."} | ({"content": _binary(kind)} if kind else {})
        for status, kind in answers.items()
    }
    failure = {JSON: {"schema": {"$ref": "#/components/schemas/Failure"}}}
    operation["responses"]["default"] = {"description": "What went wrong.", "content": failure}
    if (path, method) in BODIES:
        operation["requestBody"] = {"required": True, "content": _binary(BODIES[path, method])}
    if path.startswith("/v1/") and path not in UNSIGNED:
        operation["security"] = [{"member": []}]


def _binary(kind: str) -> dict[str, Any]:
    schema = {"type": "object"} if kind == JSON else {"type": "string", "format": "binary"}
    return {kind: {"schema": schema}}


if __name__ == "__main__":
    print(document(), end="")
