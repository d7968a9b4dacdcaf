"""The fold of the ordered table: the same at the coordinator and at every member.

`check` holds an envelope against everything before it: signature, the right of
its sender, its place. `add` folds it. Nothing in here is secret, and nothing in
here is believed where a secret is at stake: a member's own rules stand on its
own ledger (`rules`), whatever log it is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

from fedanomaly.errors import MessageError, ProtocolError, ReplayError, VersionError
from fedanomaly.protocol.envelope import Entry, Envelope
from fedanomaly.protocol.epochs import Epoch, EpochState
from fedanomaly.protocol.jobs import SELF_TEST, Job
from fedanomaly.protocol.messages import (
    KINDS,
    Abandon,
    Announce,
    Close,
    Confirm,
    ContributionPost,
    Deal,
    Decline,
    Enrol,
    EpochCall,
    Founded,
    Hello,
    JobEnd,
    JobRequest,
    JobStart,
    Join,
    ManifestPost,
    Message,
    Objection,
    Opened,
    Outcome,
    Ready,
    Roster,
    RosterAccept,
    Statement,
    Vote,
)
from fedanomaly.protocol.rounds import Round
from fedanomaly.protocol.settings import Settings, policy_hash
from fedanomaly.types.canonical import begin, item

Apply = Callable[[], None]
FROM_COORDINATOR = (
    Founded, EpochCall, Roster, JobStart, Announce, ManifestPost, Close, Abandon, Opened, Outcome, JobEnd,
)  # fmt: skip
MAX_WAITING_REQUESTS = 16
"""Requests of one member that may wait for a job at a time."""
MAX_NAME, MAX_PARAMS = 200, 16_384
PHASES = frozenset({"announce", "manifest", "close", "abandon", "opened"})
"""Messages after which a round waits for its members anew."""

SET_UP = frozenset({"epoch-call", "hello", "roster", "roster-accept", "deal", "confirm", "job-end"})
"""Messages after which a set-up, its self-test included, waits anew."""


class Transcript:
    """Everything that a federation's log says.

    Parameters
    ----------
    federation : bytes
        Identifier of the federation, 32 bytes.
    coordinator : bytes
        Public key of the coordinator, pinned at enrolment.
    """

    def __init__(self, federation: bytes, coordinator: bytes) -> None:
        self.federation = federation
        self.coordinator = coordinator
        self.head = 0
        self.settings: Settings | None = None
        self.members: dict[bytes, str] = {}
        self.epochs: list[Epoch] = []
        self.requests: dict[bytes, tuple[JobRequest, bytes]] = {}
        self.jobs: list[Job] = []
        self.since = 0.0
        self._digests: set[bytes] = set()
        self._chain = [hashlib.sha256(begin("log") + item("federation", federation)).digest()]
        self._by_ask: dict[bytes, Round] = {}
        self._by_manifest: dict[bytes, Round] = {}

    @property
    def epoch(self) -> Epoch | None:
        """The newest key epoch, or None."""
        return self.epochs[-1] if self.epochs else None

    @property
    def live(self) -> Epoch | None:
        """The key epoch that jobs run in, or None."""
        epoch = self.epoch
        return epoch if epoch and epoch.state is EpochState.LIVE else None

    @property
    def open_job(self) -> Job | None:
        """The job under way, or None; the self-test is one."""
        return next((job for job in self.jobs if not job.state.final), None)

    def waiting(self) -> Iterator[tuple[bytes, JobRequest, bytes]]:
        """Yield requests that have no job yet: digest, request and identity of who asked."""
        started = {id(job.request) for job in self.jobs}
        for digest, (request, identity) in self.requests.items():
            if id(request) not in started:
                yield digest, request, identity

    def job_of(self, request: bytes) -> Job | None:
        """Return the job of a request's 16 random bytes, or None."""
        return next((job for job in self.jobs if job.request and job.request.request == request), None)

    @property
    def rounds(self) -> Mapping[bytes, Round]:
        """All rounds that have a manifest, by its hash."""
        return self._by_manifest

    @property
    def quota_used(self) -> float:
        """Share of the newest key epoch's quota that its rounds have used, in [0, 1]."""
        epoch = self.epoch
        if epoch is None or self.settings is None or not epoch.complete:
            return 0.0
        rounds = (entry for entry in self._by_manifest.values() if entry.ask.epoch == epoch.id)
        return sum(entry.ask.layout.coefficients for entry in rounds) / self.settings.quota

    def has(self, digest: bytes) -> bool:
        """Whether an envelope is in the log."""
        return digest in self._digests

    def check(self, envelope: Envelope) -> Apply:
        """Return what folding the envelope would change; raises if it is not acceptable.

        Raises
        ------
        ReplayError
            If it was there before, or something is said twice.
        VersionError
            If its kind is unknown here.
        ProtocolError
            If the sender may not say this, or not now.
        """
        if envelope.federation != self.federation:
            raise ProtocolError("the envelope belongs to another federation")
        if envelope.kind not in KINDS:
            raise VersionError(f"the message kind {envelope.kind[:40]!r} is not known here", hint="upgrade this side")
        if self.has(envelope.digest):
            raise ReplayError("the envelope is in the log already")
        envelope.verify()
        message = KINDS[envelope.kind].from_bytes(envelope.body)
        if isinstance(message, FROM_COORDINATOR) != (envelope.sender == self.coordinator):
            raise ProtocolError(f"the sender may not post a {envelope.kind} message")
        if (self.settings is None) != isinstance(message, Founded):
            raise ProtocolError("a log is opened once, and first")
        return self._dispatch(message, envelope)

    def add(self, entry: Entry) -> None:
        """Fold the next entry; raises, and changes nothing, if it is not acceptable."""
        if entry.seq != self.head + 1:
            raise ProtocolError(f"entry {entry.seq} does not follow entry {self.head}")
        apply = self.check(entry.envelope)
        apply()
        self._after(entry)

    def skip(self, entry: Entry) -> None:
        """Pass over an entry that was refused, so that the next one follows."""
        if entry.seq == self.head + 1:
            self._advance(entry)

    def chain(self, seq: int) -> bytes:
        """Return the hash of the log up to position `seq`, refused entries included.

        Two logs with the same hash at a position are the same up to there.

        Raises
        ------
        ProtocolError
            If the log is not folded up to there.
        """
        if not 0 <= seq <= self.head:
            raise ProtocolError(f"the log is not folded up to entry {seq}")
        return self._chain[seq]

    def _advance(self, entry: Entry) -> None:
        link = begin("log entry") + item("before", self._chain[-1]) + item("entry", entry.envelope.digest)
        self._chain.append(hashlib.sha256(link).digest())  # before the head moves: other threads ask by it
        self.head = entry.seq

    def _after(self, entry: Entry) -> None:
        self._advance(entry)
        self.since = entry.received_at
        self._digests.add(entry.envelope.digest)
        if self.epochs and entry.envelope.kind in SET_UP:
            self.epochs[-1].since = entry.received_at
        if self.jobs:
            job = self.jobs[-1]
            if job.since == 0.0 or entry.envelope.kind == "outcome":
                job.since = entry.received_at
            if job.rounds and entry.envelope.kind in PHASES:
                job.rounds[-1].since = entry.received_at
                if entry.envelope.kind == "announce":
                    job.rounds[-1].began = entry.received_at
            if job.rounds and entry.envelope.kind == "outcome":
                job.rounds[-1].ended = entry.received_at

    def _dispatch(self, message: Message, envelope: Envelope) -> Apply:  # noqa: PLR0911, PLR0912 (the map of all messages)
        match message:
            case Founded():
                settings = Settings.of(message)
                return lambda: setattr(self, "settings", settings)
            case Enrol():
                return self._enrol(message, envelope)
            case EpochCall():
                return self._call(message, envelope)
            case Hello():
                epoch, member = self._called(message.call, envelope)
                return epoch.on_hello(member, message, envelope)
            case Roster():
                return self._newest(message.call).on_roster(message)
            case RosterAccept():
                epoch, member = self._seat(envelope)
                return epoch.on_accept(member, message)
            case Deal():
                epoch, member = self._seat(envelope)
                return epoch.on_deal(member, message, envelope)
            case Confirm():
                epoch, member = self._seat(envelope)
                return epoch.on_confirm(member, message)
            case Objection():
                epoch, member = self._seat(envelope)
                return epoch.on_objection(member, message)
            case JobRequest():
                return self._request(message, envelope)
            case JobStart():
                return self._start(message)
            case Ready() | Decline():
                epoch, member = self._seat(envelope)
                job = self._job(message.epoch, message.job)
                return job.on_ready(member, message) if isinstance(message, Ready) else job.on_decline(member, message)
            case Announce():
                return self._announce(message)
            case JobEnd():
                return self._end(message)
            case _:
                return self._in_round(message, envelope)

    def _in_round(self, message: Message, envelope: Envelope) -> Apply:  # noqa: PLR0911 (the map of a round)
        match message:
            case Join():
                round_ = self._asked(message.ask)
                return round_.on_join(round_.index_of(envelope.sender), message)
            case ManifestPost():
                return self._manifest(message)
            case ContributionPost():
                round_ = self._of(message.manifest)
                return round_.on_contribution(round_.index_of(envelope.sender), message, envelope)
            case Close():
                return self._of(message.manifest).on_close(message)
            case Abandon():
                return self._of(message.manifest).on_abandon(message)
            case Statement():
                round_ = self._of(message.manifest)
                return round_.on_statement(round_.index_of(envelope.sender), message, envelope)
            case Opened():
                return self._of(message.manifest).on_opened(message, envelope)
            case Vote():
                round_ = self._of(message.manifest)
                return round_.on_vote(round_.index_of(envelope.sender), message)
            case Outcome():
                return self._asked(message.ask).on_outcome(message)
            case _:
                raise MessageError("a message without a place")

    def _enrol(self, message: Enrol, envelope: Envelope) -> Apply:
        if envelope.sender in self.members:
            raise ReplayError("this identity is enrolled already")
        if message.name in self.members.values():
            raise ProtocolError("an organisation of this name is enrolled already")
        if self.settings and len(self.members) >= self.settings.members:
            raise ProtocolError("the federation is complete")
        if not 1 <= len(message.name) <= 100 or not message.name.isprintable():
            raise MessageError("an organisation's name has 1 to 100 printable characters")
        return lambda: self.members.__setitem__(envelope.sender, message.name)

    def _call(self, message: EpochCall, envelope: Envelope) -> Apply:
        settings = self.settings
        if settings is None or message.number != len(self.epochs) + 1 or self.open_job:
            raise ProtocolError("a key epoch follows the one before, between jobs")
        if len(message.identities) != settings.members or set(message.identities) != set(self.members):
            raise ProtocolError("the roster is not who is enrolled")
        if message.threshold != settings.threshold:
            raise ProtocolError("the decryption threshold is another one")
        if message.policy != policy_hash(settings.members, settings.threshold, settings.quota):
            raise ProtocolError("the policy is another one")

        def apply() -> None:
            for epoch in self.epochs:
                epoch.ended = True
            self.epochs.append(Epoch(message, envelope.digest))

        return apply

    def _request(self, message: JobRequest, envelope: Envelope) -> Apply:
        if envelope.sender not in self.members:
            raise ProtocolError("only members ask for jobs")
        if any(request.request == message.request for request, _ in self.requests.values()):
            raise ReplayError("this job was asked for before")
        if sum(identity == envelope.sender for _, _, identity in self.waiting()) >= MAX_WAITING_REQUESTS:
            raise ProtocolError(f"{MAX_WAITING_REQUESTS} requests of this member wait already")
        if len(message.request) != 16 or not message.model or not message.dataset:
            raise MessageError("a job has a model, a data set and 16 random bytes")
        if max(len(message.model), len(message.dataset), len(message.detector)) > MAX_NAME:
            raise MessageError(f"a name has more than {MAX_NAME} characters")
        if len(message.params) > MAX_PARAMS:
            raise MessageError(f"the parameters have more than {MAX_PARAMS} characters")
        return lambda: self.requests.__setitem__(envelope.digest, (message, envelope.sender))

    def _start(self, message: JobStart) -> Apply:
        epoch = self.live
        if epoch is None or message.epoch != epoch.id or self.open_job:
            raise ProtocolError("a job starts in a live key epoch, one at a time")
        request = next((entry for entry in self.waiting() if entry[0] == message.request), None)
        if request is None or message.job != 1 + max(job.number for job in self.jobs if job.epoch is epoch):
            raise ProtocolError("no such request, or not the next job number")
        return lambda: self.jobs.append(Job(epoch, message.job, request[1], request[2]))

    def _announce(self, message: Announce) -> Apply:
        epoch = self.epoch
        if epoch is None or not epoch.confirmed:
            raise ProtocolError("no key epoch is set up")
        job = next((job for job in self.jobs if job.epoch is epoch and not job.state.final), None)
        started = job or Job(epoch, SELF_TEST, None, self.coordinator)
        if job is None and epoch.tested:
            raise ProtocolError("no job is under way")
        apply = started.on_announce(message)

        def add() -> None:
            apply()
            if job is None:
                self.jobs.append(started)
            self._by_ask[started.rounds[-1].ask.digest] = started.rounds[-1]

        return add

    def _manifest(self, message: ManifestPost) -> Apply:
        job = self.open_job
        current = job.open_round if job else None
        if current is None:
            raise ProtocolError("no round is under way")
        apply = current.on_manifest(message)

        def add() -> None:
            apply()
            self._by_manifest[current.posted.hash] = current

        return add

    def _end(self, message: JobEnd) -> Apply:
        job = self._job(message.epoch, message.job)
        apply = job.on_end(message)

        def end() -> None:
            apply()
            if job.number == SELF_TEST and job.state.value == "accepted":
                job.epoch.tested = True

        return end

    def _called(self, call: bytes, envelope: Envelope) -> tuple[Epoch, int]:
        epoch = self._newest(call)
        return epoch, epoch.index_of(envelope.sender)

    def _newest(self, call: bytes) -> Epoch:
        if self.epoch is None or self.epoch.digest != call:
            raise ProtocolError("no such call for a key epoch")
        return self.epoch

    def _seat(self, envelope: Envelope) -> tuple[Epoch, int]:
        if self.epoch is None:
            raise ProtocolError("no key epoch was called")
        return self.epoch, self.epoch.index_of(envelope.sender)

    def _job(self, epoch: bytes, number: int) -> Job:
        for job in reversed(self.jobs):
            if job.number == number and job.epoch.id == epoch:
                return job
        raise ProtocolError("no such job")

    def _asked(self, ask: bytes) -> Round:
        if ask not in self._by_ask:
            raise ProtocolError("no such round")
        return self._by_ask[ask]

    def _of(self, manifest: bytes) -> Round:
        if manifest not in self._by_manifest:
            raise ProtocolError("no such manifest")
        return self._by_manifest[manifest]
