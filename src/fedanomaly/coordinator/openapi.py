"""Prints the OpenAPI document of the coordinator: ``python -m fedanomaly.coordinator.openapi``."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI

from fedanomaly import __version__
from fedanomaly.coordinator.api import member_routes, open_routes
from fedanomaly.transport.openapi import FAILED, FAILURE, SIGNATURE, content
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
        "securitySchemes": {"member": SIGNATURE},
    }
    return json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _describe(path: str, method: str, operation: dict[str, Any]) -> None:
    """Say what the framework does not know: bodies are read, and answers written, by hand."""
    usual = {"200": MSGPACK if path.startswith("/v1/") else TEXT}
    answers = ANSWERS.get((path, method), usual)
    operation["responses"] = {
        status: {"description": "Done."} | ({"content": content(kind)} if kind else {})
        for status, kind in answers.items()
    }
    operation["responses"]["default"] = FAILED
    if (path, method) in BODIES:
        operation["requestBody"] = {"required": True, "content": content(BODIES[path, method])}
    if path.startswith("/v1/") and path not in UNSIGNED:
        operation["security"] = [{"member": []}]


if __name__ == "__main__":
    print(document(), end="")
