"""What a detector is made of: stages that sum, and a scorer that follows from the sums."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from fedanomaly.types import Circuit, Floats, Integers, State, Statistics, Step, Total

if TYPE_CHECKING:  # which has steps, and so comes from here
    from fedanomaly.detectors.scaling import Scale


class Stage(Protocol):
    """Some steps of a job that belong together; their names start with ``prefix/``."""

    prefix: str

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once the stage is done; follows from the state alone."""
        ...

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return one member's plaintext statistic."""
        ...

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the state that holds the opened integers of `total`; pure."""
        ...


class LabelledStage(ABC):
    """A stage whose `local` takes labels as well: 1 for an anomaly, 0 for a normal row."""

    prefix: ClassVar[str]

    @abstractmethod
    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, as `Stage` does."""

    @abstractmethod
    def local(self, step: Step, X: Floats, state: State, y: Integers) -> Statistics:
        """Return one member's plaintext statistic; `y` has shape (n_samples,)."""

    @abstractmethod
    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the state that holds the opened integers of `total`; pure."""


class CarryingStage(ABC):
    """A stage whose `local` gives digits: sums of those of several batches have to be carried."""

    @abstractmethod
    def carried(self, summed: Statistics, state: State, batches: int) -> Statistics:
        """Return what `local` gives of all rows, from the sums of what it gives of so many batches of them."""


class Scorer(Protocol):
    """A learnt model, derived from the opened integers of a state."""

    def scores(self, X: Floats) -> Floats:
        """Return the score of every row, at least 0 and finite; NaN is a missing reading."""
        ...

    def shares(self, X: Floats) -> Floats:
        """Return what every feature adds to the score of every row."""
        ...


@runtime_checkable
class EncryptableScorer(Scorer, Protocol):
    """A scorer whose work on the readings is a circuit; what comes before and after stays with who owns the rows."""

    def circuit(self) -> Circuit:
        """Return what is computed on ciphertexts."""
        ...

    @property
    def scale(self) -> Scale:
        """What turns raw rows into readings; of rows that lie within `Scale.usual`, nothing else does."""
        ...

    def readings(self, X: Floats) -> Floats:
        """Return what the circuit takes, shape (n_samples, n_features), magnitudes of at most 64."""
        ...

    outputs_suffice: ClassVar[bool]
    """Whether `combined` takes no notice of the readings."""

    def combined(self, outputs: Floats, readings: Floats) -> Floats:
        """Return the scores from the outputs, shape (n_samples, n_outputs).

        It rises with every output, so that bounds of these give bounds of the score.
        """
        ...
