"""A member's part in one job: join, contribute, state, open, vote; then forget."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.errors import CryptoError, ProtocolError, RefusedError
from fedanomaly.fhe import Ask, MaskedSum, Preset, best_layout, join_signed
from fedanomaly.protocol.capabilities import Learner, Rows, Secrets, Signer
from fedanomaly.protocol.envelope import Post, seal
from fedanomaly.protocol.jobs import Job
from fedanomaly.protocol.keysetup import Fetch
from fedanomaly.protocol.messages import TRAINED, ContributionPost, Join, Message, NextStep, Ready, Vote
from fedanomaly.protocol.relations import Relation, write_relations
from fedanomaly.protocol.rounds import Round, RoundState, set_hash
from fedanomaly.protocol.rules import Joined, Ledger, Values
from fedanomaly.protocol.settings import Policy
from fedanomaly.protocol.transcript import Transcript
from fedanomaly.types import Quantiser, State, Step
from fedanomaly.types.canonical import HASH_BYTES

NO_TAG = bytes(HASH_BYTES)
MAX_TEST_FIELDS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Desk:
    """What a member brings to every job.

    Parameters
    ----------
    signer : Signer
        The organisation's identity.
    log : Transcript
        Its fold of the log.
    rows, ledger : Rows, Ledger
        What it keeps, and its rules over it.
    policy : Policy
        What it accepts.
    entropy : callable
        Returns so many random bytes.
    """

    signer: Signer
    log: Transcript
    rows: Rows
    ledger: Ledger
    policy: Policy
    entropy: Callable[[int], bytes]

    def post(self, message: Message, attachment: bytes | None = None) -> Post:
        """Return a signed message."""
        return seal(self.signer, self.log.federation, message.kind, message.to_bytes(), attachment)

    def current(self, round_: Round) -> State | None:
        """Return the state of an accepted round if this node computed the very one that was voted for."""
        kept = self.rows.get("state", round_.posted.hash) if self.ledger.is_current(round_.posted) else None
        return State.from_bytes(kept) if kept else None


def void(desk: Desk, job: Job, *, unasked: bool = False) -> Iterator[Post]:
    """Answer VOID about manifests of which this member released nothing.

    Parameters
    ----------
    desk : Desk
        What the member brings.
    job : Job
        The fold of the job.
    unasked : bool
        Also if the coordinator has not given the manifest up: the member stops,
        and would stay silent about it after its next start.
    """
    me = job.epoch.index_of(desk.signer.public_key)
    for round_ in job.rounds:
        # Also once the round is over: until it is certified, nobody sums over these rows again.
        if round_.manifest is None or round_.opened or not (unasked or round_.abandoned is not None):
            continue
        if me not in round_.manifest.decryptors or me in round_.statements:
            continue
        try:
            statement = desk.ledger.state(round_, me=me, opens=False)
        except ProtocolError:
            continue  # it has said OPEN, or joined before its restart: it stays silent
        yield desk.post(statement)


class Participant:
    """One member in one job, or in the self-test of a key epoch.

    Parameters
    ----------
    desk : Desk
        What the member brings.
    job : Job
        The fold of the job.
    secrets : Secrets
        Of its key epoch.
    learner : Learner or None
        The detector over the member's data; None in a self-test.
    """

    def __init__(self, desk: Desk, job: Job, secrets: Secrets, learner: Learner | None) -> None:
        self._desk = desk
        self._job = job
        self._secrets = secrets
        self._own = learner
        self._me = job.epoch.index_of(desk.signer.public_key)

    def act(self, fetch: Fetch) -> Iterator[Post]:
        """Yield what is due in the job."""
        if self._own and self._me not in self._job.ready:
            yield self._ready(self._own.start())
            return
        state = self.catch_up(fetch) if self._own else None
        round_ = self._job.open_round
        if round_ is None or round_.abandoned is not None:
            return
        match round_.state:
            case RoundState.ANNOUNCED | RoundState.JOINING if self._me not in round_.joins:
                if self._is_wanted():
                    yield self._join(round_, state)
            case RoundState.COLLECTING:
                yield from self._contribute(round_)
            case RoundState.CLOSED | RoundState.OPENING:
                yield from self._open(round_)
            case RoundState.OPENED if self._me not in round_.votes:
                yield self._vote(round_, state, fetch)
            case _:
                return

    def catch_up(self, fetch: Fetch) -> State:
        """Return the current state, opening what was accepted and is not merged here yet.

        Raises
        ------
        RefusedError
            If the federation voted for another state than this node computes.
        """
        done, state = self._latest()
        for round_ in self._job.accepted[done:]:
            self._desk.ledger.accepted(round_)
            state = self._merge(round_, state, fetch)
            if not hmac.compare_digest(round_.won.state_tag, self._tag(state)):
                raise RefusedError("the federation's state is not the one that this node computed")
            self._desk.ledger.current(round_.posted)
        return state

    def _latest(self) -> tuple[int, State]:
        """Return how many accepted rounds need no more work here, and the state after them."""
        for done, round_ in reversed(list(enumerate(self._job.accepted, 1))):
            state = self._desk.current(round_)
            if state is not None:
                return done, state
        return 0, self._learner.start()

    @property
    def _learner(self) -> Learner:
        if self._own is None:
            raise RefusedError("a self-test learns nothing")
        return self._own

    def _is_wanted(self) -> bool:
        if self._own and self._own.generation == 0:
            return False  # it has no rows to add, and zeros of its own would hide nobody
        point = self._job.point() if self._own else None
        return point is None or not point.fixed or self._me in point.fixed

    def _tag(self, state: State) -> bytes:
        return self._secrets.tag(self._job.number, state.to_bytes())

    def _ready(self, state: State) -> Post:
        message = Ready(
            epoch=self._job.epoch.id,
            job=self._job.number,
            generation=self._learner.generation,
            relations=write_relations(self._relations(self._learner)),
            state_tag=self._tag(state),
            next_step=self._next(state).to_bytes(),
        )
        return self._desk.post(message)

    def _relations(self, learner: Learner) -> Sequence[Relation]:
        ledger = self._desk.ledger
        return learner.relations(ledger.summed(), ledger.clone_generation)

    def _next(self, state: State) -> NextStep:
        step = self._learner.next_step(state)
        if step is None:
            return TRAINED
        epoch = self._job.epoch
        quantiser = Quantiser(step=step, members=epoch.members)
        layout = best_layout(
            members=epoch.members,
            threshold=epoch.call.threshold,
            field_bits=quantiser.field_bits,
            fields=quantiser.entries,
        )
        return NextStep(
            step_tag=self._secrets.tag(self._job.number, step.canonical()),
            preset=int(layout.preset),
            field_bits=quantiser.field_bits,
            fields=quantiser.entries,
        )

    def _step(self, state: State) -> Step:
        step = self._learner.next_step(state)
        if step is None:
            raise RefusedError("there is nothing left to sum")
        return step

    # The phases of a round

    def _join(self, round_: Round, state: State | None) -> Post:
        ask = round_.ask
        joined = self._desk.ledger.joined(ask) or (self._zeros(ask) if state is None else self._frozen(round_, state))
        signature = self._desk.signer.sign(
            join_signed(ask, member=self._me, generation=joined.generation, nonce=joined.nonce)
        )
        return self._desk.post(
            Join(ask=ask.digest, generation=joined.generation, nonce=joined.nonce, signature=signature)
        )

    def _frozen(self, round_: Round, state: State) -> Joined:
        """Compute and freeze the statistic that a round asks for, if it is the one that is due."""
        step = self._step(state)
        if round_.ask != self._expected(round_, state):
            raise RefusedError("the round asks for something else than this node would sum")
        refusal = self._desk.policy.refuses_ask(round_.ask)
        if refusal:
            raise RefusedError(refusal)
        quantiser = Quantiser(step=step, members=self._job.epoch.members)
        values = quantiser.quantise(self._learner.local(step, state))
        return self._freeze(round_.ask, values, self._learner.generation)

    def _zeros(self, ask: Ask) -> Joined:
        if ask.fields > MAX_TEST_FIELDS or {ask.schema, ask.step_tag, ask.state_tag} != {NO_TAG}:
            raise RefusedError("a self-test is small and sums zeros")
        return self._freeze(ask, np.zeros(ask.fields, dtype=np.uint64), 0)

    def _freeze(self, ask: Ask, values: Values, generation: int) -> Joined:
        return self._desk.ledger.join(
            ask, self._secrets, values=values, generation=generation, random=self._desk.entropy(32)
        )

    def _expected(self, round_: Round, state: State) -> Ask:
        job, epoch, following = self._job, self._job.epoch, self._next(state)
        return Ask(
            kind="sum",
            preset=Preset(following.preset),
            members=epoch.members,
            threshold=epoch.call.threshold,
            field_bits=following.field_bits,
            fields=following.fields,
            epoch=epoch.id,
            roster=epoch.roster_hash,
            policy=epoch.call.policy,
            job=job.number,
            round=round_.ask.round,
            step=len(job.accepted),
            schema=self._learner.schema,
            step_tag=following.step_tag,
            state_tag=self._tag(state),
        )

    def _contribute(self, round_: Round) -> Iterator[Post]:
        manifest, settings = round_.posted, self._desk.log.settings
        if settings is None or self._me in round_.contributions:
            return
        if not self._desk.ledger.answers_for(manifest, self._me):
            return
        ledger = self._desk.ledger
        values = ledger.contribute(
            round_,
            self._secrets,
            me=self._me,
            quota=settings.quota,
            certified=self._desk.log.rounds,
            ready=self._job.ready,
            relations=self._relations(self._own) if self._own else (),
        )
        contribution = self._secrets.contribution(manifest, values)
        yield self._desk.post(ContributionPost(manifest=manifest.hash), contribution.to_bytes())

    def _open(self, round_: Round) -> Iterator[Post]:
        manifest = round_.posted
        if self._me not in manifest.decryptors or self._me in round_.statements:
            return
        if not self._desk.ledger.answers_for(manifest, self._me):
            return
        statement = self._desk.ledger.state(round_, me=self._me, opens=True)
        share = self._secrets.share(manifest, round_.contributors)
        yield self._desk.post(statement, share.to_bytes())

    def _sums(self, round_: Round, fetch: Fetch) -> Values:
        manifest, attached = round_.posted, round_.published.attachment
        masked = MaskedSum.from_bytes(fetch(attached), manifest)
        self._desk.ledger.opened(manifest, attached)
        return self._secrets.open(manifest, round_.contributors, masked)

    def _merge(self, round_: Round, state: State, fetch: Fetch) -> State:
        manifest = round_.posted
        kept = self._desk.rows.get("state", manifest.hash)
        if kept is not None:
            return State.from_bytes(kept)
        step = self._step(state)
        quantiser = Quantiser(step=step, members=self._job.epoch.members)
        total = quantiser.total(self._sums(round_, fetch), len(round_.contributors))
        merged = self._learner.merge(step, total, state)
        self._desk.rows.put([("state", manifest.hash, merged.to_bytes())])
        return merged

    def _vote(self, round_: Round, state: State | None, fetch: Fetch) -> Post:
        """Vote once; from outside every sum that is malformed or does not open looks the same."""
        known = self._desk.ledger.voted(round_.posted)
        if known is not None:
            return self._desk.post(Vote.from_bytes(known))
        accept, tag, following = False, NO_TAG, TRAINED
        try:
            if state is None:
                accept = not self._sums(round_, fetch).any()
            else:
                merged = self._merge(round_, state, fetch)
                tag, following = self._tag(merged), self._next(merged)
                accept = not following.trained or self._learner.scores_are_finite(merged)
        except CryptoError:
            accept = False
        vote = Vote(
            manifest=round_.posted.hash,
            contributors=set_hash(round_.contributors),
            masked=round_.published.attachment,
            accept=accept,
            state_tag=tag,
            next_step=following.to_bytes(),
        )
        self._desk.ledger.vote(round_.posted, vote.to_bytes())
        return self._desk.post(vote)
