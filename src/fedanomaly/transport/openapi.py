"""What the OpenAPI documents of our services say of failures and of bodies that are bytes."""

from __future__ import annotations

from typing import Any

from fedanomaly.transport.wire import JSON

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
FAILED = {
    "description": "What went wrong.",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Failure"}}},
}
"""Answer of every route, with any other status than those it names."""

SIGNATURE = {"type": "apiKey", "in": "header", "name": "Signature", "description": "RFC 9421"}


def content(kind: str) -> dict[str, Any]:
    """Return the description of a body by its media type."""
    schema = {"type": "object"} if kind == JSON else {"type": "string", "format": "binary"}
    return {kind: {"schema": schema}}
