"""What travels between a tenant and a scoring service.

Batches and answers go in frames: a head of 64 bytes, then the words as the
kernels read them, so nothing is parsed or turned.

    bytes   batch and answer
    0..4    "FASB" a batch, "FASA" an answer: neither can be taken for the other
    4..8    version, little-endian
    8..40   digest of the circuit
    40..56  number of the batch, chosen by the tenant
    56..64  bytes that follow, little-endian

What is asked once for each model is in canonical items.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, Self, get_args

import msgspec

from fedanomaly.errors import FedAnomalyError, MessageError, VersionError
from fedanomaly.fhe.hidden import HiddenShape
from fedanomaly.fhe.scoring import Shape
from fedanomaly.types.canonical import VERSION, Reader, begin, item, item_int
from fedanomaly.types.circuit import Kind

FRAME_VERSION = 1
HEAD_BYTES = 64
ID_BYTES = 16
MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_INTEGER = 2**31 - 1
"""Of what describes a shape; far above all that the engine takes."""
_HEAD = struct.Struct("<4sI32s16sQ")
_MAGIC = {"batch": b"FASB", "answer": b"FASA"}

Direction = Literal["batch", "answer"]


@dataclass(frozen=True, kw_only=True)
class FrameHead:
    """What stands before the words of a batch or an answer.

    Parameters
    ----------
    direction : {"batch", "answer"}
        Which of the two.
    digest : bytes
        The circuit, 32 bytes.
    batch_id : bytes
        16 bytes that the tenant chose; the answer repeats them.
    size : int
        Bytes that follow.
    """

    direction: Direction
    digest: bytes
    batch_id: bytes
    size: int

    def to_bytes(self) -> bytes:
        """Return the 64 bytes.

        Raises
        ------
        MessageError
            If a name has another length.
        """
        if len(self.digest) != 32 or len(self.batch_id) != ID_BYTES or not 0 <= self.size < 1 << 64:
            raise MessageError("a frame names a circuit by 32 bytes and a batch by 16")
        return _HEAD.pack(_MAGIC[self.direction], FRAME_VERSION, self.digest, self.batch_id, self.size)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, direction: Direction) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        MessageError
            If the bytes are no such head.
        VersionError
            If they are one of another version.
        """
        if len(data) != HEAD_BYTES or bytes(data[:4]) != _MAGIC[direction]:
            raise MessageError(f"the bytes do not begin as a {direction} does")
        _, version, digest, batch_id, size = _HEAD.unpack(data)
        if version != FRAME_VERSION:
            raise VersionError(f"a {direction} of version {version}; this side speaks {FRAME_VERSION}")
        return cls(direction=direction, digest=digest, batch_id=batch_id, size=size)


class ModelView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as a tenant sees it in the list.

    Parameters
    ----------
    name : str
        Its name; empty for one that the tenant uploaded.
    version : int
        Number of the release; 0 for one that the tenant uploaded.
    digest : str
        Name of the circuit, 64 hexadecimal digits.
    kind : str
        Of the circuit; "encrypted" where the service does not see one.
    features, outputs, weight_bits : int
        As in `fhe.scoring.Shape`. An encrypted model has its forms as outputs, and 0 for
        bits that the service does not know.
    batch_bytes, answer_bytes : int
        Size of an encrypted batch and of its answer, without their heads.
    private : bool
        Whether the tenant uploaded it, and nobody else sees it.
    """

    name: str
    version: int
    digest: str
    kind: str
    features: int
    outputs: int
    weight_bits: int
    batch_bytes: int
    answer_bytes: int
    private: bool


@dataclass(frozen=True)
class Offer:
    """What a tenant needs before its first batch for a model.

    Parameters
    ----------
    shape : Shape
        Of the circuit.
    constants : bytes
        What `fhe.tenant.Tenant` takes.
    """

    shape: Shape
    constants: bytes

    def to_bytes(self, digest: bytes) -> bytes:
        """Return the canonical bytes; they name the circuit."""
        shape = self.shape
        return (
            begin("scoring offer")
            + item("circuit", digest)
            + item("kind", shape.kind.encode())
            + item_int("features", shape.features)
            + item_int("outputs", shape.outputs)
            + item_int("weight bits", shape.weight_bits)
            + item("constants", self.constants)
        )

    @classmethod
    def from_bytes(cls, data: bytes, digest: bytes) -> Self:
        """Read what `to_bytes` wrote of this circuit.

        Raises
        ------
        MessageError
            If the bytes are something else.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION or reader.item("label") != b"scoring offer":
            raise MessageError("not an offer of this version")
        if reader.hash("circuit") != digest:
            raise MessageError("the offer is one of another circuit")
        kind = reader.text("kind")
        facts = [reader.int(name) for name in ("features", "outputs", "weight bits")]
        constants = reader.item("constants")
        reader.end()
        if kind not in get_args(Kind) or max(facts) > MAX_INTEGER:
            raise MessageError("the offer is of no circuit that is known here")
        shape = Shape(kind, *facts)  # pyright: ignore[reportArgumentType] - one of them, as was just seen
        try:
            fits = shape.constant_bytes == len(constants)
        except FedAnomalyError:  # what the engine says to numbers that are no shape
            fits = False
        if not fits:
            raise MessageError("the constants of an offer do not fit its shape")
        return cls(shape, constants)


def frame_bytes(shape: Shape | HiddenShape) -> int:
    """Return the size of a batch with its head."""
    return HEAD_BYTES + shape.batch_bytes
