"""Rows of codes, such as events or letters, counted in hashed tables.

A code is an identity, not a size: the bits of its float64 are hashed, so any
number is a code, and no list of codes has to be agreed on or shown to anybody.
What is counted are n-grams, runs of codes, all lengths in one table; the table
is a sum over rows, and says how likely a code is after those before it.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors.draw import Draw
from fedanomaly.types import Floats, Integers, State

Hashes = npt.NDArray[np.uint64]

CHUNK = 1 << 18
"""Cells of the matrix that are read at once."""
PRIOR = 1.0
"""What shorter n-grams say weighs as much as that many occurrences of the longer one."""
HAIR = 2.0**-12
"""Every code is less probable by up to that share, which follows from its hash.
Rows of nothing but codes of their own would all score the same otherwise, and
no threshold could part them."""

_START, _END = np.uint64(1), np.uint64(2)


def mix(words: Hashes) -> Hashes:
    """Return a hash of every word: the step of splitmix64, a bijection that spreads every bit.

    Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014; constants of D. Stafford's variant 13.
    """
    # Arrays of uint64 wrap around without a warning, as is meant here.
    words = words + np.uint64(0x9E37_79B9_7F4A_7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return words ^ (words >> np.uint64(31))


def cells(hashes: Hashes, bits: int) -> Integers:
    """Return the cell of every hash in a table of 2^bits cells: its upper bits."""
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Rows one behind the other; each is a start, its codes in the order of the columns, an end.

    Parameters
    ----------
    there : bool array of shape (n_rows, n_columns)
        Where the rows have a code; the first column of a row that has none.
    rows, columns : int64 arrays of shape (n_places,)
        Where every place comes from. A start has column 0, an end that of the
        last code.
    codes : uint64 array of shape (n_places,)
        Hashed codes.
    starts : int64 array of shape (n_rows,)
        Places of the starts.
    """

    there: npt.NDArray[np.bool_]
    rows: Integers
    columns: Integers
    codes: Hashes
    starts: Integers

    @property
    def lengths(self) -> Integers:
        """Return the number of codes of every row."""
        return np.bincount(self.rows, minlength=len(self.there)) - 2

    def inner(self) -> Integers:
        """Return the places of codes, without starts and ends."""
        inside = np.ones(len(self.codes), dtype=np.bool_)
        inside[self.starts] = False
        # Before a start is an end; before the first, Python has it, is the last.
        inside[self.starts - 1] = False
        return np.flatnonzero(inside)

    def grams(self, order: int) -> list[Hashes]:
        """Return hashes of the 1, 2 … `order` codes that end at every place; none begins before its row."""
        out = [self.codes]
        while len(out) < order:
            longer = self.codes.copy()
            longer[1:] = mix(out[-1][:-1] * np.uint64(3) + self.codes[1:])
            longer[self.starts] = self.codes[self.starts]
            out.append(longer)
        return out

    def summed(self, parts: Floats) -> Floats:
        """Return the sum over the places of every row, added in their order whatever the other rows are."""
        return np.bincount(self.rows, weights=parts, minlength=len(self.there)).astype(np.float64)

    def by_column(self, parts: Floats) -> Floats:
        """Return what the places of every row and column add up to."""
        shape = self.there.shape
        cell = self.rows * shape[1] + self.columns
        out = np.bincount(cell, weights=parts, minlength=shape[0] * shape[1])
        return out.astype(np.float64).reshape(shape)

    def evenly(self, parts: Floats) -> Floats:
        """Return one number a row, divided among the columns in which it has codes."""
        return self.there * (parts / self.there.sum(axis=1))[:, None]


