"""Signs requests that tests build and change."""

from __future__ import annotations

import hashlib

import httpx2

from fedanomaly.transport import RequestSigner


def sign(signer: RequestSigner, request: httpx2.Request) -> None:
    """Add digest and signature to a request whose body is in memory."""
    digest = hashlib.sha256(request.read()).digest()
    request.headers.update(signer.headers(request.method, request.url.raw_path, digest))
