"""Several detectors' steps in one round, where they do not depend on each other.

Every detector of a bundle keeps its own arrays in the state, under its own
label, and sees a state that looks as if it were alone. Each round takes the next
step of all that are not done. All entries of a step have one width, so fields
that are wider than the rest are sent as digits, each with its own head-room.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.fading import Fade, Renewable, reopened
from fedanomaly.detectors.stages import CarryingStage, Stage
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

HEAD_ROOM_BITS = 6
"""What a member's width is weighed with when digits are chosen; the true one follows from the roster."""
SHARED = ("features", "rows", "scale/center", "scale/width", "scale/present", "scale/rows")
"""What the preparation learnt, once for all detectors."""


@dataclass(frozen=True)
class Track:
    """One detector of a bundle.

    Parameters
    ----------
    label : str
        Names its arrays in the common state; differs from track to track.
    detector : Detector
        Untrained; its stages run, its preparation and threshold do not.
    """

    label: str
    detector: Detector

    def inner(self, state: State) -> State:
        """Return the state as this detector would see it alone."""
        arrays = {name: state[name] for name in SHARED if name in state}
        start = f"{self.label}/"
        arrays |= {name.removeprefix(start): array for name, array in state.arrays.items() if name.startswith(start)}
        return State(self.detector.name, self.detector.version, self.detector.params(), arrays)

    def outer(self, state: State, inner: State) -> State:
        """Return the common state in which this detector's arrays are those of `inner`."""
        start = f"{self.label}/"
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith(start)}
        arrays |= {f"{start}{name}": array for name, array in inner.arrays.items() if name not in SHARED}
        return State(state.detector, state.version, state.params, arrays)

    def pending(self, inner: State) -> tuple[Stage, Step] | None:
        """Return the stage that is not done and its step, or None."""
        for stage in self.detector.stages():
            step = stage.next_step(inner)
            if step is not None:
                return cast("Stage", stage), step
        return None


Pending: TypeAlias = tuple[Track, State, Stage, Step]
"""A detector that is not done, its state as if it were alone, and what it wants summed next."""


class Bundle(CarryingStage, Renewable):
    """Steps ``ensemble/…``, each named after the steps that it holds.

    Parameters
    ----------
    tracks : sequence of Track
        The detectors.
    """

    prefix = "ensemble"

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._tracks = tuple(tracks)

    def next_step(self, state: State) -> Step | None:
        """Return the next steps of all detectors as one, or None once all are done."""
        pending = self._pending(state)
        if not pending:
            return None
        width = _width(pending)
        fields = [_sent(track.label, field, width) for track, _, _, step in pending for field in step.fields]
        name = "+".join(f"{track.label}.{step.name}" for track, _, _, step in pending)
        clipped = FieldSpec(name="clipped", shape=(1,), lower=0, upper=(1 << width) - 1)
        return Step(name=f"{self.prefix}/{name}", fields=(*fields, clipped))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:  # noqa: ARG002 - follows from the state
        """Return the statistics of all detectors that are not done."""
        pending = self._pending(state)
        units: dict[str, Integers] = {}
        for track, inner, stage, own in pending:
            statistics = stage.local(own, X, inner)
            for field in own.fields:
                units[f"{track.label}/{field.name}"] = _whole(np.asarray(statistics[field.name]), field.resolution)
        return _within_bounds(pending, units, 0)

    def carried(self, summed: Statistics, state: State, batches: int) -> Statistics:
        """Return digits of the sums, from the sums of digits of so many batches of rows."""
        pending = self._pending(state)
        width = _width(pending)
        units: dict[str, Integers] = {}
        for track, _, _, own in pending:
            for field in own.fields:
                name = f"{track.label}/{field.name}"
                units[name] = _joined(np.asarray(summed[name], dtype=np.int64), field, width, batches)
        return _within_bounds(pending, units, int(np.asarray(summed["clipped"])[0]))

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - follows from the state
        """Hand every detector its own opened sum."""
        pending = self._pending(state)
        width = _width(pending)
        clipped = total.clipped + int(total["clipped"][0])
        for track, inner, stage, own in pending:
            sums = {
                field.name: _joined(total[f"{track.label}/{field.name}"], field, width, total.contributors)
                for field in own.fields
            }
            state = track.outer(state, stage.merge(own, Total(own, sums, total.contributors, clipped), inner))
        return state

    def reopened(self, state: State) -> State:
        """Return the state before the sums of every detector that new rows add to."""
        for track in self._tracks:
            stages = track.detector.stages()
            state = track.outer(state, reopened(track.detector.name, stages, track.inner(state)))
        return state

    def joined(self, state: State, old: State, fade: Fade) -> State:
        """Return the state in which what is left of every detector's old sums is added to its new ones."""
        for track in self._tracks:
            inner = track.inner(state)
            for stage in track.detector.stages():
                inner = cast("Renewable", stage).joined(inner, track.inner(old), fade)
            state = track.outer(state, inner)
        return state

    def _pending(self, state: State) -> list[Pending]:
        found = []
        for track in self._tracks:
            inner = track.inner(state)
            pending = track.pending(inner)
            if pending is not None:
                found.append((track, inner, *pending))
        return found


