"""What happened in the rounds of a simulated job: who, how much, how long, and how far they came."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from fedanomaly.detectors.progress import Progress, clipped_in
from fedanomaly.node.notes import Noting
from fedanomaly.protocol import Entry, Learner, Round, RoundState
from fedanomaly.protocol.messages import Announce, Outcome
from fedanomaly.types import State, Step, Total

OnTotal = Callable[[Step, Total, State], Progress | None]
"""Says how far an opened sum has come, of the state before it is merged."""


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One round of a job.

    Parameters
    ----------
    step : str
        What was summed.
    accepted : bool
        Whether the sum became current; a round that was not is tried again, or ends the job.
    contributors : tuple of int
        Numbers of the parts that are in the sum.
    bytes_up : int
        Bytes of ciphertexts that the member with the largest upload sent.
    bytes_down : int
        Bytes of the opened sum, which every member fetches.
    seconds : float
        From its announcement to its end, all members' work in one process.
    clipped : int
        Entries, over all members, that lay outside their bounds.
    progress : Progress or None
        How far an iterative detector has come; None where a step does not tell.
    """

    step: str
    accepted: bool
    contributors: tuple[int, ...]
    bytes_up: int
    bytes_down: int
    seconds: float
    clipped: int
    progress: Progress | None


class Notes:
    """Notes what the members' learners do and when rounds begin and end.

    Parameters
    ----------
    on_total : callable
        Says how far an opened sum has come.
    """

    def __init__(self, on_total: OnTotal) -> None:
        self._on_total = on_total
        self._steps: dict[str, tuple[int, Progress | None]] = {}
        self._times_s: list[float] = []

    def watch(self, entry: Entry) -> None:
        """Note when a round begins and ends."""
        if entry.envelope.kind in {Announce.kind, Outcome.kind}:
            self._times_s.append(time.perf_counter())

    def noting(self, learner: Learner) -> Noting:
        """Return a learner that does the same, and has it noted."""
        return Noting(learner, self.begun, self.opened)

    def begun(self, step: Step) -> None:
        """Note the name of a step: all members come to them in one order."""
        self._steps.setdefault(step.name, (0, None))

    def opened(self, step: Step, total: Total, state: State) -> None:
        """Note what a sum tells."""
        self._steps[step.name] = clipped_in(total), self._on_total(step, total, state)

    def history(self, rounds: Sequence[Round]) -> tuple[RoundRecord, ...]:
        """Return the record of a job's rounds; those of the self-test came before, and only the last times count."""
        times_s = self._times_s[-2 * len(rounds) :]
        spans_s = [end - begin for begin, end in zip(times_s[::2], times_s[1::2], strict=True)]
        return tuple(self._record(round_, span_s) for round_, span_s in zip(rounds, spans_s, strict=True))

    def _record(self, round_: Round, seconds: float) -> RoundRecord:
        step = list(self._steps)[round_.ask.step]
        clipped, progress = self._steps[step]
        sent = {index: envelope.size for index, envelope in round_.contributions.items()}
        for index, (_, envelope) in round_.statements.items():
            sent[index] = sent.get(index, 0) + envelope.size
        return RoundRecord(
            step=step,
            accepted=round_.state is RoundState.ACCEPTED,
            contributors=tuple(index - 1 for index in round_.contributors),
            bytes_up=max(sent.values(), default=0),
            bytes_down=round_.opened.size if round_.opened else 0,
            seconds=seconds,
            clipped=clipped,
            progress=progress,
        )


def table_of(history: Sequence[RoundRecord]) -> Table:
    """Return rounds as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "state", "parts", "sent", "fetched", "seconds", "clipped"):
        table.add_column(column, justify="left" if column in {"step", "state"} else "right")
    table.add_column("progress")
    for entry in history:
        table.add_row(
            entry.step,
            "accepted" if entry.accepted else "not accepted",
            str(len(entry.contributors)),
            f"{entry.bytes_up:,}",
            f"{entry.bytes_down:,}",
            f"{entry.seconds:.2f}",
            str(entry.clipped),
            str(entry.progress or ""),
        )
    return table
