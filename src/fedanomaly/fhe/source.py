"""Bytes that are read a window at a time: a message of 100 MB is never in memory whole."""

from __future__ import annotations

from typing import Protocol

from fedanomaly.errors import MessageError


class Source(Protocol):
    """Bytes at rest."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; it MUST fail if so many are not there."""
        ...


class InMemory:
    """Bytes in memory as a source.

    Parameters
    ----------
    data : bytes
        The bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on.

        Raises
        ------
        MessageError
            If so many are not there.
        """
        if not 0 <= offset <= offset + length <= len(self._data):
            raise MessageError("the message is shorter than what is read of it")
        return self._data[offset : offset + length]
