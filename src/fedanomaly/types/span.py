"""Whether a vector is a linear combination of others, exactly: rational numbers, sparse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from fedanomaly.errors import CapacityError

Key = TypeVar("Key", int, tuple[int, int], tuple[bytes, int])


class Span(Generic[Key]):
    """All linear combinations of the vectors that were added.

    Every kept row begins with another coordinate, its pivot, and holds none
    before it. So the rows whose pivot is not below a limit span all combinations
    that are 0 below that limit.

    Parameters
    ----------
    vectors : iterable of mappings
        Coefficients by coordinate; absent ones are 0. Coordinates need an order.
    limit : int, optional
        So many coefficients may be computed, in all; for vectors of others, who
        could choose some that take hours.

    Raises
    ------
    CapacityError
        If the limit is reached.
    """

    def __init__(self, vectors: Iterable[Mapping[Key, int]] = (), *, limit: int | None = None) -> None:
        self._rows: dict[Key, dict[Key, Fraction]] = {}
        self._left = limit
        for vector in vectors:
            self.add(vector)

    def add(self, vector: Mapping[Key, int]) -> None:
        """Add a vector."""
        left = self._rest(vector)
        if left:
            pivot = min(left)
            scale = left[pivot]
            self._rows[pivot] = {key: value / scale for key, value in left.items()}

    def __contains__(self, vector: Mapping[Key, int]) -> bool:
        """Whether the vector is a combination of those that were added."""
        return not self._rest(vector)

    def __iter__(self) -> Iterator[dict[Key, Fraction]]:
        """Yield the rows of the echelon form; the coefficient of each one's least coordinate is 1."""
        yield from self._rows.values()

    def _pay(self, coefficients: int) -> None:
        if self._left is not None:
            self._left -= coefficients
            if self._left < 0:
                raise CapacityError("these vectors depend on each other in too many ways to tell which do")

    def _rest(self, vector: Mapping[Key, int]) -> dict[Key, Fraction]:
        left = {key: Fraction(value) for key, value in vector.items() if value}
        open_ = list(left)
        heapify(open_)
        while open_:
            pivot = heappop(open_)
            factor, row = left.get(pivot), self._rows.get(pivot)
            if not factor or row is None:
                continue
            self._pay(len(row))
            for key, value in row.items():
                new = left.get(key, Fraction(0)) - factor * value
                if new:
                    if key not in left:
                        heappush(open_, key)
                    left[key] = new
                else:
                    left.pop(key, None)
        return left
