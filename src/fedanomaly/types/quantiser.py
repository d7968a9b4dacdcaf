"""From plaintext statistics to the integers that are summed, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import CapacityError, DataError, ShapeError
from fedanomaly.types.arrays import Floats, Integers
from fedanomaly.types.step import Statistics, Step

MAX_FIELD_BITS = 60


@dataclass(frozen=True, eq=False)
class Total:
    """An opened sum.

    Parameters
    ----------
    step : Step
        What was summed.
    integers : dict of str to int64 array
        Per field the exact sum in units of its resolution, offsets removed.
    contributors : int
        How many members are in the sum.
    clipped : int
        How many entries, over all members, lay outside their bounds.
    """

    step: Step
    integers: dict[str, Integers]
    contributors: int
    clipped: int

    def __getitem__(self, name: str) -> Integers:
        return self.integers[name]

    def float(self, name: str) -> Floats:
        """Return the sum of a field in the unit of its statistic."""
        (field,) = (field for field in self.step.fields if field.name == name)
        return self.integers[name].astype(np.float64) * field.resolution


@dataclass(frozen=True, kw_only=True)
class Quantiser:
    """Turns the statistics of one step into integers 0 <= v < 2^value_bits.

    All entries of a step share one width, so that they pack evenly. The last
    entry counts what was clipped.

    Parameters
    ----------
    step : Step
        Bounds and resolutions.
    members : int
        Size of the roster: that many contributions fit without a carry.
    """

    step: Step
    members: int

    def __post_init__(self) -> None:
        if self.field_bits > MAX_FIELD_BITS:
            raise CapacityError(
                f"step {self.step.name} needs {self.field_bits} bits an entry; at most {MAX_FIELD_BITS} fit",
                hint="narrow the bounds or coarsen the resolution",
            )

    @property
    def value_bits(self) -> int:
        """Bits of one member's entry; the clip count must fit as well."""
        return max(self.step.size.bit_length(), *(field.value_bits for field in self.step.fields))

    @property
    def field_bits(self) -> int:
        """Bits of an entry of the sum: head-room for every member."""
        return self.value_bits + (self.members - 1).bit_length()

    @property
    def entries(self) -> int:
        """Number of integers of a contribution, the clip count included."""
        return self.step.size + 1

    def quantise(self, statistics: Statistics) -> npt.NDArray[np.uint64]:
        """Return one member's integers; what lies outside is clipped and counted.

        Parameters
        ----------
        statistics : mapping of str to array
            One array for every field of the step, of its shape.

        Returns
        -------
        uint64 array of shape (entries,)
            Offset by the lower bounds; the last entry is the clip count.

        Raises
        ------
        ShapeError
            If a field is missing, unknown, or has another shape.
        DataError
            If an entry is NaN: it has no place between the bounds.
        """
        if set(statistics) != {field.name for field in self.step.fields}:
            raise ShapeError(f"step {self.step.name}: the statistics have other fields")
        out = np.empty(self.entries, dtype=np.uint64)
        at = clipped = 0
        for field in self.step.fields:
            values = np.asarray(statistics[field.name])
            if values.shape != field.shape:
                raise ShapeError(f"field {field.name} has shape {values.shape}, not {field.shape}")
            units, outside = _units(values.ravel(), field.lower, field.upper, field.resolution)
            out[at : at + field.size] = units
            at += field.size
            clipped += outside
        out[at] = clipped
        return out

    def total(self, sums: npt.NDArray[np.uint64], contributors: int) -> Total:
        """Return the opened sum of `contributors` members, offsets removed.

        Parameters
        ----------
        sums : uint64 array of shape (entries,)
            What the round opened.
        contributors : int
            How many contributions it holds.
        """
        if sums.shape != (self.entries,):
            raise ShapeError(f"step {self.step.name}: the sum has the wrong length")
        integers: dict[str, Integers] = {}
        at = 0
        for field in self.step.fields:
            part = sums[at : at + field.size].astype(np.int64)
            integers[field.name] = (part + contributors * field.lower).reshape(field.shape)
            at += field.size
        return Total(self.step, integers, contributors, int(sums[at]))


def _units(values: npt.NDArray[np.generic], lower: int, upper: int, resolution: float) -> tuple[Integers, int]:
    """Return the entries in units above `lower`, and how many were clipped."""
    if np.issubdtype(values.dtype, np.integer) and resolution == 1.0:
        exact = values.astype(np.int64)
        kept = np.clip(exact, lower, upper)
        return kept - lower, int(np.count_nonzero(kept != exact))
    scaled = values.astype(np.float64) / resolution
    if np.isnan(scaled).any():
        raise DataError("a statistic is not a number")
    outside = (scaled < lower - 0.5) | (scaled > upper + 0.5)
    kept = np.clip(np.rint(np.clip(scaled, lower, upper)), lower, upper)
    return kept.astype(np.int64) - lower, int(np.count_nonzero(outside))
