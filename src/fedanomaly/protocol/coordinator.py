"""The coordinator: looks at the log and the clock, and moves epochs, jobs and rounds on.

It holds no secret but its own signing key. What it decides is an envelope in
the log, so a restart folds the log again and goes on from there. It cannot
decide what opens: members hold each of its messages against their own rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile

from fedanomaly.errors import MessageError, ProtocolError
from fedanomaly.fhe import Ask, Contribution, DecryptionShare, Manifest, Preset, Source
from fedanomaly.protocol.capabilities import Blobs, Signer, Stored
from fedanomaly.protocol.conductor import NO_TAG, Conductor
from fedanomaly.protocol.envelope import Entry, Envelope, Post, seal
from fedanomaly.protocol.epochs import Epoch, EpochState
from fedanomaly.protocol.jobs import SELF_TEST, Job, JobState, Point
from fedanomaly.protocol.messages import (
    Announce,
    ContributionPost,
    EpochCall,
    JobEnd,
    JobStart,
    Message,
    Roster,
    Statement,
)
from fedanomaly.protocol.rounds import RoundState
from fedanomaly.protocol.settings import Settings, policy_hash
from fedanomaly.protocol.transcript import Transcript

TEST_FIELDS = 64
TEST_FIELD_BITS = 24
MAX_DEAL_BYTES = 4 << 20
WORN_AT = 0.75
SET_UP_S = 300.0
"""How long a set-up may stand still before fresh keys are called for; it doubles with each that came to nothing."""
MAX_DOUBLINGS = 8
STANDSTILLS = (EpochState.ACCEPTING, EpochState.DEALING, EpochState.CONFIRMING)
"""States of a set-up that may never end. Who has not said hello yet may come later: a new call would not help."""


class Coordinator:
    """The coordinator's side of the protocol.

    Parameters
    ----------
    signer : Signer
        The coordinator's identity.
    settings : Settings
        Used to open the log; afterwards the log's own settings stand.
    federation : bytes
        Identifier of the federation, 32 bytes.
    """

    def __init__(self, *, signer: Signer, settings: Settings, federation: bytes) -> None:
        self.transcript = Transcript(federation, signer.public_key)
        self._signer = signer
        self._settings = settings
        self._federation = federation

    @property
    def settings(self) -> Settings:
        """The settings of the log."""
        return self.transcript.settings or self._settings

    def check(self, envelope: Envelope, attachment: Source | None) -> None:
        """Raise unless the envelope is acceptable as the next entry.

        Parameters
        ----------
        envelope : Envelope
            What was received.
        attachment : Source or None
            The bytes that it names; the caller has checked their digest.

        Raises
        ------
        ProtocolError
            If it breaks the rules.
        MessageError
            If it, or its attachment, is malformed.
        """
        self.transcript.check(envelope)
        if envelope.size == 0:
            return
        if attachment is None or attachment.size != envelope.size:
            raise MessageError("the attachment is missing")
        if envelope.kind == "deal" and envelope.size <= MAX_DEAL_BYTES:
            return
        if envelope.kind == "contribution":
            Contribution.check(attachment, self._manifest(ContributionPost.from_bytes(envelope.body).manifest))
        elif envelope.kind == "statement":
            DecryptionShare.check(attachment, self._manifest(Statement.from_bytes(envelope.body).manifest))
        else:
            raise MessageError(f"a {envelope.kind} message of this size has no attachment")

    def accept(self, entry: Entry) -> None:
        """Fold a stored entry."""
        self.transcript.add(entry)

    def act(self, now_s: float, blobs: Blobs) -> Iterator[Post]:
        """Yield what is due, until nothing is; the caller stores and accepts each post first.

        Parameters
        ----------
        now_s : float
            Unix seconds by the clock that stamps entries.
        blobs : Blobs
            Attachments of what was accepted; the sum of a round is stored there.
        """
        while (post := self._due(now_s, blobs)) is not None:
            head = self.transcript.head
            yield post
            if self.transcript.head == head:
                raise ProtocolError("a post must be stored and accepted before the next one")

    def _due(self, now_s: float, blobs: Blobs) -> Post | None:
        log = self.transcript
        if log.settings is None:
            return self._post(self._settings.founded())
        job = log.open_job
        if job:
            return self._job(job, now_s, blobs)
        epoch = log.epoch
        if epoch is None:
            return self._call() if len(log.members) == log.settings.members else None
        if epoch.state is not EpochState.LIVE:
            return self._set_up(epoch, now_s)
        request = next(log.waiting(), None)
        return self._start(epoch, request[0]) if request else None

    def _start(self, epoch: Epoch, request: bytes) -> Post:
        if self._is_worn(epoch):
            return self._call()
        number = 1 + max(job.number for job in self.transcript.jobs if job.epoch is epoch)
        return self._post(JobStart(epoch=epoch.id, job=number, request=request))

    def _is_worn(self, epoch: Epoch) -> bool:
        """Whether jobs have used so much of an epoch's quota that the next one gets fresh keys."""
        if not any(job.number != SELF_TEST for job in self.transcript.jobs if job.epoch is epoch):
            return False  # fresh keys would be worn as soon
        rounds = (entry for entry in self.transcript.rounds.values() if entry.ask.epoch == epoch.id)
        return sum(entry.ask.layout.coefficients for entry in rounds) > WORN_AT * self.settings.quota

    def new_epoch(self) -> Post:
        """Return the call for a new key epoch: after a key was lost or is suspected.

        Raises
        ------
        ProtocolError
            If a job is under way.
        """
        if self.transcript.open_job:
            raise ProtocolError("a key epoch ends between jobs", hint="wait until the job has ended")
        return self._call()

    def _post(self, message: Message, attachment: Stored | None = None) -> Post:
        return seal(self._signer, self._federation, message.kind, message.to_bytes(), attachment)

    def _manifest(self, digest: bytes) -> Manifest:
        return self.transcript.rounds[digest].posted

    # Key epochs

    def _call(self) -> Post:
        settings = self.settings
        return self._post(
            EpochCall(
                number=len(self.transcript.epochs) + 1,
                threshold=settings.threshold,
                policy=policy_hash(settings.members, settings.threshold, settings.quota),
                identities=tuple(self.transcript.members),
            )
        )

    def _set_up(self, epoch: Epoch, now_s: float) -> Post | None:
        if epoch.state is EpochState.CALLED and len(epoch.hellos) == epoch.members:
            hellos = tuple(epoch.hellos[index][1].digest for index in sorted(epoch.hellos))
            return self._post(Roster(call=epoch.digest, hellos=hellos))
        failed = list(takewhile(lambda entry: not entry.tested, reversed(self.transcript.epochs)))
        patience_s = SET_UP_S * 2 ** min(len(failed) - 1, MAX_DOUBLINGS)
        if epoch.state in STANDSTILLS and now_s >= epoch.since + patience_s:
            return self._call()  # a deal does not open, secrets were lost, keys differ: it would wait for ever
        if epoch.state is not EpochState.TESTING:
            return None
        if not any(job.epoch is epoch for job in self.transcript.jobs):
            return self._announce_test(epoch, number=0, passed=0)
        tests = sum(entry.confirmed for entry in failed)
        return self._call() if tests < self.settings.attempts else None

    def _announce_test(self, epoch: Epoch, *, number: int, passed: int) -> Post:
        ask = Ask(
            kind="test",
            preset=list(Preset)[passed],
            members=epoch.members,
            threshold=epoch.call.threshold,
            field_bits=TEST_FIELD_BITS,
            fields=TEST_FIELDS,
            epoch=epoch.id,
            roster=epoch.roster_hash,
            policy=epoch.call.policy,
            job=SELF_TEST,
            round=number,
            step=passed,
            schema=NO_TAG,
            step_tag=NO_TAG,
            state_tag=NO_TAG,
        )
        return self._post(Announce(ask=ask.to_bytes()))

    # Jobs

    def _job(self, job: Job, now_s: float, blobs: Blobs) -> Post | None:
        if job.open_round:
            return Conductor(self.transcript, self.settings, self._post).move(job, job.open_round, now_s, blobs)
        if job.rounds and job.rounds[-1].state is RoundState.REJECTED:
            return self._end(job, JobState.REJECTED, "the members rejected a sum; the state before stands")
        return self._self_test(job) if job.number == SELF_TEST else self._go_on(job, now_s)

    def _go_on(self, job: Job, now_s: float) -> Post | None:
        """Announce the next round of a job that learns, or end it."""
        if not job.rounds and not job.answered() and now_s < job.since + self.settings.join_s:
            return None
        point = job.point()
        if point is None or (not job.rounds and len(job.adds()) < self.settings.least):
            return self._end(job, JobState.VOID, self._too_few(job))
        if point.next_step.trained:
            if job.accepted:
                return self._end(job, JobState.ACCEPTED, "trained")
            return self._end(job, JobState.VOID, "there is nothing to sum")
        tries = len(job.rounds) - job.rounds.index(point.previous) - 1 if point.previous else len(job.rounds)
        over = job.rounds[-1].reason if tries >= self.settings.attempts else self._lost(job, point)
        return self._end(job, JobState.VOID, over) if over else self._announce(job, point)

    def _self_test(self, job: Job) -> Post:
        if len(job.accepted) == len(Preset):
            return self._end(job, JobState.ACCEPTED, "every ring opens what it should")
        if len(job.rounds) - len(job.accepted) >= self.settings.attempts:
            return self._end(job, JobState.VOID, "the self-test did not pass")
        return self._announce_test(job.epoch, number=len(job.rounds), passed=len(job.accepted))

    def _lost(self, job: Job, point: Point) -> str:
        """Return why the job cannot go on without those who declined, or nothing."""
        if point.fixed:
            gone = set(point.fixed) & job.declined.keys()
            return f"the job needs whom it began with ({self._declined(job, gone)})" if gone else ""
        return self._too_few(job) if len(job.adds()) < self.settings.least else ""

    def _too_few(self, job: Job) -> str:
        idle = " and have rows to add" if len(job.adds()) < len(job.takes_part()) else ""
        text = f"{len(job.adds())} members are ready from the same state{idle}, {self.settings.least} are needed"
        return f"{text} ({self._declined(job, job.declined.keys())})" if job.declined else text

    def _declined(self, job: Job, members: Iterable[int]) -> str:
        names = {member: self.transcript.members[job.epoch.call.identities[member - 1]] for member in members}
        return "; ".join(f"{names[member]}: {job.declined[member]}" for member in sorted(names))

    def _announce(self, job: Job, point: Point) -> Post:
        following = point.next_step
        ask = Ask(
            kind="sum",
            preset=Preset(following.preset),
            members=job.epoch.members,
            threshold=job.epoch.call.threshold,
            field_bits=following.field_bits,
            fields=following.fields,
            epoch=job.epoch.id,
            roster=job.epoch.roster_hash,
            policy=job.epoch.call.policy,
            job=job.number,
            round=len(job.rounds),
            step=point.step,
            schema=job.asked.schema,
            step_tag=following.step_tag,
            state_tag=point.state_tag,
        )
        return self._post(Announce(ask=ask.to_bytes()))

    def _end(self, job: Job, outcome: JobState, reason: str) -> Post:
        return self._post(JobEnd(epoch=job.epoch.id, job=job.number, outcome=outcome.value, reason=reason))
