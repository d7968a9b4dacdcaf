"""A member on a machine that fails: what a node's service does, without HTTP."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from fedanomaly.errors import DivergedError, FedAnomalyError, UnavailableError
from fedanomaly.node.keystore import Keystore
from fedanomaly.protocol import Entry, JobRequest, Learner, Member, Policy, Post
from fedanomaly.protocol.rules import Ledger
from tests.faults.machines import Disk, DiskRows, DiskVault, Home, StoppedError
from tests.faults.speed import parsed

if TYPE_CHECKING:
    from tests.faults.world import World


class Node:
    """One copy of one organisation's node.

    Parameters
    ----------
    world : World
        Gives dice, network and arithmetic, and watches.
    name : str
        The organisation; copies of a home share it.
    life : int
        Which copy or restoration of the home this is.
    home : Home
        What is kept.
    """

    def __init__(self, world: World, index: int, identity: Keystore, home: Home, life: int = 0) -> None:
        self.world, self.index, self.identity, self.home, self.life = world, index, identity, home, life
        self.name = f"org-{index}"
        self.label = self.name if not life else f"{self.name}/{life}"
        self.disk = Disk(lambda what: world.fate(self.label, what))
        self.boots = 0
        self.member: Member | None = None
        self.skew_s = 0.0
        self.down_until = 0
        self.refuses = False
        self.problems: list[FedAnomalyError] = []

    @property
    def up(self) -> bool:
        return self.member is not None

    def start(self) -> None:
        self.boots += 1
        entropy = random.Random(self.world.random.getrandbits(64)).randbytes  # noqa: S311 (replays)
        secrets = self.world.ring.secrets_of(self, entropy)
        self.member = Member(
            signer=self.identity,
            coordinator=self.world.hub.identity.public_key,
            federation=self.world.hub.federation,
            vault=DiskVault(self.home, self.disk, secrets.generate, secrets.unseal),
            rows=DiskRows(self.home, self.disk, lambda row: self.world.watch.wrote(self, row)),
            learners=self._learner,
            policy=Policy(),
            boot=entropy(32),
            entropy=entropy,
        )

    def stop(self) -> None:
        if self.member:
            self.member.close()
        self.member = None

    def _learner(self, request: JobRequest) -> Learner:
        if self.refuses:
            raise UnavailableError("the data set is being replaced")
        return self.world.learner(self.index, self.home.generation, request)

    def turn(self) -> None:
        """Look at the log once, and do what is due."""
        try:
            self._turn()
        except StoppedError:
            self.world.say(f"{self.label} stops")
            self.stop()
        except FedAnomalyError as error:
            self.problems.append(error)
            self.world.say(f"{self.label}: {error}")

    def _turn(self) -> None:
        if self.member is None:
            return
        log = self.member.transcript
        entries, head = self.world.network.feed(self, log.head, log.chain(log.head))
        self._check_mark(head)
        for data, at_s in entries:
            envelope = parsed(data)
            try:
                self.member.accept(Entry(log.head + 1, at_s, envelope))
            except StoppedError:
                raise
            except FedAnomalyError as error:
                self.problems.append(error)
        self._check_mark(head)
        if log.head >= head:
            if log.head != self.home.mark[0]:
                mark = (log.head, log.chain(log.head))
                self.disk.write("mark", lambda: setattr(self.home, "mark", mark))
            self._act(self.member)

    def _check_mark(self, head: int) -> None:
        seen, chain = self.home.mark
        log = self.member.transcript if self.member else None
        if head < seen or (log and log.head >= seen > 0 and log.chain(seen) != chain):
            raise DivergedError("the log went back, or is another one")

    def _act(self, member: Member) -> None:
        for post in member.act(lambda digest: self.world.network.fetch(self, digest)):
            self.send(post)

    def send(self, post: Post) -> None:
        """Send one post; what is refused is over, what does not arrive is tried again at the next turn."""
        try:
            self.world.network.send(self, post)
        except UnavailableError:
            raise
        except FedAnomalyError as error:
            self.problems.append(error)

    def retire(self) -> None:
        """Stop in good order."""
        try:
            for post in self.member.retire() if self.member else ():
                self.send(post)
        except StoppedError:
            pass
        except FedAnomalyError as error:
            self.problems.append(error)
        self.stop()

    def mark_as_restored(self, generation: int) -> None:
        """Do what the restore command does to a ledger."""
        Ledger(DiskRows(self.home, Disk(lambda _: "done"), lambda _: None), b"").mark_clone(generation)
