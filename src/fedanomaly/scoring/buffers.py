"""Memory for batches that is used again: pages that come fresh from the system cost more than a kernel takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fedanomaly.fhe.memory import aligned


class Buffers:
    """Lends pieces of memory. Safe for threads.

    What one was used for is still in it when it is lent again, so none that held a
    secret belongs here.

    Parameters
    ----------
    most : int
        Pieces that wait to be lent again; those that were given back longest ago go first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: list[bytearray] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, size: int) -> Iterator[bytearray]:
        """Lend a piece of so many bytes; they have any values."""
        with self._lock:
            # The last one that came back is the likeliest to be in a cache.
            at = next((at for at in reversed(range(len(self._free))) if len(self._free[at]) == size), None)
            piece = None if at is None else self._free.pop(at)
        piece = aligned(size) if piece is None else piece
        try:
            yield piece
        finally:
            with self._lock:
                self._free.append(piece)
                del self._free[: -self._most]
