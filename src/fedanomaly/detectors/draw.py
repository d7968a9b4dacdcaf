"""Shared randomness: every member draws the same numbers, on every machine, for ever.

A library's generator may change its stream between versions; SHAKE-256 (FIPS
202) cannot. Only whole numbers are drawn, since transcendental functions differ
in the last bit from one C library to the next.
"""

from __future__ import annotations

import hashlib

import numpy as np

from fedanomaly.types import Integers, item_int
from fedanomaly.types.canonical import begin

BYTES_A_NORMAL = 16
_BLOCK = 8192


class Draw:
    """A stream of whole numbers that follows from a purpose and a seed.

    Parameters
    ----------
    purpose : str
        What the numbers are for; different purposes give independent streams.
    seed : int
        0 <= seed < 2^64.
    """

    def __init__(self, purpose: str, seed: int) -> None:
        self._start = begin(purpose) + item_int("seed", seed)
        self._block = 0
        self._ready = b""

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        while len(self._ready) < count:
            block = hashlib.shake_256(self._start + item_int("block", self._block))
            self._ready += block.digest(_BLOCK)
            self._block += 1
        out, self._ready = self._ready[:count], self._ready[count:]
        return out

    def below(self, bound: int) -> int:
        """Return a uniform number in 0 .. bound - 1; bound at most 2^32."""
        # Words beyond the last whole multiple are drawn again, so none is favoured.
        fair = (1 << 32) - (1 << 32) % bound
        while (word := int.from_bytes(self.bytes(4), "little")) >= fair:
            pass
        return word % bound

    def choose(self, count: int, among: int) -> list[int]:
        """Return `count` different numbers below `among`, rising (Fisher-Yates, cut short)."""
        pool = list(range(among))
        for at in range(count):
            other = at + self.below(among - at)
            pool[at], pool[other] = pool[other], pool[at]
        return sorted(pool[:count])

    def normals(self, count: int) -> Integers:
        """Return `count` numbers of mean 0 and deviation sqrt(16 (256^2 - 1) / 12) = 295.6, almost normal.

        Each is a sum of 16 bytes less its mean (Irwin-Hall): its kurtosis
        differs from the normal's by 6 / 80.
        """
        raw = np.frombuffer(self.bytes(count * BYTES_A_NORMAL), dtype=np.uint8)
        return raw.reshape(count, BYTES_A_NORMAL).sum(axis=1, dtype=np.int64) - 2040
