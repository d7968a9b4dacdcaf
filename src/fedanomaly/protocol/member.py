"""A member of a federation: looks at the log and does what is due, by its own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fedanomaly.errors import FedAnomalyError, RefusedError, UnavailableError
from fedanomaly.protocol.capabilities import Learner, Rows, Secrets, Signer, Vault
from fedanomaly.protocol.envelope import Entry, Post
from fedanomaly.protocol.epochs import Epoch
from fedanomaly.protocol.jobs import SELF_TEST, Job, JobState
from fedanomaly.protocol.keysetup import Fetch, KeySetup
from fedanomaly.protocol.messages import KINDS, ContributionPost, Decline, JobRequest, Join, Statement
from fedanomaly.protocol.participant import Desk, Participant, void
from fedanomaly.protocol.rules import Ledger
from fedanomaly.protocol.settings import Policy
from fedanomaly.protocol.transcript import Transcript
from fedanomaly.types import State
from fedanomaly.types.canonical import item, item_int


class Member:
    """One organisation's side of the protocol.

    Parameters
    ----------
    signer : Signer
        The organisation's identity.
    coordinator : bytes
        The coordinator's public key, pinned.
    federation : bytes
        Identifier of the federation.
    vault, rows : Vault, Rows
        Where epoch secrets and the ledger are kept.
    learners : callable
        Returns the learner of a job request; raises FedAnomalyError if this node
        has no such detector, data set or schema.
    policy : Policy
        What this node accepts.
    boot : bytes
        32 random bytes, drawn at every start.
    entropy : callable
        Returns so many random bytes.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        coordinator: bytes,
        federation: bytes,
        vault: Vault,
        rows: Rows,
        learners: Callable[[JobRequest], Learner],
        policy: Policy,
        boot: bytes,
        entropy: Callable[[int], bytes],
    ) -> None:
        self.transcript = Transcript(federation, coordinator)
        self._learners = learners
        self._desk = Desk(
            signer=signer,
            log=self.transcript,
            rows=rows,
            ledger=Ledger(rows, boot),
            policy=policy,
            entropy=entropy,
        )
        self._setup = KeySetup(
            signer=signer, federation=federation, vault=vault, rows=rows, policy=policy, entropy=entropy
        )
        self._running: dict[int, Learner] = {}
        self._settled: set[int] = set()
        self._left: set[bytes] = set()
        self._own: list[Entry] = []

    def request(self, request: JobRequest) -> Post:
        """Return the signed request for a job."""
        return self._desk.post(request)

    def accept(self, entry: Entry) -> None:
        """Fold the next entry of the log.

        Raises
        ------
        ProtocolError
            If the entry breaks the rules; it is passed over.
        RefusedError
            If it shows that this ledger is a copy: someone else holds this identity.
        """
        try:
            self.transcript.add(entry)
        except FedAnomalyError:
            self.transcript.skip(entry)
            raise
        if entry.envelope.sender == self._desk.signer.public_key:
            self._own.append(entry)
            self._recognise()

    def act(self, fetch: Fetch) -> Iterator[Post]:
        """Yield the posts that are due, once the log is folded to its head.

        A post that was yielded before and is not in the log yet is yielded again,
        bit for bit the same.

        Parameters
        ----------
        fetch : callable
            Returns the attachment with a digest.
        """
        self._recognise()
        fetch, epoch = _patient(fetch), self.transcript.epoch
        if epoch is None or self._desk.signer.public_key not in epoch.call.identities:
            return
        for ended in self.transcript.epochs[:-1]:
            if ended.digest not in self._left:
                yield from self._leave(ended, fetch)
        yield from self._setup.act(epoch, fetch)
        if epoch.confirmed:
            yield from self._jobs(epoch, fetch)

    def retire(self) -> Iterator[Post]:
        """Yield VOID for every manifest that this member has not answered yet: an orderly stop.

        After the next start it would stay silent about them; so the others know
        at once, and the step is tried again.
        """
        job = self.transcript.open_job
        if job and self._desk.signer.public_key in job.epoch.call.identities:
            yield from void(self._desk, job, unasked=True)

    def close(self) -> None:
        """Erase the epoch secrets from memory; what is kept on disk stays."""
        self._setup.close()

    def state(self, job: Job) -> State | None:
        """Return what a job has learnt at this node, or None."""
        if job.state is not JobState.ACCEPTED or not job.accepted:
            return None
        return self._desk.current(job.accepted[-1])

    @property
    def clone_generation(self) -> int:
        """Data snapshots up to this one are not summed, because the ledger is a copy; 0: it is none."""
        return self._desk.ledger.clone_generation

    def _recognise(self) -> None:
        # An entry stays until the ledger has taken the mark of a clone: a full disk must not lose it.
        unknown = None
        while self._own:
            try:
                self._recognise_one(self._own[0])
            except RefusedError as error:
                unknown = error
        if unknown is not None:
            raise unknown

    def _recognise_one(self, entry: Entry) -> None:
        message = KINDS[entry.envelope.kind].from_bytes(entry.envelope.body)
        generation = 0
        if isinstance(message, Join):
            generation = message.generation
        elif isinstance(message, (ContributionPost, Statement)):
            round_ = self.transcript.rounds[message.manifest]
            me = round_.identities.index(self._desk.signer.public_key) + 1
            generation = round_.joins[me].generation
        known = self._desk.ledger.recognise(message, generation)
        del self._own[0]
        if not known:
            raise RefusedError(
                f"this identity posted a {entry.envelope.kind} that this ledger does not know",
                hint="the ledger was restored or runs twice; the node joins again once its data set has new rows",
            )

    # Jobs

    def _leave(self, epoch: Epoch, fetch: Fetch) -> Iterator[Post]:
        """Catch up with what an ended epoch has taught, then destroy its secrets."""
        yield from self._jobs(epoch, fetch)
        self._setup.destroy(epoch)
        self._left.add(epoch.digest)

    def _jobs(self, epoch: Epoch, fetch: Fetch) -> Iterator[Post]:
        for job in self.transcript.jobs:
            if job.epoch is epoch and id(job) not in self._settled:
                yield from self._work(job, fetch)

    def _work(self, job: Job, fetch: Fetch) -> Iterator[Post]:
        if self._desk.rows.get("settled", _key(job)) is not None:
            self._settled.add(id(job))
            return
        me = job.epoch.index_of(self._desk.signer.public_key)
        try:
            secrets = self._setup.secrets(job.epoch, fetch)
            if me not in job.declined:
                yield from self._take_part(job, me, secrets, fetch)
            yield from void(self._desk, job)
        except UnavailableError:
            raise
        except FedAnomalyError as error:
            if job.state.final:
                self._settle(job)
            elif job.number != SELF_TEST and me not in job.declined:
                reason = f"{error.code} {error.public}"
                yield self._desk.post(Decline(epoch=job.epoch.id, job=job.number, reason=reason))
            raise
        if job.state.final:
            self._settle(job)

    def _take_part(self, job: Job, me: int, secrets: Secrets, fetch: Fetch) -> Iterator[Post]:
        if not job.state.final:
            refusal = self._desk.policy.refuses_epoch(job.epoch.call)  # it may have been tightened since
            if refusal:
                raise RefusedError(refusal, hint="change policy.toml, or ask the coordinator's operator")
            learner = None if job.number == SELF_TEST else self._learner(job)
            yield from Participant(self._desk, job, secrets, learner).act(fetch)
        elif job.state is JobState.ACCEPTED and me in job.ready:
            Participant(self._desk, job, secrets, self._learner(job)).catch_up(fetch)

    def _learner(self, job: Job) -> Learner:
        if id(job) not in self._running:
            request = job.asked
            refusal = self._desk.policy.refuses_job(request)
            if refusal:
                raise RefusedError(refusal)
            learner = self._learners(request)
            if learner.schema != request.schema:
                raise RefusedError("the local data set has another schema")
            self._running[id(job)] = learner
        return self._running[id(job)]

    def _settle(self, job: Job) -> None:
        """Forget what a finished job leaves: frozen values, group keys, states on the way, the learner."""
        for round_ in job.rounds:
            self._desk.ledger.thaw(round_.ask)
        kept = job.accepted[-1:] if self.state(job) else []
        for round_ in job.rounds:
            if round_.manifest and round_ not in kept:
                self._desk.rows.erase("state", round_.manifest.hash)
        self._setup.forget(job.epoch, job.number + 1)
        self._desk.rows.put([("settled", _key(job), b"")])
        self._running.pop(id(job), None)
        self._settled.add(id(job))


def _patient(fetch: Fetch) -> Fetch:
    """Let what does not arrive, or not whole, be asked for again later: no reason to leave a job."""

    def fetched(digest: bytes) -> bytes:
        try:
            return fetch(digest)
        except UnavailableError:
            raise
        except FedAnomalyError as error:
            raise UnavailableError(f"an attachment does not arrive: {error.public}") from error

    return fetched


def _key(job: Job) -> bytes:
    return item("epoch", job.epoch.id) + item_int("job", job.number)
