"""One injective encoding for everything that is hashed or signed.

`item(label, value)` is u8 len(label) || label || u32le len(value) || value. Two
different sequences of items never give the same bytes, so a signature or a hash
over them means one thing only. A `Reader` accepts exactly what `item` writes.
"""

from __future__ import annotations

import struct

from fedanomaly.errors import MessageError

VERSION = b"fedanomaly/1"
HASH_BYTES = 32


def item(label: str, value: bytes) -> bytes:
    """Return one labelled, length-prefixed item."""
    return item_head(label, len(value)) + value


def item_head(label: str, length: int) -> bytes:
    """Return what stands before a value of `length` bytes."""
    name = label.encode("ascii")
    return bytes([len(name)]) + name + struct.pack("<I", length)


def item_int(label: str, value: int) -> bytes:
    """Return an integer in 0 .. 2^64 - 1 as an item of eight bytes."""
    return item(label, struct.pack("<Q", value))


def begin(label: str) -> bytes:
    """Start an input: version and purpose come first everywhere."""
    return item("version", VERSION) + item("label", label.encode("ascii"))


class Reader:
    """Takes labelled items off, in order; anything unexpected raises.

    Parameters
    ----------
    data : bytes
        What `item` wrote.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def item(self, label: str) -> bytes:
        """Return the value of the next item, which must carry `label`.

        Raises
        ------
        MessageError
            If the next bytes are not such an item.
        """
        name = label.encode("ascii")
        head = bytes([len(name)]) + name
        start = self._at + len(head) + 4
        if self._data[self._at : self._at + len(head)] != head or start > len(self._data):
            raise MessageError(f"expected the item {label}")
        (length,) = struct.unpack("<I", self._data[start - 4 : start])
        if length > len(self._data) - start:
            raise MessageError(f"the item {label} is cut short")
        self._at = start + length
        return self._data[start : self._at]

    def exact(self, label: str, length: int) -> bytes:
        """Return the value of the next item, which must have `length` bytes."""
        value = self.item(label)
        if len(value) != length:
            raise MessageError(f"the item {label} has the wrong length")
        return value

    def hash(self, label: str) -> bytes:
        """Return a hash or key of 32 bytes."""
        return self.exact(label, HASH_BYTES)

    def int(self, label: str) -> int:
        """Return an unsigned integer of eight bytes."""
        (value,) = struct.unpack("<Q", self.exact(label, 8))
        return int(value)

    def text(self, label: str) -> str:
        """Return ASCII text."""
        try:
            return self.item(label).decode("ascii")
        except UnicodeDecodeError:
            raise MessageError(f"the item {label} is not text") from None

    @property
    def done(self) -> bool:
        """Whether every byte has been read."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Raise unless every byte has been read."""
        if not self.done:
            raise MessageError("bytes follow the last item")
