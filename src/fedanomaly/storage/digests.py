"""How a blob is named and cut into parts.

Names come from peers and become file names: what is not exactly 64 lower-case
hexadecimal digits is no name, so that no path can be made of it.
"""

from __future__ import annotations

import re

from fedanomaly.errors import MessageError

PART_BYTES = 8 * 1024 * 1024
DIGEST_BYTES = 32

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


def parse_digest(text: str) -> bytes:
    """Return the 32 bytes that `text` names.

    Raises
    ------
    MessageError
        Unless `text` is 64 lower-case hexadecimal digits.
    """
    if not _HEX.fullmatch(text):
        raise MessageError("a digest is 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)


def part_count(size: int) -> int:
    """Return how many parts a blob of `size` bytes has; an empty one has none."""
    return -(-size // PART_BYTES)


def part_bytes(size: int, number: int) -> int:
    """Return the size of part `number`, from 0, of a blob of `size` bytes.

    Raises
    ------
    MessageError
        If there is no such part.
    """
    if not 0 <= number < part_count(size):
        raise MessageError("the blob has no such part")
    return min(PART_BYTES, size - number * PART_BYTES)
