"""Which sets of rows of one member make up which others: said with every job, for the guard of the others."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fedanomaly.errors import CapacityError, MessageError
from fedanomaly.types.canonical import Reader, item

MAX_TERMS = 4096
"""So many numbers may stand in the relations of one member."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Rows that are the same rows, put together in two ways.

    Parameters
    ----------
    left, right : tuple of int
        Generations, ascending. Both sides together hold the same rows, each as
        often. A generation stands as often as its rows count, and on one side.

    Raises
    ------
    MessageError
        If a side is empty or out of order, or both name the same generation.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]

    def __post_init__(self) -> None:
        for side in (self.left, self.right):
            if not side or side[0] < 1 or list(side) != sorted(side):
                raise MessageError("a relation of sets of rows is malformed")
        if not set(self.left).isdisjoint(self.right):
            raise MessageError("a relation of sets of rows names one of them on both sides")

    def vector(self) -> dict[int, int]:
        """Return how often each generation counts; left is positive, and all of it adds up to nothing."""
        counts = Counter(self.left)
        counts.subtract(self.right)
        return counts

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return item("left", _written(self.left)) + item("right", _written(self.right))

    @classmethod
    def read(cls, reader: Reader) -> Relation:
        """Take what `to_bytes` wrote off a reader."""
        left, right = (reader.item(name) for name in ("left", "right"))
        if (len(left) | len(right)) % 8:
            raise MessageError("a relation of sets of rows is cut short")
        sides = [struct.unpack(f"<{len(side) // 8}Q", side) for side in (left, right)]
        return cls(left=sides[0], right=sides[1])


def _written(side: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(side)}Q", *side)


def write_relations(relations: Iterable[Relation]) -> bytes:
    """Return the canonical bytes of relations, in any order.

    Raises
    ------
    CapacityError
        If they name too many sets.
    """
    told = list(relations)
    if _terms(told) > MAX_TERMS:
        raise CapacityError(
            f"the rows of this node were summed in parts and together so often that over {MAX_TERMS} sets are named",
            hint="sum new rows only, under a data set of another name",
        )
    return b"".join(sorted(relation.to_bytes() for relation in told))


def _terms(relations: Iterable[Relation]) -> int:
    return sum(len(each.left) + len(each.right) for each in relations)


def read_relations(data: bytes) -> tuple[Relation, ...]:
    """Read what `write_relations` wrote.

    Raises
    ------
    MessageError
        If the bytes are not exactly that, or too many.
    """
    reader, out = Reader(data), []
    while not reader.done:
        out.append(Relation.read(reader))
    if _terms(out) > MAX_TERMS:
        raise MessageError(f"the relations of sets of rows name more than {MAX_TERMS} of them")
    if write_relations(out) != data or len(set(out)) != len(out):
        raise MessageError("the relations of sets of rows are not in order")
    return tuple(out)
