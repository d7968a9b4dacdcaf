"""A whole federation in one process: the same protocol, the same cryptography.

What differs from the services is only where things lie: the log is a list,
attachments, ledgers and vaults live in memory. Every message is
signed, checked, encrypted and opened as between real organisations.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence

from fedanomaly.errors import FedAnomalyError, ProtocolError
from fedanomaly.fhe import InMemory
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.node.keystore import KEY_BYTES, Keystore
from fedanomaly.protocol import (
    Coordinator,
    Enrol,
    Entry,
    Job,
    JobRequest,
    Learner,
    Member,
    Policy,
    Post,
    Rows,
    Secrets,
    Settings,
    Stored,
    seal,
)
from fedanomaly.storage import MemoryRows
from fedanomaly.types.canonical import HASH_BYTES

Learners = Callable[[JobRequest], Learner]
Watcher = Callable[[Entry], None]


class MemoryVault:
    """Keeps epoch secrets sealed, under a key that lives as long as the object."""

    def __init__(self) -> None:
        self._key = os.urandom(KEY_BYTES)
        self._sealed: dict[bytes, bytes] = {}

    def generate(self, label: bytes, *, members: int, threshold: int, index: int) -> EpochSecrets:
        """Draw fresh secrets and keep them."""
        secrets = EpochSecrets.generate(members=members, threshold=threshold, index=index)
        self.save(label, secrets)
        return secrets

    def load(self, label: bytes, *, members: int, threshold: int, index: int) -> EpochSecrets | None:
        """Return kept secrets, or None."""
        if label not in self._sealed:
            return None
        sealed = self._sealed[label]
        return EpochSecrets.unseal(self._key, label, sealed, members=members, threshold=threshold, index=index)

    def save(self, label: bytes, secrets: Secrets) -> None:
        """Replace kept secrets by their present form."""
        self._sealed[label] = secrets.seal(self._key, label)

    def destroy(self, label: bytes) -> None:
        """Forget kept secrets."""
        self._sealed.pop(label, None)


class MemoryBlobs(dict[bytes, bytes]):
    """Attachments by their digest."""

    def open(self, digest: bytes) -> InMemory:
        """Return an attachment to read from."""
        return InMemory(self[digest])

    def store(self, pieces: Iterable[bytes]) -> Stored:
        """Keep what comes piece by piece."""
        data = b"".join(pieces)
        stored = Stored(hashlib.sha256(data).digest(), len(data))
        self[stored.digest] = data
        return stored


class Party:
    """One organisation in memory: identity, vault and ledger outlive a restart.

    Parameters
    ----------
    name : str
        Name in the federation.
    learners : callable
        Returns the learner of a job request.
    policy : Policy, optional
        What it accepts.
    """

    def __init__(self, name: str, learners: Learners, policy: Policy | None = None) -> None:
        self.name = name
        self.identity = Keystore(os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))
        self.vault = MemoryVault()
        self.rows: Rows = MemoryRows()
        self.policy = policy or Policy()
        self.learners = learners
        self.bytes_up = 0

    def start(self, coordinator: bytes, federation: bytes) -> Member:
        """Return a member that has just started: an empty view of the log, a new boot."""
        return Member(
            signer=self.identity,
            coordinator=coordinator,
            federation=federation,
            vault=self.vault,
            rows=self.rows,
            learners=self.learners,
            policy=self.policy,
            boot=os.urandom(HASH_BYTES),
            entropy=os.urandom,
        )


class Federation:
    """Coordinator and members in one process, driven until nothing is due.

    Parameters
    ----------
    settings : Settings
        Name, size and threshold.
    parties : sequence of Party
        The organisations.
    watch : callable, optional
        Called with every entry of the log, as it is appended.
    """

    def __init__(self, settings: Settings, parties: Sequence[Party], watch: Watcher | None = None) -> None:
        self.parties = list(parties)
        self.log: list[Entry] = []
        self.blobs = MemoryBlobs()
        self.errors: list[tuple[str, FedAnomalyError]] = []
        self.now_s = 0.0
        self._identity = Keystore(os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))
        self._federation = os.urandom(HASH_BYTES)
        self._watch = watch
        self.coordinator = Coordinator(signer=self._identity, settings=settings, federation=self._federation)
        self.members = {party.name: self._start(party) for party in self.parties}

    def enrol(self) -> None:
        """Enrol every party and set the first key epoch up.

        Raises
        ------
        ProtocolError
            If the epoch does not come to life.
        """
        self.pump()
        for party in self.parties:
            self.post(seal(party.identity, self._federation, Enrol.kind, Enrol(name=party.name).to_bytes()))
        self.pump()
        if self.coordinator.transcript.live is None:
            raise ProtocolError("the key epoch did not come to life")

    def train(self, request: JobRequest) -> Job:
        """Run a job to its end, asked for by the first party."""
        first = self.members[self.parties[0].name]
        self.post(first.request(request))
        self.pump()
        job = self.coordinator.transcript.job_of(request.request)
        if job is None:
            raise ProtocolError("the job was not started")
        return job

    def restart(self, name: str) -> None:
        """Stop a party and start it again over what it kept."""
        party = next(party for party in self.parties if party.name == name)
        self.members[name] = self._start(party)

    def post(self, post: Post) -> None:
        """Check and append what a member posts, as the coordinator's service does."""
        if self.coordinator.transcript.has(post.envelope.digest):
            return
        self.coordinator.check(post.envelope, None if post.attachment is None else InMemory(post.attachment))
        self._append(post)

    def pump(self) -> None:
        """Let every party do what is due, until the log stands still."""
        head = -1
        while head != len(self.log):
            head = len(self.log)
            for post in self.coordinator.act(self.now_s, self.blobs):
                self._append(post)
            for party in self.parties:
                self.step(party)

    def step(self, party: Party) -> None:
        """Show one party the log and let it act."""
        member = self.members[party.name]
        for entry in self.log[member.transcript.head :]:
            member.accept(entry)
        try:
            for post in member.act(self.blobs.__getitem__):
                party.bytes_up += len(post.envelope.to_bytes()) + len(post.attachment or b"")
                self.post(post)
        except FedAnomalyError as error:
            self.errors.append((party.name, error))

    def close(self) -> None:
        """Erase the secrets of every member."""
        for member in self.members.values():
            member.close()

    def _start(self, party: Party) -> Member:
        return party.start(self._identity.public_key, self._federation)

    def _append(self, post: Post) -> None:
        if post.attachment is not None:
            self.blobs[post.envelope.attachment] = post.attachment
        entry = Entry(len(self.log) + 1, self.now_s, post.envelope)
        self.coordinator.accept(entry)
        self.log.append(entry)
        if self._watch:
            self._watch(entry)