def _within_bounds(pending: Sequence[Pending], units: Mapping[str, Integers], clipped: int) -> Statistics:
    """Return what is sent of whole units: digits of what lies within the bounds, and how much did not."""
    width = _width(pending)
    out: dict[str, Integers] = {}
    for track, _, _, own in pending:
        for field in own.fields:
            name = f"{track.label}/{field.name}"
            kept = np.clip(units[name], field.lower, field.upper)
            clipped += int(np.count_nonzero(kept != units[name]))
            out[name] = _digits(kept, field, width)
    out["clipped"] = np.array([min(clipped, (1 << width) - 1)])
    return out


def _width(pending: Sequence[Pending]) -> int:
    return _digit_bits([field for _, _, _, step in pending for field in step.fields])


def _digit_bits(fields: Sequence[FieldSpec]) -> int:
    """Return the width of a digit that makes the message smallest."""

    def bits(width: int) -> int:
        return sum(field.size * -(-field.value_bits // width) for field in fields) * (width + HEAD_ROOM_BITS)

    return min(range(4, 53), key=bits)


def _sent(label: str, field: FieldSpec, width: int) -> FieldSpec:
    name = f"{label}/{field.name}"
    if field.value_bits <= width:
        return FieldSpec(name=name, shape=field.shape, lower=field.lower, upper=field.upper)
    count = -(-field.value_bits // width)
    return FieldSpec(name=name, shape=(count, *field.shape), lower=0, upper=(1 << width) - 1)


def _whole(values: np.ndarray, resolution: float) -> Integers:
    if np.issubdtype(values.dtype, np.integer) and resolution == 1.0:
        return values.astype(np.int64)
    return np.rint(values / resolution).astype(np.int64)


def _digits(units: Integers, field: FieldSpec, width: int) -> Integers:
    if field.value_bits <= width:
        return units
    above = units - field.lower
    count = -(-field.value_bits // width)
    return np.stack([(above >> (width * digit)) & ((1 << width) - 1) for digit in range(count)])


def _joined(sums: Integers, field: FieldSpec, width: int, contributors: int) -> Integers:
    """Return the exact sum of a field from those of its digits.

    What is summed is below 2^63, as every sum that a step allows; the parts need
    not be, so they are added modulo 2^64.
    """
    if field.value_bits <= width:
        return sums
    whole = np.full(field.shape, contributors * field.lower % (1 << 64), dtype=np.uint64)
    for digit, part in enumerate(sums):
        whole += part.astype(np.uint64) << np.uint64(width * digit)
    return whole.astype(np.int64)
