"""The coordinator as a running service: one log, one lock, one fold.

Everything that changes the log happens under one lock, in this order: check
against the fold, make the attachment durable, append durably, fold, then append
whatever the protocol says is due now. What is in memory is only the fold of the
log, so a process that was killed anywhere in between starts from the log again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import structlog

from fedanomaly.coordinator.clock import ForwardClock
from fedanomaly.coordinator.home import Home
from fedanomaly.coordinator.metrics import Metrics
from fedanomaly.coordinator.progress import status_of
from fedanomaly.coordinator.recent import Recent
from fedanomaly.errors import FedAnomalyError, InvitationError, RefusedError, ReplayError, UnavailableError
from fedanomaly.protocol import NO_ATTACHMENT, Coordinator, Enrol, Entry, Envelope, Post, Transcript, unneeded
from fedanomaly.storage import BlobStore
from fedanomaly.storage.envelopes import EnvelopeLog, Record
from fedanomaly.storage.invited import Invited
from fedanomaly.transport.invitations import secret_hash
from fedanomaly.transport.verification import RequestVerifier
from fedanomaly.transport.wire import (
    API_VERSION,
    MAX_FEED_BYTES,
    MAX_WAIT_S,
    PART_BYTES,
    Enrolment,
    FederationInfo,
    Feed,
    FeedEntry,
    Status,
)

TICK_S = 0.5
WAKE_S = 0.05
"""How long those who wait for news may stay in the dark about what another member said."""
FEED_ENTRIES = 500
FOLD_ENTRIES = 200
MAX_WAITING_OF_ONE_MEMBER = 8
STAGED_BLOBS = 4
SWEEP_S = 600.0

log = structlog.get_logger("fedanomaly.coordinator")


class Service:
    """Hosts `protocol.Coordinator` on a log and a blob store; made by `open`.

    Parameters
    ----------
    home : Home
        Paths, settings, identity.
    envelopes : EnvelopeLog
        The log.
    clock : callable
        Seconds since the Unix epoch.
    metrics : Metrics
        What it counts.
    """

    def __init__(self, home: Home, envelopes: EnvelopeLog, clock: Callable[[], float], metrics: Metrics) -> None:
        config = home.config
        self.blobs = BlobStore(
            home.blobs_path,
            part_bytes=PART_BYTES,
            max_blob_bytes=config.max_blob_bytes,
            max_staged_bytes=STAGED_BLOBS * config.max_blob_bytes,
        )
        self._coordinator = Coordinator(signer=home.identity, settings=config.settings, federation=home.federation)
        self.verifier = RequestVerifier(home.federation, self.transcript.members.__contains__, clock)
        self._home = home
        self._envelopes = envelopes
        self._invited = Invited(home.database_path)
        self._now = ForwardClock(clock)
        self._lock = asyncio.Lock()
        self._recent = Recent(max_entries=FEED_ENTRIES, max_bytes=MAX_FEED_BYTES)
        self._grown = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._stopping = False
        self._trouble = ""
        self._waiting: Counter[bytes] = Counter()
        self._seen: dict[bytes, float] = {}
        self._swept_at = 0.0
        self._metrics = metrics
        metrics.watch(home, self.transcript, self._waiting.total)

    @classmethod
    async def open(cls, home: Home, clock: Callable[[], float] = time.time, metrics: Metrics | None = None) -> Self:
        """Open the home's log, fold it, and append what is due."""
        envelopes = await EnvelopeLog.open(home.database_path)
        try:
            service = cls(home, envelopes, clock, metrics or Metrics())
            try:
                await service._catch_up()
                await service.tick()
            except BaseException:
                service._invited.close()
                raise
        except BaseException:
            await envelopes.close()
            raise
        log.info("opened", head=service.transcript.head, members=len(service.transcript.members))
        return service

    async def close(self) -> None:
        """Let waiting members go, and close the log."""
        self.stop_waiting()
        async with self._lock:
            self._wake()
            self._invited.close()
            await self._envelopes.close()

    def stop_waiting(self) -> None:
        """Answer everybody who waits for the log to grow, and let nobody wait from now on."""
        self._stopping = True
        self._grown.set()

    @property
    def transcript(self) -> Transcript:
        """The fold of the log."""
        return self._coordinator.transcript

    def info(self) -> FederationInfo:
        """Return who this is; everybody may ask."""
        settings = self._coordinator.settings
        return FederationInfo(
            version=API_VERSION,
            federation=self._home.federation,
            coordinator=self._home.identity.public_key,
            name=settings.name,
            members=settings.members,
            threshold=settings.threshold,
            enrolled=len(self.transcript.members),
            max_blob_bytes=self.blobs.max_blob_bytes,
        )

    async def status(self) -> Status:
        """Return the federation at a glance."""
        async with self._lock:
            return status_of(self.transcript)

    async def check_ready(self) -> None:
        """Raise unless requests can be served."""
        if self._stopping:
            raise UnavailableError("the service stops")
        await self._envelopes.head()

    async def feed(self, member: bytes, after: int, wait_s: float) -> Feed:
        """Return what follows position `after`; wait for it, but not for ever."""
        if after >= self._recent.head:
            self._seen[member] = self._now()
        if wait_s > 0 and self._waiting[member] < MAX_WAITING_OF_ONE_MEMBER:
            self._waiting[member] += 1
            try:
                async with asyncio.timeout(min(wait_s, MAX_WAIT_S)):
                    while self._recent.head == after and not self._stopping:  # who is ahead must hear so at once
                        await self._grown.wait()
            except TimeoutError:
                pass
            finally:
                self._waiting[member] -= 1
        records = self._recent.after(after)
        if records is None:
            records = await self._envelopes.read(after, FEED_ENTRIES, limit_bytes=MAX_FEED_BYTES)
        # What is stored and not folded yet is nobody's business: the next question would be ahead of the fold.
        head = self._recent.head
        entries = tuple(FeedEntry(seq=r.seq, received_at=r.received_at, data=r.data) for r in records if r.seq <= head)
        return Feed(head=head, entries=entries, chain=self.transcript.chain(after) if after <= head else b"")

    async def post(self, member: bytes, data: bytes) -> int:
        """Append a member's envelope and return its position; the same again is fine.

        Raises
        ------
        RefusedError
            If it is not the member's own, or of a kind that does not come this way.
        NotFoundError
            If its attachment was not uploaded.
        FedAnomalyError
            Whatever the protocol has against it.
        """
        envelope = Envelope.from_bytes(data)
        if envelope.sender != member:
            raise RefusedError("a member posts its own envelopes only")
        if envelope.kind == Enrol.kind:
            raise RefusedError("an enrolment comes with an invitation")
        async with self._lock:
            seq = await self._envelopes.find(envelope.digest)
            if seq is None:
                await asyncio.to_thread(self._check, envelope)
                seq = await self._append(envelope)
                await self._advance()
        return seq

    async def enrol(self, enrolment: Enrolment) -> int:
        """Spend an invitation on an enrolment and return its position; the same again is fine.

        Raises
        ------
        InvitationError
            If the invitation is unknown, used, expired, or for another name.
        """
        envelope = Envelope.from_bytes(enrolment.envelope)
        if envelope.kind != Enrol.kind or envelope.attachment != NO_ATTACHMENT:
            raise RefusedError("an invitation admits an enrolment only")
        hashed = secret_hash(enrolment.secret)
        # Before the lock: a stranger who guesses holds nobody up. The transaction asks again.
        if not self._invited.has(hashed):
            hint = "there is no such invitation; ask the coordinator's operator for a new one"
            raise InvitationError("an enrolment was refused", hint=hint)
        try:
            name = await self._envelopes.admits(hashed, envelope.sender, envelope.digest, self._now())
        except (RefusedError, ReplayError) as error:
            hint = f"{error.args[0]}; ask the coordinator's operator for a new one"
            raise InvitationError("an enrolment was refused", hint=hint) from None
        if Enrol.from_bytes(envelope.body).name != name:
            raise InvitationError("an enrolment has another name", hint="the invitation is for another name")
        async with self._lock:
            if await self._envelopes.find(envelope.digest) is None:
                self._check_is_new(envelope.sender, name)
                await asyncio.to_thread(self._coordinator.check, envelope, None)
            seq = await self._append(envelope, hashed)
            await self._advance()
        return seq

    def _check_is_new(self, identity: bytes, name: str) -> None:
        members = self.transcript.members
        if identity in members:
            hint = "this node is enrolled already; another organisation needs a home of its own"
            raise InvitationError("an identity would be enrolled twice", hint=hint)
        if name in members.values():
            hint = f"an organisation named {name} is enrolled already; ask for an invitation under another name"
            raise InvitationError("a name would be enrolled twice", hint=hint)

    async def new_epoch(self) -> None:
        """Call for a new key epoch; the members set it up as soon as they see it.

        Raises
        ------
        ProtocolError
            If a job is under way.
        """
        async with self._lock:
            await self._append(self._coordinator.new_epoch().envelope)
            self._wake()

    async def tick(self) -> None:
        """Append what has become due, and now and then remove what nobody needs any more."""
        async with self._lock:
            await self._advance()
            if self._now() >= self._swept_at + SWEEP_S:
                self._swept_at = self._now()
                await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        gone = [self.blobs.remove(digest) for digest in unneeded(self.transcript, self._now(), self._seen)]
        if any(gone):
            log.info("swept", blobs=sum(gone))

    def _check(self, envelope: Envelope) -> None:
        attachment = None
        if envelope.attachment != NO_ATTACHMENT:
            self.transcript.check(envelope)  # before anything large is read for what is refused anyhow
            attachment = self.blobs.staged(envelope.sender, envelope.attachment, envelope.size)
        self._coordinator.check(envelope, attachment)
        if attachment is not None:
            self.blobs.keep(envelope.sender, envelope.attachment, envelope.size)

    async def _advance(self) -> None:
        """Append what is due; what goes wrong is logged and tried again at the next tick."""
        head = self._recent.head
        try:
            posts = self._coordinator.act(self._now(), self.blobs)
            while (post := await asyncio.to_thread(_next, posts)) is not None:
                await self._append(post.envelope)
            self._trouble = ""
        except Exception as error:
            if repr(error) != self._trouble:
                self._metrics.count("fedanomaly_act_failures_total")
                log.error("act-failed", error=str(error), exc_info=not isinstance(error, FedAnomalyError))  # noqa: TRY400 - ours need no trace
            self._trouble = repr(error)
        finally:
            if self._recent.head > head:  # what the coordinator says, members wait for
                self._wake()

    async def _append(self, envelope: Envelope, invitation: bytes | None = None) -> int:
        at, data, digest = self._now(), envelope.to_bytes(), envelope.digest
        if invitation is None:
            seq = await self._envelopes.append(data, digest, at)
        else:
            seq = await self._envelopes.enrol(invitation, envelope.sender, data, digest, at)
        if seq == self.transcript.head + 1:
            await self._take((Record(seq=seq, received_at=at, data=data),))
        else:
            await self._catch_up()
        log.info("appended", seq=seq, kind=envelope.kind, sender=envelope.sender.hex()[:8], size=envelope.size)
        return seq

    async def _catch_up(self) -> None:
        """Fold what the log has and the fold has not."""
        while records := await self._envelopes.read(self.transcript.head, FOLD_ENTRIES):
            await self._take(records)

    async def _take(self, records: Sequence[Record]) -> None:
        """Fold what is stored, and let everybody have it; soon those who wait as well.

        Most of what members say calls for an answer of the coordinator only, so
        those who wait are woken once for much of it, not by each.
        """
        await asyncio.to_thread(self._fold, records)
        self._recent.add(records)
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(WAKE_S, self._wake)

    def _wake(self) -> None:
        """Answer everybody who waits for the log to grow."""
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def _fold(self, records: Sequence[Record]) -> None:
        for record in records:
            entry = Entry(record.seq, record.received_at, Envelope.from_bytes(record.data))
            self._now.not_before(record.received_at)
            try:
                self._coordinator.accept(entry)
                self._metrics.folded(entry)
            except FedAnomalyError as error:
                # It was checked before it was stored; members pass over it as well.
                log.error("entry-refused", seq=entry.seq, error=str(error))  # noqa: TRY400 - as above
                self.transcript.skip(entry)


def _next(posts: Iterator[Post]) -> Post | None:
    return next(posts, None)