def sequences(X: Floats, purpose: str, seed: int) -> Iterator[Sequences]:
    """Yield the rows, some at a time, so that memory stays flat.

    Parameters
    ----------
    X : float64 array of shape (n_rows, n_columns)
        Codes; NaN is none, wherever it stands.
    purpose, seed : str, int
        Members that agree on both hash alike.
    """
    salt = np.frombuffer(Draw(purpose, seed).bytes(8), dtype="<u8").astype(np.uint64)
    step = max(CHUNK // (X.shape[1] + 2), 1)
    for at in range(0, len(X), step):
        yield _line(X[at : at + step], salt)


def _line(X: Floats, salt: Hashes) -> Sequences:
    there = ~np.isnan(X)
    lengths = there.sum(axis=1)
    ends = np.cumsum(lengths + 2) - 1
    starts = ends - lengths - 1
    rows = np.repeat(np.arange(len(X)), lengths + 2)
    codes, columns = np.zeros(len(rows), dtype=np.uint64), np.zeros(len(rows), dtype=np.int64)
    inside = np.ones(len(rows), dtype=np.bool_)
    inside[starts] = inside[ends] = False
    # Minus zero becomes zero. A start and an end are no code: their words have other salts.
    codes[inside] = mix((X[there] + 0.0).view(np.uint64) ^ salt)
    codes[starts], codes[ends] = mix(mix(salt) + _START), mix(mix(salt) + _END)
    columns[inside] = np.nonzero(there)[1]
    columns[ends] = columns[ends - 1]
    there[lengths == 0, 0] = True
    return Sequences(there, rows, columns, codes, starts)


def gram_cells(line: Sequences, order: int, bits: int) -> list[Integers]:
    """Return the cells of the n-grams of every length that end at every place."""
    return [cells(mix(grams + np.uint64(length)), bits) for length, grams in enumerate(line.grams(order), 1)]


@dataclass(frozen=True, eq=False)
class Language:
    """How likely codes are after their predecessors, from opened counts.

    Parameters
    ----------
    counts : float64 array of shape (2^bits,)
        How often n-grams occur, all lengths in one table.
    places : float
        Codes and ends of all rows.
    order : int
        Longest n-gram.

    Notes
    -----
    With c(w, x) the count of code x after w, and w' being w without its first
    code, ``p(x | w) = (c(w, x) + PRIOR p(x | w')) / (c(w) + PRIOR)``, down to
    the same small p for every code that nobody has seen: Dirichlet smoothing
    (D. MacKay, L. Peto, "A hierarchical Dirichlet language model", 1995).
    Different n-grams can share a cell, so a count is cut to those of the two
    n-grams that it contains: a collision matters only where these were seen.
    """

    counts: Floats
    places: float
    order: int

    def probabilities(self, line: Sequences) -> Floats:
        """Return the probability of what stands at every place, in (0, 1]; 1 for starts.

        Parameters
        ----------
        line : Sequences
            Rows, hashed as those that were counted.

        Returns
        -------
        float64 array of shape (n_places,)
        """
        bits = len(self.counts).bit_length() - 1
        p = np.full(len(line.codes), 1.0 / (np.count_nonzero(self.counts) + 1))
        shorter, seen = np.full(len(p), np.inf), np.full(len(p), max(self.places, 1.0))
        for where in gram_cells(line, self.order, bits):
            count = np.minimum(np.minimum(self.counts[where], shorter), seen)
            p = (count + PRIOR * p) / (seen + PRIOR)
            shorter, seen = count, np.concatenate([count[:1], count[:-1]])
            # Nothing comes before a start: the row before is another's.
            seen[line.starts] = np.inf
        p *= 1.0 - HAIR * (line.codes >> np.uint64(11)).astype(np.float64) * 2.0**-53
        p[line.starts] = 1.0
        return np.minimum(p, 1.0)


def language_of(state: State, prefix: str) -> Language:
    """Return what the opened counts of a stage say."""
    # Only somebody who lies makes a sum of counts negative.
    counts = np.maximum(state[f"{prefix}/counts"], 0).astype(np.float64)
    return Language(counts, float(state[f"{prefix}/places"][0]), int(state.params["order"]))
