"""How a member's node signs its HTTP requests.

RFC 9421 signatures with Ed25519 over method, path, query and the body's digest
(RFC 9530). The authority is not covered, since a proxy may rewrite it; instead
the tag names the federation, so that a request to one coordinator is of no use
at another. Time and nonce make a signature good once.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from typing import Protocol

COMPONENTS = ("@method", "@path", "@query", "content-digest")
LABEL = "fedanomaly"
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
        self._clock = clock
        # What is covered is the same in every request, so the text is ready but for time and nonce; the
        # library would serialise it anew each time, for as long as a batch of events takes to be scored.
        self._params = params_of(signer.public_key.hex(), tag_of(federation))

    def headers(self, method: str, target: bytes, digest: bytes) -> dict[str, str]:
        """Return the header lines that make a request a signed one.

        Parameters
        ----------
        method : str
            Its method.
        target : bytes
            Path and query, as the request line has them.
        digest : bytes
            SHA-256 of the body.
        """
        path, _, query = target.decode("ascii").partition("?")
        content_digest = f"sha-256=:{base64.b64encode(digest).decode()}:"
        nonce = base64.urlsafe_b64encode(os.urandom(NONCE_BYTES)).decode()
        params = self._params.format(int(self._clock()), nonce)
        base = signature_base(method, path, f"?{query}", content_digest, params)
        signature = base64.b64encode(self._signer.sign(base)).decode()
        return {
            "content-digest": content_digest,
            "signature-input": f"{LABEL}={params}",
            "signature": f"{LABEL}=:{signature}:",
        }


def params_of(keyid: str, tag: str) -> str:
    """Return what signatures of ours say of themselves, but for time and nonce: places to format."""
    covered = " ".join(f'"{name}"' for name in COMPONENTS)
    return f'({covered});created={{:d}};keyid="{keyid}";alg="ed25519";nonce="{{}}";tag="{tag}"'


def signature_base(method: str, path: str, query: str, content_digest: str, params: str) -> bytes:
    """Return what is signed (RFC 9421, section 2.5); the values as header lines have them, `query` with its "?"."""
    values = (method, path, query, content_digest)
    lines = [f'"{name}": {value}' for name, value in zip(COMPONENTS, values, strict=True)]
    return "\n".join((*lines, f'"@signature-params": {params}')).encode()


def tag_of(federation: bytes) -> str:
    """Return the signature tag that binds a request to one federation."""
    return f"fedanomaly-1-{federation.hex()}"
