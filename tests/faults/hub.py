"""The coordinator on a machine that fails: what its service does, without HTTP."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fedanomaly.coordinator.clock import ForwardClock
from fedanomaly.errors import DivergedError, FedAnomalyError, MessageError, NotFoundError, UnavailableError
from fedanomaly.fhe import InMemory
from fedanomaly.node.keystore import Keystore
from fedanomaly.protocol import NO_ATTACHMENT, Coordinator, Entry, Envelope, Settings
from tests.faults.machines import Archive, Disk, DiskBlobs, StoppedError
from tests.faults.speed import parsed

if TYPE_CHECKING:
    from tests.faults.world import World


class Hub:
    """Coordinator, log and attachments.

    Parameters
    ----------
    world : World
        Gives dice and clock, and watches.
    settings : Settings
        Of the federation.
    archive : Archive
        What is kept.
    """

    def __init__(self, world: World, settings: Settings, identity: Keystore, federation: bytes) -> None:
        self.world, self._settings = world, settings
        self.identity, self.federation = identity, federation
        self.archive = Archive()
        self.disk = Disk(lambda what: world.fate("hub", what))
        self.coordinator: Coordinator | None = None
        self.refused: list[FedAnomalyError] = []

    @property
    def up(self) -> bool:
        return self.coordinator is not None

    @property
    def running(self) -> Coordinator:
        if self.coordinator is None:
            raise UnavailableError("the coordinator is down")
        return self.coordinator

    def start(self) -> None:
        """Fold the log; then do what is due."""
        clock = ForwardClock(self.world.hub_clock, self.world.clock)
        self._now = clock
        self._blobs = DiskBlobs(self.archive, self.disk)
        self.coordinator = Coordinator(signer=self.identity, settings=self._settings, federation=self.federation)
        self._fold()
        self.tick()

    def stop(self) -> None:
        self.coordinator = None

    def tick(self) -> None:
        """Append what is due; a full disk is tried again later."""
        try:
            for post in self.running.act(self._now(), self._blobs):
                self._append(post.envelope.to_bytes())
        except StoppedError:
            self.stop()
            self.world.say("hub stops")
        except FedAnomalyError as error:
            self.refused.append(error)

    def new_epoch(self) -> None:
        """Do what an operator's command does."""
        try:
            self._append(self.running.new_epoch().envelope.to_bytes())
        except StoppedError:
            self.stop()
        except FedAnomalyError as error:
            self.refused.append(error)

    def post(self, data: bytes, attachment: bytes | None) -> None:
        """Take an envelope as it arrives, right or wrong.

        Raises
        ------
        FedAnomalyError
            Whatever there is against it; nothing of it was kept then, but perhaps the attachment.
        """
        coordinator, envelope = self.running, parsed(data)
        if coordinator.transcript.has(envelope.digest):
            return
        try:
            self._take(coordinator, envelope, data, attachment)
        except StoppedError:
            self.stop()
            self.world.say("hub stops")
            raise UnavailableError("the coordinator went away") from None
        self.tick()

    def _take(self, coordinator: Coordinator, envelope: Envelope, data: bytes, attachment: bytes | None) -> None:
        source = None
        if envelope.attachment != NO_ATTACHMENT:
            if attachment is None:
                raise NotFoundError("no such blob has been uploaded")
            if hashlib.sha256(attachment).digest() != envelope.attachment:
                raise MessageError("the blob is not what its digest says")
            source = InMemory(attachment)
        coordinator.check(envelope, source)
        if source is not None:
            self._blobs.store([attachment or b""])
        self._append(data)

    def _append(self, data: bytes) -> None:
        at_s = self._now()

        def append() -> None:
            self.archive.log.append((data, at_s))
            self.world.watch.appended(data)

        self.disk.write("append", append)
        self._fold()

    def _fold(self) -> None:
        transcript = self.running.transcript
        for data, at_s in self.archive.log[transcript.head :]:
            self._now.not_before(at_s)
            entry = Entry(transcript.head + 1, at_s, parsed(data))
            try:
                self.running.accept(entry)
            except FedAnomalyError:
                transcript.skip(entry)

    def feed(self, after: int, chain: bytes) -> list[tuple[bytes, float]]:
        """Return what follows a position of the log that the reader has folded so."""
        transcript = self.running.transcript
        if after > transcript.head or transcript.chain(after) != chain:
            raise DivergedError("the log is another one")
        return self.archive.log[after:]

    def blob(self, digest: bytes) -> bytes:
        if not self.up:
            raise UnavailableError("the coordinator is down")
        if digest not in self.archive.blobs:
            raise NotFoundError("no such blob")
        return self.archive.blobs[digest]
