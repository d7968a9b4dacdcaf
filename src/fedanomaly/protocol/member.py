"""A member of a federation: looks at the log and does what is due, by its own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fedanomaly.errors import CryptoError, FedAnomalyError, ProtocolError, RefusedError, UnavailableError
from fedanomaly.fhe import Ask, MaskedSum, Preset, best_layout, join_signed
from fedanomaly.protocol.capabilities import Learner, Rows, Secrets, Signer, Vault
from fedanomaly.protocol.envelope import Entry, Post, seal
from fedanomaly.protocol.epochs import Epoch
from fedanomaly.protocol.jobs import SELF_TEST, Job, JobState
from fedanomaly.protocol.keysetup import Fetch, KeySetup
from fedanomaly.protocol.messages import (
    KINDS,
    TRAINED,
    ContributionPost,
    Decline,
    JobRequest,
    Join,
    NextStep,
    Ready,
    Statement,
    Vote,
)
from fedanomaly.protocol.rounds import Round, RoundState, set_hash
from fedanomaly.protocol.rules import Ledger, Values
from fedanomaly.protocol.settings import Policy
from fedanomaly.protocol.transcript import Transcript
from fedanomaly.types import Quantiser, State, Step
from fedanomaly.types.canonical import HASH_BYTES, item, item_int

NO_TAG = bytes(HASH_BYTES)
MAX_TEST_FIELDS = 4096


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
        self._signer = signer
        self._federation = federation
        self._rows = rows
        self._ledger = Ledger(rows, boot)
        self._learners = learners
        self._policy = policy
        self._entropy = entropy
        self._setup = KeySetup(
            signer=signer, federation=federation, vault=vault, rows=rows, policy=policy, entropy=entropy
        )
        self._running: dict[int, Learner] = {}
        self._settled: set[int] = set()

    def request(self, request: JobRequest) -> Post:
        """Return the signed request for a job."""
        return self._post(request.kind, request.to_bytes())

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
        if entry.envelope.sender == self._signer.public_key:
            self._recognise(entry)

    def act(self, fetch: Fetch) -> Iterator[Post]:
        """Yield the posts that are due, once the log is folded to its head.

        A post that was yielded before and is not in the log yet is yielded again,
        bit for bit the same.

        Parameters
        ----------
        fetch : callable
            Returns the attachment with a digest.
        """
        epoch = self.transcript.epoch
        if epoch is None or self._signer.public_key not in epoch.call.identities:
            return
        yield from self._setup.act(epoch, fetch)
        if epoch.confirmed:
            for job in self.transcript.jobs:
                if job.epoch is epoch and id(job) not in self._settled:
                    yield from self._job(job, fetch)
        for ended in self.transcript.epochs[:-1]:
            self._setup.destroy(ended)

    def close(self) -> None:
        """Erase the epoch secrets from memory; what is kept on disk stays."""
        self._setup.close()

    def state(self, job: Job) -> State | None:
        """Return what a job has learnt at this node, or None."""
        accepted = job.accepted
        if job.state is not JobState.ACCEPTED or not accepted or accepted[-1].manifest is None:
            return None
        kept = self._rows.get("state", accepted[-1].manifest.hash)
        return State.from_bytes(kept) if kept else None

    def _post(self, kind: str, body: bytes, attachment: bytes | None = None) -> Post:
        return seal(self._signer, self._federation, kind, body, attachment)

    def _me(self, epoch: Epoch) -> int:
        return epoch.index_of(self._signer.public_key)

    def _recognise(self, entry: Entry) -> None:
        message = KINDS[entry.envelope.kind].from_bytes(entry.envelope.body)
        generation = 0
        if isinstance(message, Join):
            generation = message.generation
        elif isinstance(message, (ContributionPost, Statement)):
            round_ = self.transcript.round_of(message.manifest)
            me = self._me(self.transcript.epochs[-1])
            join = round_.manifest.join_of(me) if round_ and round_.manifest else None
            generation = join.generation if join else 0
        if not self._ledger.recognise(message, generation):
            raise RefusedError(
                f"this identity posted a {entry.envelope.kind} that this ledger does not know",
                hint="the ledger was restored or runs twice; the node joins again once its data set has new rows",
            )

    # Jobs

    def _job(self, job: Job, fetch: Fetch) -> Iterator[Post]:
        if self._rows.get("settled", _key(job)) is not None:
            self._settled.add(id(job))
            return
        me = self._me(job.epoch)
        secrets = self._setup.secrets(job.epoch, fetch)
        try:
            if job.number == SELF_TEST:
                yield from self._self_test(job, me, secrets, fetch)
            elif me not in job.declined and not job.state.final:
                yield from self._take_part(job, me, secrets, fetch)
            elif job.state is JobState.ACCEPTED and me in job.ready:
                self._catch_up(job, secrets, fetch)
        except UnavailableError:
            raise
        except FedAnomalyError as error:
            if job.number != SELF_TEST and not job.state.final:
                yield self._decline(job, error)
            elif job.state.final:
                self._settle(job, secrets)
            raise
        yield from self._void(job, me)
        if job.state.final:
            self._settle(job, secrets)

    def _decline(self, job: Job, error: FedAnomalyError) -> Post:
        reason = f"{error.code} {error.public}"
        return self._post("decline", Decline(epoch=job.epoch.id, job=job.number, reason=reason).to_bytes())

    def _settle(self, job: Job, secrets: Secrets) -> None:
        """Forget what a finished job leaves: frozen values, group keys, the learner."""
        for round_ in job.rounds:
            self._ledger.thaw(round_.ask)
        kept = job.accepted[-1:] if job.state is JobState.ACCEPTED else []
        for round_ in job.rounds:
            if round_.manifest and round_ not in kept:
                self._rows.erase("state", round_.manifest.hash)
        secrets.forget(job.number + 1)
        self._setup.save(job.epoch)
        self._rows.put([("settled", _key(job), b"")])
        self._running.pop(id(job), None)
        self._settled.add(id(job))

    def _learner(self, job: Job) -> Learner:
        if id(job) not in self._running:
            request = job.asked
            refusal = self._policy.refuses_job(request)
            if refusal:
                raise RefusedError(refusal)
            learner = self._learners(request)
            if learner.schema != request.schema:
                raise RefusedError("the local data set has another schema")
            self._running[id(job)] = learner
        return self._running[id(job)]

    def _take_part(self, job: Job, me: int, secrets: Secrets, fetch: Fetch) -> Iterator[Post]:
        learner = self._learner(job)
        if me not in job.ready:
            state = learner.start()
            ready = Ready(
                epoch=job.epoch.id,
                job=job.number,
                generation=learner.generation,
                state_tag=secrets.tag(job.number, state.to_bytes()),
                next_step=self._next(job, learner, state, secrets).to_bytes(),
            )
            yield self._post("ready", ready.to_bytes())
            return
        state = self._catch_up(job, secrets, fetch)
        round_ = job.open_round
        if round_ is None or round_.abandoned is not None:
            return
        match round_.state:
            case RoundState.ANNOUNCED | RoundState.JOINING if me not in round_.joins:
                point = job.point()
                if point and (not point.fixed or me in point.fixed):
                    yield self._join(job, round_, learner, state, secrets)
            case RoundState.COLLECTING:
                yield from self._contribute(job, round_, me, secrets)
            case RoundState.CLOSED | RoundState.OPENING:
                yield from self._open(round_, me, secrets)
            case RoundState.OPENED if me not in round_.votes:
                yield self._vote(job, round_, learner, state, secrets, fetch)
            case _:
                return

    def _catch_up(self, job: Job, secrets: Secrets, fetch: Fetch) -> State:
        """Return the current state, opening what was accepted and is not merged here yet."""
        learner = self._learner(job)
        state = learner.start()
        for round_ in job.accepted:
            self._ledger.accepted(round_)
            state = self._merge(job, round_, learner, state, secrets, fetch)
            vote = round_.winning_vote()
            if vote is None or vote.state_tag != secrets.tag(job.number, state.to_bytes()):
                raise RefusedError("the federation's state is not the one that this node computed")
        return state

    def _next(self, job: Job, learner: Learner, state: State, secrets: Secrets) -> NextStep:
        step = learner.next_step(state)
        if step is None:
            return TRAINED
        quantiser = Quantiser(step=step, members=job.epoch.members)
        layout = best_layout(
            members=job.epoch.members,
            threshold=job.epoch.call.threshold,
            field_bits=quantiser.field_bits,
            fields=quantiser.entries,
        )
        return NextStep(
            step_tag=secrets.tag(job.number, step.canonical()),
            preset=int(layout.preset),
            field_bits=quantiser.field_bits,
            fields=quantiser.entries,
        )

    # Rounds

    def _join(self, job: Job, round_: Round, learner: Learner, state: State, secrets: Secrets) -> Post:
        ask = round_.ask
        joined = self._ledger.joined(ask)
        if joined is None:
            expected = self._expected(job, round_, learner, state, secrets)
            if ask != expected:
                raise RefusedError("the round asks for something else than this node would sum")
            refusal = self._policy.refuses_ask(ask)
            if refusal:
                raise RefusedError(refusal)
            step = _some(learner.next_step(state))
            values = Quantiser(step=step, members=job.epoch.members).quantise(learner.local(step, state))
            joined = self._ledger.join(
                ask, secrets, values=values, generation=learner.generation, random=self._entropy(32)
            )
        return self._join_post(ask, self._me(job.epoch), joined.generation, joined.nonce)

    def _join_post(self, ask: Ask, me: int, generation: int, nonce: bytes) -> Post:
        signature = self._signer.sign(join_signed(ask, member=me, generation=generation, nonce=nonce))
        message = Join(ask=ask.digest, generation=generation, nonce=nonce, signature=signature)
        return self._post("join", message.to_bytes())

    def _expected(self, job: Job, round_: Round, learner: Learner, state: State, secrets: Secrets) -> Ask:
        _some(learner.next_step(state))
        following = self._next(job, learner, state, secrets)
        return Ask(
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
            round=round_.ask.round,
            step=len(job.accepted),
            schema=learner.schema,
            step_tag=following.step_tag,
            state_tag=secrets.tag(job.number, state.to_bytes()),
        )

    def _contribute(self, job: Job, round_: Round, me: int, secrets: Secrets) -> Iterator[Post]:
        manifest, settings = round_.posted, self.transcript.settings
        if settings is None or me in round_.contributions or not self._ledger.answers_for(manifest, me):
            return
        values = self._ledger.contribute(round_, secrets, me=me, quota=settings.quota, certified=self.transcript.rounds)
        contribution = secrets.contribution(manifest, values)
        body = ContributionPost(manifest=manifest.hash).to_bytes()
        yield self._post("contribution", body, contribution.to_bytes())

    def _open(self, round_: Round, me: int, secrets: Secrets) -> Iterator[Post]:
        manifest = round_.posted
        if me not in manifest.decryptors or me in round_.statements or not self._ledger.answers_for(manifest, me):
            return
        statement = self._ledger.state(round_, me=me, opens=True)
        share = secrets.share(manifest, round_.contributors)
        yield self._post("statement", statement.to_bytes(), share.to_bytes())

    def _void(self, job: Job, me: int) -> Iterator[Post]:
        """Answer VOID, where asked to and nothing was released."""
        round_ = job.open_round
        if round_ is None or round_.abandoned is None or round_.manifest is None:
            return
        if me in round_.manifest.decryptors and me not in round_.statements:
            try:
                statement = self._ledger.state(round_, me=me, opens=False)
            except ProtocolError:
                return  # it has said OPEN, or joined before its restart: it stays silent
            yield self._post("statement", statement.to_bytes())

    def _opened(self, round_: Round, secrets: Secrets, fetch: Fetch) -> Values:
        manifest, attached = round_.posted, round_.published.attachment
        masked = MaskedSum.from_bytes(fetch(attached), manifest)
        self._ledger.opened(manifest, attached)
        return secrets.open(manifest, round_.contributors, masked)

    def _merge(self, job: Job, round_: Round, learner: Learner, state: State, secrets: Secrets, fetch: Fetch) -> State:
        manifest = round_.posted
        kept = self._rows.get("state", manifest.hash)
        if kept is not None:
            return State.from_bytes(kept)
        step = _some(learner.next_step(state))
        sums = self._opened(round_, secrets, fetch)
        total = Quantiser(step=step, members=job.epoch.members).total(sums, len(round_.contributors))
        merged = learner.merge(step, total, state)
        self._rows.put([("state", manifest.hash, merged.to_bytes())])
        return merged

    def _vote(self, job: Job, round_: Round, learner: Learner, state: State, secrets: Secrets, fetch: Fetch) -> Post:
        try:
            merged = self._merge(job, round_, learner, state, secrets, fetch)
            following = self._next(job, learner, merged, secrets)
            accept = not following.trained or learner.scores_are_finite(merged)
            tag = secrets.tag(job.number, merged.to_bytes())
        except CryptoError:  # malformed or rejected: from outside both look the same
            accept, tag, following = False, NO_TAG, TRAINED
        return self._vote_post(round_, accept=accept, tag=tag, following=following)

    def _vote_post(self, round_: Round, *, accept: bool, tag: bytes, following: NextStep) -> Post:
        manifest = round_.posted
        vote = Vote(
            manifest=manifest.hash,
            contributors=set_hash(round_.contributors),
            masked=round_.published.attachment,
            accept=accept,
            state_tag=tag,
            next_step=following.to_bytes(),
        )
        return self._post("vote", self._ledger.vote(manifest, vote.to_bytes()))

    def _self_test(self, job: Job, me: int, secrets: Secrets, fetch: Fetch) -> Iterator[Post]:
        """Sum zeros with every ring: the keys open what they should, or the epoch never lives."""
        round_ = job.open_round
        if round_ is None or round_.abandoned is not None:
            return
        ask = round_.ask
        match round_.state:
            case RoundState.ANNOUNCED | RoundState.JOINING if me not in round_.joins:
                if ask.fields > MAX_TEST_FIELDS or {ask.schema, ask.step_tag, ask.state_tag} != {NO_TAG}:
                    raise RefusedError("a self-test is small and sums zeros")
                joined = self._ledger.joined(ask)
                if joined is None:
                    zeros = np.zeros(ask.fields, dtype=np.uint64)
                    joined = self._ledger.join(ask, secrets, values=zeros, generation=0, random=self._entropy(32))
                yield self._join_post(ask, me, joined.generation, joined.nonce)
            case RoundState.COLLECTING:
                yield from self._contribute(job, round_, me, secrets)
            case RoundState.CLOSED | RoundState.OPENING:
                yield from self._open(round_, me, secrets)
            case RoundState.OPENED if me not in round_.votes:
                try:
                    passed = not self._opened(round_, secrets, fetch).any()
                except CryptoError:
                    passed = False
                yield self._vote_post(round_, accept=passed, tag=NO_TAG, following=TRAINED)
            case _:
                return


def _some(step: Step | None) -> Step:
    if step is None:
        raise RefusedError("there is nothing left to sum")
    return step


def _key(job: Job) -> bytes:
    return item("epoch", job.epoch.id) + item_int("job", job.number)
