"""From plaintext statistics to the integers that are summed, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import CapacityError, DataError, ShapeError
from fedanomaly.types.arrays import Floats, Integers
from fedanomaly.types.step import Statistics, Step

MAX_FIELD_BITS = 60
EXACT_IN_FLOAT64 = 1 << 53


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
    entries count what was clipped, as digits in base 2^value_bits: their sums
    over the members keep their head-room, like those of any other entry.

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
        """Bits of one member's entry."""
        return max(field.value_bits for field in self.step.fields)

    @property
    def field_bits(self) -> int:
        """Bits of an entry of the sum: head-room for every member."""
        return self.value_bits + (self.members - 1).bit_length()

    @property
    def entries(self) -> int:
        """Number of integers of a contribution, the digits of the clip count included."""
        return self.step.size + self._digits

    @property
    def _digits(self) -> int:
        return -(-self.step.size.bit_length() // self.value_bits)

    def quantise(self, statistics: Statistics) -> npt.NDArray[np.uint64]:
        """Return one member's integers; what lies outside is clipped and counted.

        Parameters
        ----------
        statistics : mapping of str to array
            One array for every field of the step, of its shape.

        Returns
        -------
        uint64 array of shape (entries,)
            Offset by the lower bounds; the last entries are the clip count.

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
        for digit in range(self._digits):
            out[at + digit] = (clipped >> (digit * self.value_bits)) & ((1 << self.value_bits) - 1)
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
        clipped = sum(int(sums[at + digit]) << (digit * self.value_bits) for digit in range(self._digits))
        return Total(self.step, integers, contributors, clipped)


def _units(values: npt.NDArray[np.generic], lower: int, upper: int, resolution: float) -> tuple[Integers | Floats, int]:
    """Return the entries in whole units above `lower`, and how many were clipped."""
    if np.issubdtype(values.dtype, np.integer) and resolution == 1.0:
        exact = values.astype(np.int64)
        kept = np.clip(exact, lower, upper)
        return kept - lower, int(np.count_nonzero(kept != exact))
    scaled = values.astype(np.float64) / resolution
    smallest, largest = scaled.min(), scaled.max()  # NaN, if there is one
    if np.isnan(smallest):
        raise DataError("a statistic is not a number")
    outside = 0
    if smallest < lower or largest > upper:
        outside = int(np.count_nonzero((scaled < lower - 0.5) | (scaled > upper + 0.5)))
        np.clip(scaled, lower, upper, out=scaled)
    np.rint(scaled, out=scaled)
    if upper - lower >= EXACT_IN_FLOAT64 or max(abs(lower), abs(upper)) >= EXACT_IN_FLOAT64:
        return scaled.astype(np.int64) - lower, outside
    scaled -= lower
    return scaled, outside
