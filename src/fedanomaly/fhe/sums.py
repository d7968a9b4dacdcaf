"""What travels in a round, and the coordinator's addition in bounded memory.

A contribution, a decryption share and a masked sum are vectors of residues,
bit-packed to exactly `Layout.message_bytes`, behind a head that says what they
are and of which manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from fedanomaly.errors import MessageError
from fedanomaly.fhe._engine import call, ffi
from fedanomaly.fhe.manifest import Manifest
from fedanomaly.fhe.source import Source
from fedanomaly.types.canonical import VERSION, Reader, begin, item, item_head

WINDOW_BYTES = 512 * 1024
"""How much of a message is in memory at a time, in whole ciphertexts."""


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

    @classmethod
    def check(cls, source: Source, manifest: Manifest) -> None:
        """Check canonical bytes window by window, so that a malformed upload is refused on receipt.

        Raises
        ------
        MessageError
            If they are not such a message of this round, a residue is not below
            its prime, or a padding bit is set.
        """
        head_bytes = cls.check_head(source, manifest)
        for window in _windows(manifest):
            part = source.read(head_bytes + window.offset, window.size)
            call("fa_message_check", manifest.raw, len(manifest.raw), window.first, window.count, part, len(part))

    @classmethod
    def check_head(cls, source: Source, manifest: Manifest) -> int:
        """Check size and head of canonical bytes; returns where the residues begin.

        Raises
        ------
        MessageError
            If they are not those of such a message of this round.
        """
        head = cls.head(manifest)
        if source.size != cls.size_bytes(manifest) or source.read(0, len(head)) != head:
            raise MessageError(f"not a {cls.label} of this round")
        return len(head)

    @classmethod
    def head(cls, manifest: Manifest) -> bytes:
        """Return what stands before the residues: all of it follows from the round."""
        return (
            begin(cls.label)
            + item("manifest", manifest.hash)
            + item_head("residues", manifest.ask.layout.message_bytes)
        )

    @classmethod
    def size_bytes(cls, manifest: Manifest) -> int:
        """Return the exact size of such a message in a round."""
        return len(cls.head(manifest)) + manifest.ask.layout.message_bytes

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


def add_up(manifest: Manifest, messages: Sequence[tuple[type[_Message], Source]]) -> Iterator[bytes]:
    """Add messages of one round, window by window.

    Memory holds one window, whatever the size and number of the messages.

    Parameters
    ----------
    manifest : Manifest
        The round.
    messages : sequence of (type, Source)
        Kind and canonical bytes of each.

    Yields
    ------
    bytes
        The canonical bytes of the `MaskedSum`, piece by piece.

    Raises
    ------
    MessageError
        If a message belongs to another round, or a residue is out of range;
        what was yielded before is of no use.
    """
    heads = [kind.check_head(source, manifest) for kind, source in messages]
    yield MaskedSum.head(manifest)
    for window in _windows(manifest):
        handle = ffi.new("int64_t *")
        call("fa_sum_new", manifest.raw, len(manifest.raw), window.first, window.count, handle)
        try:
            for head_bytes, (_, source) in zip(heads, messages, strict=True):
                part = source.read(head_bytes + window.offset, window.size)
                call("fa_sum_add", handle[0], part, len(part))
            out = bytearray(window.size)
            call("fa_sum_result", handle[0], ffi.from_buffer("uint8_t[]", out), window.size)
        finally:
            call("fa_free", handle[0])
        yield bytes(out)


@dataclass(frozen=True)
class _Window:
    """A run of whole ciphertexts: `size` bytes of residues from `offset` on."""

    first: int
    count: int
    offset: int
    size: int


def _windows(manifest: Manifest) -> Iterator[_Window]:
    layout = manifest.ask.layout
    stride = max(1, WINDOW_BYTES // layout.ciphertext_bytes)
    for first in range(0, layout.ciphertexts, stride):
        offset = first * layout.ciphertext_bytes
        size = min(stride * layout.ciphertext_bytes, layout.message_bytes - offset)
        yield _Window(first, min(stride, layout.ciphertexts - first), offset, size)
