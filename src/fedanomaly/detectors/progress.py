"""How far the rounds of a detector have come, by a figure that follows from opened sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from fedanomaly.detectors.learning import Learning
from fedanomaly.types import State, Step, Total


@dataclass(frozen=True)
class Progress:
    """One figure that settles while a detector learns; only its change from round to round counts.

    Parameters
    ----------
    name : str
        What it is, such as "mean loss".
    value : float
        Of the parameters that the round was summed with.
    """

    name: str
    value: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:.6g}"


class Progressing(ABC):
    """A stage whose rounds come closer to something."""

    @abstractmethod
    def progress(self, total: Total, state: State) -> Progress | None:
        """Return how far the rounds have come, or None where a step does not tell.

        Parameters
        ----------
        total : Total
            The opened sum.
        state : State
            Before it is merged.
        """


class Staged(Learning, Protocol):
    """A detector, or a trained one anew, by its stages."""

    def stage_of(self, step: Step, state: State) -> object:
        """Return the stage of a step."""
        ...


def progress_of(learning: Staged, step: Step, total: Total, state: State) -> Progress | None:
    """Return how far a step has come.

    Parameters
    ----------
    learning : Detector or Refresh
        What is trained.
    step : Step
        What `next_step` returned for `state`.
    total : Total
        The opened sum.
    state : State
        Before it is merged.
    """
    stage = learning.stage_of(step, state)
    return stage.progress(total, state) if isinstance(stage, Progressing) else None


def clipped_in(total: Total) -> int:
    """Return how many entries of all members lay outside their bounds, those of a bundle's detectors included."""
    inner = int(total["clipped"][0]) if "clipped" in total.integers else 0
    return total.clipped + inner
