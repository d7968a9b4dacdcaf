"""Prints the OpenAPI document of the loopback API: ``python -m fedanomaly.node.openapi``."""

from __future__ import annotations

import json
from typing import cast

from fedanomaly.node.api import create_app
from fedanomaly.node.service import NodeService


def document() -> str:
    """Return the document as it is committed in docs/reference/openapi-node.json."""
    # Describing the routes calls none of them, so there need not be a node.
    app = create_app(cast("NodeService", None), "")
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(document(), end="")
