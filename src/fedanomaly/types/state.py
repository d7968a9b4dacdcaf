"""What a detector has learnt: opened integers and declared parameters only."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from fedanomaly.errors import MessageError, VersionError
from fedanomaly.types.arrays import Integers
from fedanomaly.types.canonical import Reader, begin, item, item_int

STATE_VERSION = 1

Made = TypeVar("Made")


def _is_own(array: Integers) -> bool:
    """Whether an array is one that a state has made: nobody can write to it."""
    if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.base is not None:
        return False
    return array.flags.c_contiguous and not array.flags.writeable


def _own(array: Integers) -> Integers:
    copy = np.array(array, dtype=np.int64, order="C")
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class State:
    """A detector's versioned set of named integer arrays.

    Floats are derived from it on use: linear algebra differs from machine to
    machine, opened integers do not, so equal states have equal bytes.

    Parameters
    ----------
    detector : str
        Registered name of the detector.
    version : int
        Version of the detector's algorithm.
    params : mapping of str to JSON value
        Declared parameters.
    arrays : mapping of str to int64 array
        Opened integers. Names sort the canonical form; order does not matter.
    """

    detector: str
    version: int
    params: Mapping[str, Any]
    arrays: Mapping[str, Integers] = field(default_factory=dict)
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        arrays = {}
        for name, array in self.arrays.items():
            arrays[name] = array if _is_own(array) else _own(array)
        object.__setattr__(self, "arrays", MappingProxyType(arrays))
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    def __getitem__(self, name: str) -> Integers:
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return State.from_bytes, (self.to_bytes(),)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, called once for this state and key; it lives as long as the state does."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def with_arrays(self, **arrays: Integers) -> State:
        """Return this state with further arrays; a name is set once."""
        known = set(arrays) & set(self.arrays)
        if known:
            raise ValueError(f"already set: {sorted(known)}")
        return State(self.detector, self.version, self.params, {**self.arrays, **arrays})

    def to_bytes(self) -> bytes:
        """Return the canonical bytes; equal states have equal bytes."""
        params = json.dumps(dict(self.params), sort_keys=True, separators=(",", ":"), allow_nan=False)
        out = begin("state") + item_int("format", STATE_VERSION) + item("detector", self.detector.encode())
        out += item_int("version", self.version) + item("params", params.encode())
        out += item_int("arrays", len(self.arrays))
        for name in sorted(self.arrays):
            array = self.arrays[name]
            shape = b"".join(item_int("length", length) for length in array.shape)
            out += item("name", name.encode()) + item("shape", shape)
            out += item("values", array.astype("<i8").tobytes())
        return out

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """Read what `to_bytes` wrote; anything else raises.

        Raises
        ------
        VersionError
            If the format is one that this version does not know.
        MessageError
            If the bytes are not a state.
        """
        reader = Reader(data)
        if reader.item("version") + reader.item("label") != b"fedanomaly/1state":
            raise MessageError("not a state")
        if reader.int("format") != STATE_VERSION:
            raise VersionError("the state has an unknown format")
        detector, version = reader.text("detector"), reader.int("version")
        arrays: dict[str, Integers] = {}
        try:
            params = json.loads(reader.item("params"))
            for _ in range(reader.int("arrays")):
                name = reader.text("name")
                lengths = Reader(reader.item("shape"))
                shape = []
                while not lengths.done:
                    shape.append(lengths.int("length"))
                values = np.frombuffer(reader.item("values"), dtype="<i8").astype(np.int64)
                arrays[name] = values.reshape(shape)
            reader.end()
            state = cls(detector, version, params, arrays)
        except (ValueError, TypeError):
            raise MessageError("the bytes are not a state") from None
        if state.to_bytes() != data:
            raise MessageError("the bytes are not canonical")
        return state
