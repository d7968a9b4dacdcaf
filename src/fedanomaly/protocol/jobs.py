"""One job, folded from its envelopes: who takes part, and its rounds in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from fedanomaly.errors import MessageError, ProtocolError, ReplayError
from fedanomaly.fhe import Ask
from fedanomaly.protocol.epochs import Epoch
from fedanomaly.protocol.messages import Announce, Decline, JobEnd, JobRequest, NextStep, Ready
from fedanomaly.protocol.relations import read_relations
from fedanomaly.protocol.rounds import Round, RoundState

Apply = Callable[[], None]

SELF_TEST = 0
"""Job number of the self-test of a key epoch."""
MAX_REASON = 300


class JobState(Enum):
    """Where a job is; the last three are final."""

    GATHERING = "gathering"
    RUNNING = "running"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    VOID = "void"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in (JobState.ACCEPTED, JobState.REJECTED, JobState.VOID)


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a job stands: its next step, from which state, and what it is tied to."""

    step: int
    state_tag: bytes
    next_step: NextStep
    fixed: tuple[int, ...]
    previous: Round | None


class Job:
    """The fold of one job.

    Parameters
    ----------
    epoch : Epoch
        Its key epoch.
    number : int
        Number within the epoch; 0 is the self-test.
    request : JobRequest or None
        What to train; None for the self-test.
    requested_by : bytes
        Identity of who asked.
    """

    def __init__(self, epoch: Epoch, number: int, request: JobRequest | None, requested_by: bytes) -> None:
        self.epoch = epoch
        self.number = number
        self.request = request
        self.requested_by = requested_by
        self.since = 0.0
        self.ready: dict[int, Ready] = {}
        self.insisted: dict[tuple[bytes, int, tuple[int, ...]], tuple[int, ...]] = {}
        self.declined: dict[int, str] = {}
        self.rounds: list[Round] = []
        self.outcome: JobState | None = None
        self.reason = ""

    @property
    def state(self) -> JobState:
        """Where the job is."""
        if self.outcome:
            return self.outcome
        return JobState.RUNNING if self.rounds else JobState.GATHERING

    @property
    def asked(self) -> JobRequest:
        """The request; raises ProtocolError for the self-test, which nobody asked for."""
        if self.request is None:
            raise ProtocolError("nobody asked for the self-test")
        return self.request

    @property
    def accepted(self) -> list[Round]:
        """The rounds whose sums became current, one for each step."""
        return [entry for entry in self.rounds if entry.state is RoundState.ACCEPTED]

    @property
    def open_round(self) -> Round | None:
        """The round under way, or None."""
        return self.rounds[-1] if self.rounds and not self.rounds[-1].state.final else None

    def answered(self) -> bool:
        """Whether every member said whether it takes part."""
        return len(self.ready.keys() | self.declined.keys()) == self.epoch.members

    def takes_part(self) -> tuple[int, ...]:
        """Return the members that are ready from the same state; the largest such set."""
        sets: dict[tuple[bytes, bytes], list[int]] = {}
        for member in sorted(self.ready.keys() - self.declined.keys()):
            ready = self.ready[member]
            sets.setdefault((ready.state_tag, ready.next_step), []).append(member)
        return tuple(max(sets.values(), key=len, default=[]))

    def adds(self) -> tuple[int, ...]:
        """Return the members of `takes_part` that have rows to add; the others open and vote only."""
        return tuple(member for member in self.takes_part() if self.ready[member].generation)

    def point(self) -> Point | None:
        """Return where the job stands, or None before anybody is ready."""
        accepted = self.accepted
        if not accepted:
            members = self.takes_part()
            if not members:
                return None
            ready = self.ready[members[0]]
            start = NextStep.from_bytes(ready.next_step)
            return Point(step=0, state_tag=ready.state_tag, next_step=start, fixed=(), previous=None)
        last = accepted[-1]
        return Point(
            step=len(accepted),
            state_tag=last.won.state_tag,
            next_step=NextStep.from_bytes(last.won.next_step),
            fixed=accepted[0].contributors,
            previous=last,
        )

    def waiting_for(self) -> tuple[int, ...]:
        """Return the roster indices of whom the job waits for now."""
        if self.state.final:
            return ()
        everybody = range(1, self.epoch.members + 1)
        if self.open_round:
            joining = self.open_round.state in {RoundState.ANNOUNCED, RoundState.JOINING}
            wanted = (self.adds() if joining else self.takes_part()) if self.request else everybody
            return self.open_round.waiting_for(tuple(index for index in wanted if index not in self.declined))
        return tuple(index for index in everybody if index not in self.ready.keys() | self.declined.keys())

    def on_ready(self, member: int, message: Ready) -> Apply:
        """Check that a member says once that it takes part."""
        if self.request is None or self.outcome or member in self.ready:
            raise ReplayError("the member has answered, or the job is over")
        NextStep.from_bytes(message.next_step)
        read_relations(message.relations)
        return lambda: self.ready.__setitem__(member, message)

    def on_decline(self, member: int, message: Decline) -> Apply:
        """Check that a member says once that it takes no part, or no more."""
        if self.outcome or member in self.declined:
            raise ReplayError("the member has answered, or the job is over")
        if len(message.reason) > MAX_REASON:
            raise MessageError(f"a reason has more than {MAX_REASON} characters")
        return lambda: self.declined.__setitem__(member, message.reason)

    def on_announce(self, message: Announce) -> Apply:
        """Check a round: the next one of this job, from where the job stands."""
        ask = Ask.from_bytes(message.ask)
        epoch = self.epoch
        if self.outcome or self.open_round:
            raise ProtocolError("the job is over, or has a round under way")
        same = (ask.epoch, ask.roster, ask.policy, ask.members, ask.threshold, ask.job, ask.round)
        if same != (
            epoch.id,
            epoch.roster_hash,
            epoch.call.policy,
            epoch.members,
            epoch.call.threshold,
            self.number,
            len(self.rounds),
        ):
            raise ProtocolError("the round is not the next one of this job")
        if (self.number == SELF_TEST) != (ask.kind == "test"):
            raise ProtocolError("only the self-test sums zeros")
        if self.request is not None:
            self._check_point(ask)
        new = Round(ask, epoch.call.identities)
        return lambda: self.rounds.append(new)

    def _check_point(self, ask: Ask) -> None:
        point = self.point()
        if point is None:
            raise ProtocolError("nobody is ready for this job")
        told = (ask.step, ask.state_tag, ask.step_tag, ask.schema)
        if told != (point.step, point.state_tag, point.next_step.step_tag, self.asked.schema):
            raise ProtocolError("the round does not start where the job stands")
        size = (int(ask.preset), ask.field_bits, ask.fields)
        if size != (point.next_step.preset, point.next_step.field_bits, point.next_step.fields):
            raise ProtocolError("the round has another size than the members voted for")

    def on_end(self, message: JobEnd) -> Apply:
        """Check the end of a job."""
        if self.outcome or self.open_round:
            raise ProtocolError("the job is over, or has a round under way")
        try:
            outcome = JobState(message.outcome)
        except ValueError:
            raise MessageError("an unknown outcome") from None
        if not outcome.final:
            raise MessageError("an outcome is final")
        if outcome is JobState.ACCEPTED:
            self._check_trained()

        def apply() -> None:
            self.outcome, self.reason = outcome, message.reason

        return apply

    def _check_trained(self) -> None:
        point = self.point()
        if self.request is not None and (point is None or point.step == 0 or not point.next_step.trained):
            raise ProtocolError("the job is not trained")
        if self.request is None and not self.accepted:
            raise ProtocolError("the self-test has not passed")
