"""Requests to a coordinator exactly as told, and what members say in them."""

from __future__ import annotations

import hashlib

import httpx2

from fedanomaly.protocol import JobRequest
from fedanomaly.transport import RequestSigner
from tests import signing


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def ask_for_job(n: int = 0, model: str = "payments") -> JobRequest:
    return JobRequest(
        request=n.to_bytes(16, "big"), model=model, dataset="d", detector="toy", version=1, params="{}",
        schema=bytes(32),
    )  # fmt: skip


class Web:
    """Sends requests exactly as told, signed or not."""

    def __init__(self, federation, identity=None) -> None:
        self._http = httpx2.Client(base_url=federation.url, trust_env=False, timeout=20)
        self._signer = RequestSigner(identity, federation.home.federation) if identity else None

    def __call__(self, method, path, *, content=b"", sign=True, change=lambda request: None, **options):
        request = self._http.build_request(method, path, content=content, **options)
        if self._signer and sign:
            signing.sign(self._signer, request)
        change(request)
        return self._http.send(request)

    def close(self) -> None:
        self._http.close()
