"""How a member's node signs its HTTP requests.

RFC 9421 signatures with Ed25519 over method, path, query and the body's digest
(RFC 9530). The authority is not covered, since a proxy may rewrite it; instead
the tag names the federation, so that a request to one coordinator is of no use
at another. Time and nonce make a signature good once.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import time
from collections.abc import Callable
from typing import Protocol

import httpx2
from http_message_signatures.algorithms import ED25519  # pyright: ignore[reportPrivateImportUsage] - its public name
from http_message_signatures.httpx2 import adapt_message
from http_message_signatures.signatures import HTTPMessageSigner

COMPONENTS = ("@method", "@path", "@query", "content-digest")
LABEL = "fedanomaly"
ALGORITHM = ED25519
NONCE_BYTES = 16


class Signer(Protocol):
    """An identity that signs, such as `protocol.Signer`."""

    @property
    def public_key(self) -> bytes:
        """Ed25519 public key of 32 bytes."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature of 64 bytes."""
        ...


class RequestSigner:
    """Signs requests to the coordinator of one federation.

    Parameters
    ----------
    signer : Signer
        The member's identity.
    federation : bytes
        Identifier of the federation, 32 bytes.
    clock : callable
        Seconds since the Unix epoch.
    """

    def __init__(self, signer: Signer, federation: bytes, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._tag = tag_of(federation)
        self._clock = clock
        self._library = HTTPMessageSigner(signature_algorithm=ALGORITHM)

    def sign(self, request: httpx2.Request) -> None:
        """Add digest and signature to a request whose body is in memory."""
        message = adapt_message(request)
        prepared = self._library.prepare(
            message,
            key_id=self._signer.public_key.hex(),
            created=dt.datetime.fromtimestamp(int(self._clock()), tz=dt.UTC),
            nonce=base64.urlsafe_b64encode(os.urandom(NONCE_BYTES)).decode(),
            label=LABEL,
            tag=self._tag,
            covered_component_ids=COMPONENTS,
            body=request.read(),
        )
        self._library.apply(message, prepared, self._signer.sign(prepared.signature_base))


def tag_of(federation: bytes) -> str:
    """Return the signature tag that binds a request to one federation."""
    return f"fedanomaly-1-{federation.hex()}"
