"""Scoring on ciphertexts: what a service computes. It holds no secret and learns no event and no score.

Batches and answers are residues of 30-bit primes, little-endian words of 32 bits,
in the layout that the kernels read: nothing is copied or turned between wire and
arithmetic.
"""

from __future__ import annotations

import hashlib
import math
import os
import weakref
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Self

import numpy as np

from fedanomaly.errors import CapacityError, CryptoError, DataError, MessageError
from fedanomaly.fhe._engine import call, ffi, free
from fedanomaly.types import Circuit, Layer
from fedanomaly.types.canonical import begin, item
from fedanomaly.types.circuit import Kind

KINDS: dict[Kind, int] = {"linear": 1, "quadratic": 2, "polynomial": 3}
"""The kinds of circuits by the numbers that the engine has for them."""
READING_SCALE = 2.0**23
"""What a reading of 1 is in a batch."""
_NOISE = math.sqrt((21 / 2 + 1 / 12) / 2) / READING_SCALE
READING_NOISE: dict[Kind, float] = {
    "linear": _NOISE * math.sqrt(4096),
    "quadratic": _NOISE * math.sqrt(4096),
    "polynomial": _NOISE * math.sqrt(8192),
}
"""Standard deviation of what encrypting adds to a reading: noise and rounding of N coefficients, by the scale."""
WORD_BYTES = 4
MOST_MIXED = 256
"""Forms that a polynomial may have."""
PLACES = 4096
"""Of a batch; of a polynomial's, the last stays empty."""
NO_LAYER = Layer(np.empty((0, 0)), np.empty(0), np.empty(0), of_forms=False, weights=np.empty((0, 0)), bias=np.empty(0))


class Instructions(IntEnum):
    """What the kernels are made for, slowest first; all give the same bits."""

    PORTABLE = 0
    AVX2 = 1
    AVX512 = 2
    AMX = 3

    @classmethod
    def best(cls) -> Self:
        """Return the fastest that this processor has."""
        return cls(_kernel_facts(cls.PORTABLE)[0])

    def peak(self) -> float:
        """Return how many multiply-adds a second one core does with these at most; 0 for the portable ones."""
        return _kernel_facts(self)[1] * 1e6


@dataclass(frozen=True)
class Shape:
    """What a tenant knows of a circuit, and what follows for batches and answers.

    Parameters
    ----------
    kind : {"linear", "quadratic", "polynomial"}
        Of the circuit.
    features : int
        Readings of an event.
    outputs : int
        Numbers that come out for an event.
    weight_bits : int
        A weight of 1 is computed as 2^weight_bits; of a polynomial, one that mixes squares.
    """

    kind: Kind
    features: int
    outputs: int
    weight_bits: int

    @property
    def events(self) -> int:
        """Most events of a batch."""
        return self._facts[0][3]

    @property
    def batch_bytes(self) -> int:
        """Size of an encrypted batch, however many events it holds."""
        return self._facts[0][0] * WORD_BYTES

    @property
    def answer_bytes(self) -> int:
        """Size of an answer."""
        return self._facts[0][1] * WORD_BYTES

    @property
    def constant_bytes(self) -> int:
        """Size of what is the same in every answer and sent once."""
        return self._facts[0][2] * WORD_BYTES

    @property
    def range(self) -> float:
        """Largest sum of the outputs of a batch's places, over `sharing`; more is an error."""
        return self._facts[1]

    @property
    def sharing(self) -> int:
        """Places that are coded in one another: all of a polynomial's batch, half of any other."""
        return PLACES if self.kind == "polynomial" else PLACES // 2

    @cached_property
    def _facts(self) -> tuple[tuple[int, ...], float]:
        words, limit = ffi.new("int64_t[4]"), ffi.new("double *")
        call("fa_shape", KINDS[self.kind], self.features, self.outputs, self.weight_bits, words, limit)
        return tuple(words), float(limit[0])


def seed(federation: bytes, model: bytes, tenant: bytes) -> bytes:
    """Return the seed of the public polynomials: a hash of names, so that nobody chooses them.

    Parameters
    ----------
    federation : bytes
        Name or roster hash of the federation.
    model : bytes
        Digest of the circuit.
    tenant : bytes
        Public key of who encrypts.
    """
    named = begin("scoring") + item("federation", federation) + item("model", model) + item("tenant", tenant)
    return hashlib.sha256(named).digest()


