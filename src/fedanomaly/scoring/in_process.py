"""What an encrypted scorer asks of a service, and the service in the same process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from fedanomaly.errors import MessageError, NotFoundError
from fedanomaly.fhe.hidden import EncryptedModel, PreparedModel
from fedanomaly.fhe.scoring import PreparedCircuit, seed
from fedanomaly.scoring.wire import Offer
from fedanomaly.types import Circuit


class Exchange(Protocol):
    """The way to a scoring service. Safe for threads."""

    @property
    def federation(self) -> bytes:
        """Identifier of the federation, 32 bytes."""
        ...

    @property
    def tenant(self) -> bytes:
        """Public key of who asks, 32 bytes."""
        ...

    def offer(self, digest: bytes) -> Offer:
        """Return what the service tells of a model.

        Raises
        ------
        NotFoundError
            If it has no such model for this tenant.
        """
        ...

    def upload(self, circuit: Circuit | EncryptedModel) -> None:
        """Give the service a model, for this tenant only."""
        ...

    def answer(
        self, digest: bytes, batch: bytearray, batch_id: bytes, meanwhile: Callable[[], object]
    ) -> bytes | bytearray | memoryview:
        """Return the answer of a model to an encrypted batch; the number of 16 bytes tells batches apart.

        `meanwhile` is work that may be done while the service computes, or not at all.
        The memory of the batch serves another one once this has returned or raised.
        """
        ...


class InProcess:
    """A service in this process: for simulations, tests, and to measure what the network costs.

    Parameters
    ----------
    federation, tenant : bytes
        As for any exchange.
    """

    def __init__(self, federation: bytes = bytes(32), tenant: bytes = bytes(32)) -> None:
        self.federation = federation
        self.tenant = tenant
        self._prepared: dict[bytes, PreparedCircuit | PreparedModel] = {}
        self._lock = threading.Lock()

    def offer(self, digest: bytes) -> Offer:
        """Return what decrypting takes."""
        prepared = self._of(digest)
        if isinstance(prepared, PreparedModel):
            raise MessageError("an encrypted model has no constants")
        return Offer(prepared.shape, prepared.constants())

    def upload(self, circuit: Circuit | EncryptedModel) -> None:
        """Prepare a model."""
        digest = circuit.digest
        if isinstance(circuit, EncryptedModel):
            prepared = PreparedModel(circuit)
        else:
            prepared = PreparedCircuit(circuit, seed(self.federation, digest, self.tenant))
        with self._lock:
            self._prepared[digest] = prepared

    def answer(
        self, digest: bytes, batch: bytearray, batch_id: bytes, meanwhile: Callable[[], object] | None = None
    ) -> bytearray:
        """Return the answer to a batch."""
        del batch_id, meanwhile  # a call cannot be mistaken for another, and nothing runs beside it
        return self._of(digest).score(batch)

    def _of(self, digest: bytes) -> PreparedCircuit | PreparedModel:
        with self._lock:
            found = self._prepared.get(digest)
        if found is None:
            raise NotFoundError("the service has no such model")
        return found
