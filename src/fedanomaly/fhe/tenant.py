"""The tenant's side of scoring on ciphertexts: batches are encrypted here, and only here answers are read.

Every batch has a secret of its own. It is drawn while the batch is encrypted,
decrypts one answer, and is gone. No call encrypts under a secret that exists: two
batches under one secret would show their difference, because the polynomials
that they are masked with are fixed.
"""

from __future__ import annotations

import os
import weakref
from typing import ClassVar, Generic, NoReturn, Protocol, TypeVar

import numpy as np

from fedanomaly.errors import CryptoError, DataError, MessageError, RangeError, ReplayError, ShapeError
from fedanomaly.fhe._engine import call, ffi, free
from fedanomaly.fhe.memory import aligned
from fedanomaly.fhe.scoring import KINDS, WORD_BYTES, Shape
from fedanomaly.types import Floats
from fedanomaly.types.circuit import MAX_READING


class Sizes(Protocol):
    """What encrypting and decrypting need to know of a model."""

    @property
    def features(self) -> int:
        """Readings of an event."""
        ...

    @property
    def outputs(self) -> int:
        """Numbers that come out for an event."""
        ...

    @property
    def events(self) -> int:
        """Most events of a batch."""
        ...

    @property
    def batch_bytes(self) -> int:
        """Size of an encrypted batch."""
        ...

    @property
    def answer_bytes(self) -> int:
        """Size of an answer."""
        ...


Shaped_co = TypeVar("Shaped_co", bound=Sizes, covariant=True)


class Encryptor(Generic[Shaped_co]):
    """Encrypts batches for one model. Safe for threads.

    Parameters
    ----------
    shape : Sizes
        Of the model.
    handle : int
        The engine's object that encrypts and decrypts.
    """

    encrypting: ClassVar[str]
    decrypting: ClassVar[str]
    """The engine's functions for both."""

    def __init__(self, shape: Shaped_co, handle: int) -> None:
        self.shape = shape
        self.handle = handle
        self._finalizer = weakref.finalize(self, free, handle, os.getpid())
        self._finalizer.atexit = False  # the memory goes with the process

    def encrypt(self, readings: Floats, into: bytearray | None = None) -> tuple[bytearray, BatchKey]:
        """Encrypt a batch under a fresh secret.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)
            At least one event, at most `Shape.events`; magnitudes of at most 64.
        into : bytearray, optional
            Memory for the batch, of `Shape.batch_bytes`. Default: fresh.

        Returns
        -------
        bytearray
            For the service; `into`, if that was given.
        BatchKey
            For its answer.

        Raises
        ------
        ShapeError
            If the array has another shape.
        DataError
            If a reading is NaN, infinite or too large.
        """
        if readings.ndim != 2 or readings.shape[1] != self.shape.features:
            raise ShapeError(f"a batch has {self.shape.features} readings an event, not shape {readings.shape}")
        if not 1 <= len(readings) <= self.shape.events:
            raise ShapeError(f"a batch holds 1 to {self.shape.events} events, not {len(readings)}")
        rows = np.ascontiguousarray(readings, dtype=np.float64)
        batch, key = aligned(self.shape.batch_bytes) if into is None else into, ffi.new("int64_t *")
        if len(batch) != self.shape.batch_bytes:
            raise ShapeError(f"a batch has {self.shape.batch_bytes} bytes, the memory for it {len(batch)}")
        try:
            call(
                self.encrypting,
                self.handle,
                ffi.from_buffer("double[]", rows.data),
                rows.size,
                ffi.from_buffer("uint32_t[]", batch),
                len(batch) // WORD_BYTES,
                key,
            )
        except RangeError:  # of a key that has ended
            raise
        except DataError:
            raise DataError(f"a reading is missing, or farther than {MAX_READING:g} from 0") from None
        return batch, BatchKey(self, int(key[0]), len(rows))


class Tenant(Encryptor[Shape]):
    """Encrypts batches for one circuit. Holds no secret.

    Parameters
    ----------
    shape : Shape
        Of the circuit.
    seed : bytes of length 32
        Of this tenant's public polynomials.
    constants : bytes
        What the service sent: `PreparedCircuit.constants`.

    Raises
    ------
    MessageError
        If the constants are not those of such a circuit.
    """

    encrypting, decrypting = "fa_tenant_encrypt", "fa_tenant_decrypt"

    def __init__(self, shape: Shape, seed: bytes, constants: bytes) -> None:
        if len(seed) != 32:
            raise CryptoError("a seed has 32 bytes")
        if len(constants) != shape.constant_bytes:
            raise MessageError("the constants belong to another model")
        handle = ffi.new("int64_t *")
        call(
            "fa_tenant_new",
            KINDS[shape.kind],
            shape.features,
            shape.outputs,
            shape.weight_bits,
            seed,
            ffi.from_buffer("uint32_t[]", constants),
            len(constants) // WORD_BYTES,
            handle,
        )
        super().__init__(shape, int(handle[0]))

    def __repr__(self) -> str:
        return f"<Tenant of a {self.shape.kind} circuit, {self.shape.features} features>"


class BatchKey:
    """The secret of one batch. Only `Encryptor.encrypt` makes one; it decrypts one answer."""

    def __init__(self, tenant: Encryptor[Sizes], handle: int, events: int) -> None:
        self._tenant = tenant
        self._handle = handle
        self._events = events
        self._finalizer = weakref.finalize(self, free, handle, os.getpid())
        self._finalizer.atexit = False  # the memory goes with the process

    def decrypt(self, answer: bytes | bytearray | memoryview) -> Floats:
        """Return the outputs for every event of the batch. The key is spent, whatever comes of it.

        Returns
        -------
        float64 array of shape (n_events, n_outputs)

        Raises
        ------
        ReplayError
            If the key was used before.
        MessageError
            If this is no answer to such a batch.
        RangeError
            If the outputs left the range, or are none that an honest service gives.
        """
        # Of two threads, one gets the finalizer's turn.
        if self._finalizer.detach() is None:
            raise ReplayError("the key of a batch decrypts one answer", hint="encrypt the events again")
        shape = self._tenant.shape
        if len(answer) != shape.answer_bytes:
            free(self._handle, os.getpid())
            raise MessageError(f"an answer of this model has {shape.answer_bytes} bytes, not {len(answer)}")
        outputs = np.empty((shape.outputs, self._events))
        call(
            self._tenant.decrypting,
            self._tenant.handle,
            self._handle,
            ffi.from_buffer("uint32_t[]", answer),
            len(answer) // WORD_BYTES,
            ffi.from_buffer("double[]", outputs.data),
            outputs.size,
        )
        return outputs.T

    def close(self) -> None:
        """Forget the secret of a batch that no answer came for; repeating it does no harm."""
        self._finalizer()

    def __reduce__(self) -> NoReturn:
        raise CryptoError("the key of a batch is neither copied nor stored")

    def __repr__(self) -> str:
        return f"<BatchKey of {self._events} events>"