class PreparedCircuit:
    """A circuit ready for the batches of one tenant. Safe for threads; every call uses one core.

    Parameters
    ----------
    circuit : Circuit
        The model.
    seed : bytes of length 32
        Of the tenant's public polynomials.
    instructions : Instructions, optional
        Default: the fastest that this processor has.

    Raises
    ------
    CapacityError
        If the weights of a form, or a bias, are too large to be computed exactly, or a polynomial has too many forms.
    """

    def __init__(self, circuit: Circuit, seed: bytes, *, instructions: Instructions | None = None) -> None:
        rows, layer = np.array(circuit.rows, dtype=np.int32), circuit.layer or NO_LAYER
        parts = (circuit.weights, circuit.bias, layer.mix, layer.direct, layer.shift, layer.weights, layer.bias)
        # A view of each as it lies in memory; they live until the call is over.
        held = [np.ascontiguousarray(part, dtype=np.float64) for part in parts]
        weights, bias, *above = [ffi.from_buffer("double[]", part.data) if part.size else ffi.NULL for part in held]
        if circuit.layer is not None and len(circuit.bias) > MOST_MIXED:
            raise CapacityError(f"a polynomial of degree 4 mixes {MOST_MIXED} forms at most, not {len(circuit.bias)}")
        if len(seed) != 32:
            raise CryptoError("a seed has 32 bytes")
        out = ffi.new("int64_t[3]")
        try:
            call(
                "fa_circuit_new",
                KINDS[circuit.kind],
                circuit.features,
                circuit.outputs,
                ffi.from_buffer("int32_t[]", rows.data),
                len(circuit.bias),
                weights,
                bias,
                layer.of_forms,
                len(layer.direct),
                *above[:3],
                len(layer.bias),
                *above[3:],
                seed,
                Instructions.best() if instructions is None else instructions,
                out,
            )
        except (CapacityError, DataError):
            raise CapacityError(
                "the weights of this model are too large to be computed exactly on ciphertexts",
                hint="columns that nearly repeat each other make them so: leave one out, or use a larger ridge",
            ) from None
        self._handle = int(out[0])
        self.shape = Shape(circuit.kind, circuit.features, circuit.outputs, int(out[1]))
        self._sizes = self.shape.batch_bytes, self.shape.answer_bytes
        squares = int(out[2])
        self._scores = ("fa_squares_score", squares, circuit.outputs) if squares else ("fa_circuit_score", self._handle)
        weakref.finalize(self, free, self._handle, os.getpid()).atexit = False

    def constants(self) -> bytes:
        """Return what the tenant needs once to decrypt answers. It tells the tenant the form of the model."""
        out = bytearray(self.shape.constant_bytes)
        call("fa_circuit_constants", self._handle, ffi.from_buffer("uint32_t[]", out), len(out) // WORD_BYTES)
        return bytes(out)

    def score(self, batch: bytes | bytearray | memoryview, *, room: int = 0) -> bytearray:
        """Return the answer to an encrypted batch.

        Parameters
        ----------
        batch : bytes-like
            What the tenant sent.
        room : int, default=0
            Bytes to leave free before the answer, a multiple of 4: for a head.

        Raises
        ------
        MessageError
            If it is no batch for this circuit: another size, or a residue that is not below its prime.
        """
        return answer_to(self._scores, batch, self._sizes, room)

    def __repr__(self) -> str:
        return f"<PreparedCircuit {self.shape.kind}, {self.shape.features} features, {self.shape.outputs} outputs>"


def answer_to(
    function: tuple[Any, ...], batch: bytes | bytearray | memoryview, sizes: tuple[int, int], room: int
) -> bytearray:
    """Return what a function of the engine answers to a batch, if that has the right size; `room` bytes before it."""
    batch_bytes, answer_bytes = sizes
    if len(batch) != batch_bytes:
        raise MessageError(f"a batch for this model has {batch_bytes} bytes, not {len(batch)}")
    answer = bytearray(room + answer_bytes)
    call(
        *function,
        ffi.from_buffer("uint32_t[]", batch),
        len(batch) // WORD_BYTES,
        ffi.from_buffer("uint32_t[]", memoryview(answer)[room:]),
        answer_bytes // WORD_BYTES,
    )
    return answer


def _kernel_facts(instructions: int) -> tuple[int, int]:
    out = ffi.new("int64_t[2]")
    call("fa_kernel_facts", instructions, out)
    return int(out[0]), int(out[1])
