"""Scoring with an encrypted model: what a service computes. It learns neither events, nor weights, nor scores.

Weights are encrypted like batches, each form under a secret of its own; the answer
holds every form of every event, and its owner makes scores of them.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from fedanomaly.errors import FedAnomalyError, MessageError
from fedanomaly.fhe._engine import call, ffi, free
from fedanomaly.fhe.scoring import WORD_BYTES, Instructions, answer_to
from fedanomaly.types.canonical import HASH_BYTES, VERSION, Reader, begin, item, item_int

LABEL = "encrypted model"
MAX_SIZE = 2**31
"""Of numbers that describe a model; far above all that the engine takes."""


@dataclass(frozen=True)
class HiddenShape:
    """What a service knows of an encrypted model, and what follows for batches and answers.

    Parameters
    ----------
    features : int
        Readings of an event.
    forms : int
        Affine forms of the model; what becomes of them, and their biases, stay with its owner.
    """

    features: int
    forms: int

    @property
    def outputs(self) -> int:
        """Numbers that come out for an event: its forms."""
        return self.forms

    @property
    def events(self) -> int:
        """Most events of a batch."""
        return self._facts[3]

    @property
    def model_bytes(self) -> int:
        """Size of the encrypted weights."""
        return self._facts[0] * WORD_BYTES

    @property
    def batch_bytes(self) -> int:
        """Size of an encrypted batch, however many events it holds."""
        return self._facts[1] * WORD_BYTES

    @property
    def answer_bytes(self) -> int:
        """Size of an answer."""
        return self._facts[2] * WORD_BYTES

    @cached_property
    def _facts(self) -> tuple[int, ...]:
        words = ffi.new("int64_t[4]")
        call("fa_hidden_shape", self.features, self.forms, words)
        return tuple(words)


@dataclass(frozen=True, eq=False)
class EncryptedModel:
    """Encrypted weights, as they are sent to a service.

    Parameters
    ----------
    shape : HiddenShape
        How many there are.
    seed : bytes of length 32
        Of the public polynomials of weights and batches; drawn when they were encrypted.
    words : bytes
        Residues, as the engine wrote them.

    Raises
    ------
    MessageError
        If the parts do not fit each other.
    """

    shape: HiddenShape
    seed: bytes
    words: bytes

    def __post_init__(self) -> None:
        try:
            fits = max(self.shape.features, self.shape.forms) < MAX_SIZE and self.shape.model_bytes == len(self.words)
        except FedAnomalyError:  # what the engine says to numbers that are no shape
            fits = False
        if not fits or len(self.seed) != HASH_BYTES:
            raise MessageError("the parts of an encrypted model do not fit each other")

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return b"".join(
            (
                begin(LABEL),
                item_int("features", self.shape.features),
                item_int("forms", self.shape.forms),
                item("seed", self.seed),
                item("words", self.words),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; whether residues are some is seen when it is prepared.

        Raises
        ------
        MessageError
            If the bytes are something else.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION or reader.item("label") != LABEL.encode():
            raise MessageError("not an encrypted model of this version")
        shape = HiddenShape(reader.int("features"), reader.int("forms"))
        seed, words = reader.hash("seed"), reader.item("words")
        reader.end()
        return cls(shape, seed, words)

    @staticmethod
    def recognises(data: bytes) -> bool:
        """Tell whether bytes begin as an encrypted model does."""
        return data.startswith(begin(LABEL))

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: what the service calls it. It says nothing of the weights."""
        return hashlib.sha256(self.to_bytes()).digest()

    def __repr__(self) -> str:
        return f"<EncryptedModel, {self.shape.features} features, {self.shape.forms} forms>"


class PreparedModel:
    """An encrypted model ready for the batches of its owner. Safe for threads; every call uses one core.

    Parameters
    ----------
    model : EncryptedModel
        What its owner sent; it is copied.
    instructions : Instructions, optional
        Default: the fastest that this processor has.

    Raises
    ------
    MessageError
        If a residue is not below its prime.
    """

    def __init__(self, model: EncryptedModel, *, instructions: Instructions | None = None) -> None:
        handle = ffi.new("int64_t *")
        call(
            "fa_hidden_new",
            model.shape.features,
            model.shape.forms,
            model.seed,
            ffi.from_buffer("uint32_t[]", model.words),
            len(model.words) // WORD_BYTES,
            Instructions.best() if instructions is None else instructions,
            handle,
        )
        self.shape = model.shape
        self._handle = int(handle[0])
        weakref.finalize(self, free, self._handle, os.getpid()).atexit = False

    def score(self, batch: bytes | bytearray | memoryview, *, room: int = 0) -> bytearray:
        """Return the answer to an encrypted batch; `room` as for `PreparedCircuit.score`.

        Raises
        ------
        MessageError
            If it is no batch for this model: another size, or a residue that is not below its prime.
        """
        sizes = self.shape.batch_bytes, self.shape.answer_bytes
        return answer_to(("fa_hidden_score", self._handle), batch, sizes, room)

    def __repr__(self) -> str:
        return f"<PreparedModel, {self.shape.features} features, {self.shape.forms} forms>"
