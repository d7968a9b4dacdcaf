"""The peer of the coordinator's uploads: the least that takes a body, hashes it and writes it down."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

FOLDER = Path(os.environ.get("PLAIN_FOLDER", "."))


async def put(request: Request) -> PlainTextResponse:
    """Stream a body to disk, and answer with its SHA-256."""
    hashed = hashlib.sha256()
    with (FOLDER / request.path_params["name"]).open("wb") as file:
        async for piece in request.stream():
            hashed.update(piece)
            file.write(piece)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return PlainTextResponse(hashed.hexdigest())


app = Starlette(routes=[Route("/{name}", put, methods=["PUT"])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
