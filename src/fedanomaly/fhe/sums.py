"""What travels in a round, and the coordinator's one-pass addition.

A contribution, a decryption share and a masked sum are vectors of residues,
bit-packed to exactly `Layout.message_bytes`, behind a head that says what they
are and of which manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

from fedanomaly.errors import MessageError
from fedanomaly.fhe._engine import call, ffi
from fedanomaly.fhe.manifest import Manifest
from fedanomaly.types.canonical import VERSION, Reader, begin, item


@dataclass(frozen=True)
class _Message:
    """Residues of one round behind a head.

    Parameters
    ----------
    manifest : bytes
        Hash of the manifest.
    residues : bytes
        Bit-packed residues; only ever ciphertext.
    """

    label: ClassVar[str]
    manifest: bytes
    residues: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return begin(self.label) + item("manifest", self.manifest) + item("residues", self.residues)

    @classmethod
    def from_bytes(cls, data: bytes, manifest: Manifest) -> Self:
        """Read what `to_bytes` wrote; it must belong to `manifest`.

        Raises
        ------
        MessageError
            If the bytes are something else, or have the wrong size.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION or reader.item("label") != cls.label.encode():
            raise MessageError(f"not a {cls.label} of this version")
        message = cls(reader.hash("manifest"), reader.item("residues"))
        reader.end()
        if message.manifest != manifest.hash or len(message.residues) != manifest.ask.layout.message_bytes:
            raise MessageError(f"the {cls.label} belongs to another round")
        return message

    def check(self, manifest: Manifest) -> None:
        """Check the residues, so that a malformed upload is refused on receipt.

        Raises
        ------
        MessageError
            If the message is of another round, a residue is not below its
            prime, or a padding bit is set.
        """
        if self.manifest != manifest.hash:
            raise MessageError(f"the {self.label} belongs to another round")
        call("fa_message_check", manifest.raw, len(manifest.raw), self.residues, len(self.residues))

    @classmethod
    def size_bytes(cls, manifest: Manifest) -> int:
        """Return the exact size of such a message in a round."""
        head = len(begin(cls.label) + item("manifest", manifest.hash) + item("residues", b""))
        return head + manifest.ask.layout.message_bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.manifest.hex()[:12]}, {len(self.residues)} bytes>"


@dataclass(frozen=True, repr=False)
class Contribution(_Message):
    """One member's encrypted statistic."""

    label: ClassVar[str] = "contribution"


@dataclass(frozen=True, repr=False)
class DecryptionShare(_Message):
    """One decryptor's zero-masked share of the sum over exactly one set."""

    label: ClassVar[str] = "decryption share"


@dataclass(frozen=True, repr=False)
class MaskedSum(_Message):
    """The sum of all contributions and shares: opened only with the group key."""

    label: ClassVar[str] = "masked sum"


class Accumulator:
    """Adds the messages of one round in one streaming pass.

    Parameters
    ----------
    manifest : Manifest
        The round.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        handle = ffi.new("int64_t *")
        call("fa_sum_new", manifest.raw, len(manifest.raw), handle)
        self._handle: int = handle[0]

    def add(self, message: Contribution | DecryptionShare) -> None:
        """Add one message, whole or not at all.

        Raises
        ------
        MessageError
            If a residue is out of range; the sum stays as it was.
        """
        if message.manifest != self._manifest.hash:
            raise MessageError("the message belongs to another round")
        call("fa_sum_add", self._handle, message.residues, len(message.residues))

    def total(self) -> MaskedSum:
        """Return the masked sum of what was added so far."""
        size = self._manifest.ask.layout.message_bytes
        out = bytearray(size)
        call("fa_sum_result", self._handle, ffi.from_buffer("uint8_t[]", out), size)
        return MaskedSum(self._manifest.hash, bytes(out))

    def close(self) -> None:
        """Free the engine's memory; closing twice does nothing."""
        if self._handle:
            call("fa_free", self._handle)
            self._handle = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
