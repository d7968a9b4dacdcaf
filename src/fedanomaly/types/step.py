"""What a round sums: named fields with bounds and a resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import ConfigError
from fedanomaly.types.canonical import begin, item, item_int

Statistics = Mapping[str, npt.NDArray[np.generic]]
"""One member's plaintext statistic: an array for every field of a step."""


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One array of a statistic.

    Parameters
    ----------
    name : str
        Unique within its step.
    shape : tuple of int
        Shape of the array.
    lower, upper : int
        Bounds of one member's entries, in units of `resolution`. What falls
        outside is clipped and counted.
    resolution : float, default=1.0
        Size of one quantisation step, in the unit of the statistic. Counts and
        sums of integers have 1 and are exact.
    """

    name: str
    shape: tuple[int, ...]
    lower: int
    upper: int
    resolution: float = 1.0

    def __post_init__(self) -> None:
        if not self.name.isascii() or not self.name:
            raise ConfigError("a field needs an ASCII name")
        if self.lower >= self.upper or self.upper - self.lower >= 1 << 60:
            raise ConfigError(f"field {self.name}: bounds must rise and span less than 2^60")
        if not (self.resolution > 0 and math.isfinite(self.resolution)):
            raise ConfigError(f"field {self.name}: the resolution must be positive")
        if any(length < 1 for length in self.shape):
            raise ConfigError(f"field {self.name}: the shape has an empty axis")

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def value_bits(self) -> int:
        """Bits of one quantised entry, offset removed."""
        return (self.upper - self.lower).bit_length()


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one round sums.

    Parameters
    ----------
    name : str
        Stable name, such as ``"scale/coarse"``.
    fields : tuple of FieldSpec
        In the order in which they are packed.
    """

    name: str
    fields: tuple[FieldSpec, ...]

    def __post_init__(self) -> None:
        if not self.fields or len({field.name for field in self.fields}) != len(self.fields):
            raise ConfigError(f"step {self.name}: needs fields with different names")

    @property
    def size(self) -> int:
        """Number of entries of all fields."""
        return sum(field.size for field in self.fields)

    def canonical(self) -> bytes:
        """Return the bytes whose keyed tag members compare before they join."""
        out = begin("step") + item("name", self.name.encode())
        for field in self.fields:
            shape = b"".join(item_int("length", length) for length in field.shape)
            out += item("field", field.name.encode()) + item("shape", shape)
            out += item("lower", str(field.lower).encode()) + item("upper", str(field.upper).encode())
            out += item("resolution", field.resolution.hex().encode())
        return out
