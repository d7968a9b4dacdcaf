"""What a node notes of the steps of its jobs: their names, and what the opened sums tell of the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from fedanomaly.detectors.progress import Progress, clipped_in
from fedanomaly.protocol import Learner, Relation, Rows
from fedanomaly.types import State, Statistics, Step, Total

_ROW = "node/step"
_REQUEST_BYTES = 16

OnStep = Callable[[Step], None]
OnTotal = Callable[[Step, Total, State], None]


class Noting:
    """A learner that has its steps noted.

    Parameters
    ----------
    learner : Learner
        Does the work.
    begun : callable
        Called with every step before its statistic is computed.
    opened : callable
        Called with every opened sum, and the state before it, once it is merged.
    """

    def __init__(self, learner: Learner, begun: OnStep, opened: OnTotal) -> None:
        self._learner = learner
        self._begun = begun
        self._opened = opened

    @property
    def generation(self) -> int:
        """As the learner's."""
        return self._learner.generation

    @property
    def schema(self) -> bytes:
        """As the learner's."""
        return self._learner.schema

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:
        """As the learner's."""
        return self._learner.relations(summed, copied)

    def start(self) -> State:
        """As the learner's."""
        return self._learner.start()

    def next_step(self, state: State) -> Step | None:
        """As the learner's."""
        return self._learner.next_step(state)

    def local(self, step: Step, state: State) -> Statistics:
        """As the learner's."""
        self._begun(step)
        return self._learner.local(step, state)

    def merge(self, step: Step, total: Total, state: State) -> State:
        """As the learner's."""
        merged = self._learner.merge(step, total, state)
        self._opened(step, total, state)
        return merged

    def scores_are_finite(self, state: State) -> bool:
        """As the learner's."""
        return self._learner.scores_are_finite(state)


class StepNote(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a job.

    Parameters
    ----------
    name : str
        What was summed.
    clipped : int or None
        Entries, over all members, that lay outside their bounds; None until the sum is opened.
    progress_name, progress : str, float or None
        A figure that settles while an iterative detector learns.
    """

    name: str
    clipped: int | None = None
    progress_name: str | None = None
    progress: float | None = None


class StepNotes:
    """The notes of all jobs; what an opened sum tells outlives a restart.

    Parameters
    ----------
    rows : Rows
        Where they are kept.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._notes: dict[bytes, dict[str, StepNote]] = {}
        for key, value in rows.all(_ROW):
            self._keep(key[:_REQUEST_BYTES], msgspec.json.decode(value, type=StepNote))

    def begun(self, request: bytes, step: Step) -> None:
        """Note that a step of a job is computed; all members come to the steps in one order."""
        self._notes.setdefault(request, {}).setdefault(step.name, StepNote(name=step.name))

    def opened(self, request: bytes, step: Step, total: Total, progress: Progress | None) -> None:
        """Note what an opened sum tells."""
        key = request + step.name.encode()
        if self._rows.get(_ROW, key) is not None:  # opened again after a restart
            return
        note = StepNote(
            name=step.name,
            clipped=clipped_in(total),
            progress_name=progress.name if progress else None,
            progress=progress.value if progress else None,
        )
        self._rows.put([(_ROW, key, msgspec.json.encode(note))])
        self._keep(request, note)

    def of(self, request: bytes) -> list[StepNote]:
        """Return the steps of a job so far, in their order."""
        return list(self._notes.get(request, {}).values())

    def _keep(self, request: bytes, note: StepNote) -> None:
        self._notes.setdefault(request, {})[note.name] = note
