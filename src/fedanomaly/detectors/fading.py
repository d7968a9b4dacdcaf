"""What is left of old sums when new rows come: as if every old row had stayed with one probability.

A state holds *layout* (scales, where bins, trees and waves lie), which a refresh
keeps, and *sums over rows*, which fade. They stay whole numbers. Rounding each
of them to the nearest would never let a count of one fade, so counts are thinned
instead: of a histogram every n-th row stays, counted from a random place that
follows from the old state, so all members agree. On average every count fades
by the same factor, and a histogram of all rows still adds up to the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar, Self

import numpy as np

from fedanomaly.detectors.draw import Draw
from fedanomaly.errors import ConfigError
from fedanomaly.types import Integers, State

_WORD = 1 << 64


@dataclass(frozen=True)
class Fade:
    """How old sums become smaller ones.

    Parameters
    ----------
    rows : int
        Rows that the old sums are of, at least 1.
    kept : int
        Rows that they are of afterwards.
    seed : int
        Where the thinning of counts begins.
    """

    rows: int
    kept: int
    seed: int

    @classmethod
    def of(cls, state: State, keep: float) -> Self:
        """Return what leaves the share `keep` of the rows of a trained state; 1 leaves all, exactly."""
        rows = int(state["rows"][0])
        seed = int.from_bytes(hashlib.sha256(state.to_bytes()).digest()[:8], "little")
        start = Fraction(int.from_bytes(Draw("faded rows", seed).bytes(8), "little"), _WORD)
        return cls(rows, floor(rows * Fraction(keep) + start), seed)

    def counts(self, state: State, name: str) -> Integers:
        """Return a thinned histogram along the last axis; one of all rows adds up to `kept`."""
        old = state[name]
        whole, rest = _divided(old, self.kept, np.array(self.rows))
        lines = rest.reshape(-1, old.shape[-1])
        words = np.frombuffer(Draw(f"faded {name}", self.seed).bytes(8 * len(lines)), "<u8")
        start = (words % np.uint64(self.rows)).astype(np.int64)
        upto = (np.cumsum(lines, axis=1) + start[:, None]) // self.rows
        return whole + np.diff(upto, axis=1, prepend=0).reshape(old.shape)

    def sums(self, state: State, name: str) -> Integers:
        """Return sums over all rows, in proportion to `kept`."""
        return _in_proportion(state[name], np.array(self.kept), np.array(self.rows))

    def groups(self, state: State, counts: str, sums: Sequence[str]) -> dict[str, Integers]:
        """Return thinned counts of groups of rows, and the groups' own sums in proportion to those.

        So the means of a group stay where they are, however few rows it has.
        """
        out = {counts: self.counts(state, counts)}
        for name in sums:
            shape = (-1, *[1] * (state[name].ndim - 1))
            before = np.maximum(state[counts], 1).reshape(shape)
            out[name] = _in_proportion(state[name], np.maximum(out[counts], 0).reshape(shape), before)
        return out


class Renewable:
    """A stage that a refresh runs again from a trained state, or leaves as it is.

    Attributes
    ----------
    counted, summed : tuple of str
        Arrays of the state to which new rows add: histograms, and sums over all rows.
    """

    prefix: str
    counted: ClassVar[tuple[str, ...]] = ()
    summed: ClassVar[tuple[str, ...]] = ()

    def reopened(self, state: State) -> State:
        """Return a trained state as it was before the sums that new rows add to; pure."""
        return without(state, (*self.counted, *self.summed))

    def joined(self, state: State, old: State, fade: Fade) -> State:
        """Return the state in which what is left of the old sums is added to the new ones; pure.

        Parameters
        ----------
        state : State
            Its sums are those of new rows alone.
        old : State
            The trained state that was reopened.
        fade : Fade
            What is left.
        """
        left = {name: fade.counts(old, name) for name in self.counted}
        return plus(state, left | {name: fade.sums(old, name) for name in self.summed})


def reopened(name: str, stages: Sequence[object], state: State) -> State:
    """Return a trained state as it was before new rows could be added to it.

    Parameters
    ----------
    name : str
        Of the detector, for the error.
    stages : sequence of stages
        In the order in which they ran.
    state : State
        Trained.

    Raises
    ------
    ConfigError
        If one of the stages cannot be run again.
    """
    for stage in reversed(stages):
        if not isinstance(stage, Renewable):
            raise ConfigError(f"{name} cannot be refreshed: its rounds build on each other", hint="train it anew")
        state = stage.reopened(state)
    return state


def without(state: State, names: Sequence[str]) -> State:
    """Return the state without some arrays."""
    arrays = {name: array for name, array in state.arrays.items() if name not in names}
    return State(state.detector, state.version, state.params, arrays)


def plus(state: State, left: dict[str, Integers]) -> State:
    """Return the state in which something is added to some arrays."""
    arrays = {**state.arrays, **{name: state[name] + array for name, array in left.items()}}
    return State(state.detector, state.version, state.params, arrays)


def _in_proportion(values: Integers, numerator: Integers, denominator: Integers) -> Integers:
    """Return ``values * numerator / denominator``, rounded."""
    whole, rest = _divided(values, numerator, denominator)
    return whole + (2 * rest >= denominator)


def _divided(values: Integers, numerator: Integers | int, denominator: Integers) -> tuple[Integers, Integers]:
    """Return the whole part of ``values * numerator / denominator`` and the rest; exact."""
    # A rest times the numerator has up to twice the bits of the denominator.
    kind = object if int(denominator.max()) >> 31 else np.int64
    wide, divisor = values.astype(kind), denominator.astype(kind)
    whole = wide // divisor
    rest = (wide - whole * divisor) * numerator
    more = rest // divisor
    rest = rest - more * divisor
    return (whole * numerator + more).astype(np.int64), rest.astype(np.int64)
