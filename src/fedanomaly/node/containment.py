"""Which sets of rows of this node make up which others, as their digests tell.

The digest of a set of rows is a sum (`node.row_digest`): rows that are put
together have the sum of their digests, in whatever files and order they came.
So whenever the digests of two known sets add up to that of a third, the third
holds the rows of both, each as often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from fractions import Fraction

import numpy as np

from fedanomaly.node.row_digest import MODULUS
from fedanomaly.protocol import Relation
from fedanomaly.types.span import Span

_LOW = (1 << 64) - 1
_Name = tuple[int, int]
"""A set of rows: (1, generation) if it is asked about; else (0, ...), which comes first and is solved for."""


def relations_among(generations: Collection[int], digests: Mapping[bytes, int]) -> tuple[Relation, ...]:
    """Return all relations among some sets of rows that follow from digests.

    Parameters
    ----------
    generations : collection of int
        Their numbers; 0 is no set.
    digests : mapping of bytes to int
        Digests of all sets that are known, with their generations. Those with 0
        have none; a generation may have several digests.
    """
    known = {int.from_bytes(digest, "little"): generation for digest, generation in digests.items()}
    known.pop(0, None)  # no rows
    lows = np.array([value & _LOW for value in known], dtype=np.uint64)
    values, sorted_lows = list(known), np.sort(lows)
    span: Span[_Name] = Span()
    for at, value in enumerate(values):
        sums = lows[: at + 1] + lows[at]  # modulo 2^64: what fits here is looked at in full
        fits = sorted_lows[np.searchsorted(sorted_lows, sums) % len(sorted_lows)] == sums
        for first in (values[index] for index in np.flatnonzero(fits)):
            whole = (first + value) % MODULUS
            if whole in known:
                parts = Counter(_name(each, known[each], generations) for each in (first, value))
                parts.subtract([_name(whole, known[whole], generations)])
                span.add(parts)
    return tuple(_relation(row) for row in span if min(row)[0] == 1)


def _name(value: int, generation: int, summed: Collection[int]) -> _Name:
    if not generation:  # a file as a whole, never summed as such, whatever number stands for no rows
        return 0, -value
    return int(generation in summed), generation


def _relation(row: Mapping[_Name, Fraction]) -> Relation:
    scale = math.lcm(*(count.denominator for count in row.values()))
    counts = {generation: int(count * scale) for (_, generation), count in row.items()}
    left, right = (
        tuple(generation for generation in sorted(counts) for _ in range(sign * counts[generation])) for sign in (1, -1)
    )
    return Relation(left=left, right=right)
