"""A tenant's requests to a scoring service. What goes out is encrypted already; no secret of a batch is here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from fedanomaly.errors import MessageError, ProtocolError
from fedanomaly.fhe.hidden import EncryptedModel
from fedanomaly.scoring.wire import HEAD_BYTES, MAX_LIST_BYTES, FrameHead, ModelView, Offer
from fedanomaly.transport import Connection, Patience, RequestSigner
from fedanomaly.transport.signing import Signer
from fedanomaly.types import Circuit

MAX_OFFER_BYTES = 64 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
DEFAULT_PATIENCE = Patience()
PEER = "scoring service"


class HttpExchange:
    """A connection to one scoring service; safe to share between threads, each has a keep-alive connection.

    Every request may be repeated, and is when nobody answers.

    Parameters
    ----------
    url : str
        Its origin.
    signer : Signer
        The tenant's identity.
    federation : bytes
        Identifier of the federation, 32 bytes.
    ca_file : Path, optional
        Certificates to trust instead of the system's.
    allow_http : bool
        Speak plain HTTP beyond this machine; for networks that encrypt below HTTP.
    patience : Patience
        Timeouts and retries.

    Raises
    ------
    ConfigError
        If the URL is not an origin, or would go out unencrypted.
    """

    def __init__(
        self,
        url: str,
        signer: Signer,
        federation: bytes,
        *,
        ca_file: Path | None = None,
        allow_http: bool = False,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        self.tenant = signer.public_key
        self.federation = federation
        self._connection = Connection(
            url,
            signer=RequestSigner(signer, federation),
            patience=patience,
            ca_file=ca_file,
            allow_http=allow_http,
            peer=PEER,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a call under way fails."""
        self._connection.close()

    def models(self) -> list[ModelView]:
        """Return what this tenant may score with.

        Raises
        ------
        ProtocolError
            If the answer is no list of models.
        """
        body = self._connection.call("GET", "/v1/models", limit_bytes=MAX_LIST_BYTES)
        try:
            return msgspec.json.decode(body, type=list[ModelView])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProtocolError("the scoring service's list of models cannot be read") from None

    def offer(self, digest: bytes) -> Offer:
        """Return what is needed before the first batch for a model.

        Raises
        ------
        NotFoundError
            If the service has no such model for this tenant.
        MessageError
            If the answer is no offer of this model.
        """
        path = f"/v1/models/{digest.hex()}/constants"
        return Offer.from_bytes(self._connection.call("GET", path, limit_bytes=MAX_OFFER_BYTES), digest)

    def upload(self, circuit: Circuit | EncryptedModel) -> None:
        """Give the service a model, for this tenant alone; it is forgotten when the service stops.

        Raises
        ------
        CapacityError
            If it is too large there.
        """
        path = f"/v1/models/{circuit.digest.hex()}"
        self._connection.call("PUT", path, limit_bytes=0, body=(circuit.to_bytes(),))

    def answer(
        self,
        digest: bytes,
        batch: bytes | bytearray,
        batch_id: bytes,
        meanwhile: Callable[[], object] | None = None,
    ) -> memoryview:
        """Return the answer to an encrypted batch.

        Parameters
        ----------
        digest : bytes
            The model.
        batch : bytes or bytearray
            What `fhe.tenant.Tenant.encrypt` returned.
        batch_id : bytes
            16 bytes that no other batch under way has; best random.
        meanwhile : callable, optional
            Called while the service computes, in every try.

        Raises
        ------
        MessageError
            If what comes back is no answer to this batch.
        NotFoundError
            If the service has no such model for this tenant, say after a restart.
        UnavailableError
            If nobody answered, or the service is busy for longer than the patience.
        """
        head = FrameHead(direction="batch", digest=digest, batch_id=batch_id, size=len(batch)).to_bytes()
        # Sent again as it is when nobody answers. That is safe: it is the very same ciphertext, under the same
        # key, of the same events, so whoever sees both learns nothing more; and answering it twice changes
        # nothing at the service. What must never be is another message under this key.
        body = self._connection.call(
            "POST",
            f"/v1/models/{digest.hex()}/batches",
            limit_bytes=MAX_ANSWER_BYTES,
            body=(head, batch),
            meanwhile=meanwhile,
        )
        answer = memoryview(body)
        found = FrameHead.from_bytes(answer[:HEAD_BYTES], "answer")
        if (found.digest, found.batch_id, found.size) != (digest, batch_id, len(answer) - HEAD_BYTES):
            raise MessageError("the scoring service answered another batch, or not as a whole")
        return answer[HEAD_BYTES:]
