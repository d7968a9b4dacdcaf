"""Scores that were computed on ciphertexts, and how exact they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.types import Floats


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of some events.

    Parameters
    ----------
    scores : float64 array of shape (n_events,)
        High is anomalous; in the range of `lower` and `upper`. Events of a call with the same readings have the same.
    lower, upper : float64 arrays of shape (n_events,)
        Between them lies what the detector gives in the clear.
    threshold : float
        Above it an event is an outlier.
    """

    scores: Floats
    lower: Floats
    upper: Floats
    threshold: float

    @property
    def outliers(self) -> npt.NDArray[np.bool_]:
        """Whether the score is above the threshold."""
        return self.scores > self.threshold

    @property
    def uncertain(self) -> npt.NDArray[np.bool_]:
        """Whether noise could have put the score on this side of the threshold."""
        return (self.lower <= self.threshold) & (self.threshold < self.upper)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, events: slice) -> Scores:
        return Scores(self.scores[events], self.lower[events], self.upper[events], self.threshold)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.float64]:
        return np.array(self.scores, dtype=dtype, copy=copy)


@dataclass(frozen=True, eq=False)
class Scored(Scores):
    """Scores of all events of a call, and what they took.

    Parameters
    ----------
    batches : int
        Encrypted batches that were scored.
    local : int
        Events that no batch can hold, and that were scored here in the clear instead.
    bytes_up, bytes_down : int
        Sizes of these batches and of their answers.
    """

    batches: int
    local: int
    bytes_up: int
    bytes_down: int

    @classmethod
    def joined(cls, parts: Sequence[Scored], threshold: float) -> Self:
        """Return the scores of several calls as those of one."""

        def all_of(name: str) -> Floats:
            return np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])

        def sum_of(name: str) -> int:
            return sum(getattr(part, name) for part in parts)

        return cls(
            scores=all_of("scores"),
            lower=all_of("lower"),
            upper=all_of("upper"),
            threshold=threshold,
            batches=sum_of("batches"),
            local=sum_of("local"),
            bytes_up=sum_of("bytes_up"),
            bytes_down=sum_of("bytes_down"),
        )
