"""One round, folded from its envelopes: who joined, what arrived, what opened."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from fedanomaly.errors import ProtocolError, ReplayError
from fedanomaly.fhe import Ask, JoinPost, Manifest
from fedanomaly.protocol.envelope import NO_ATTACHMENT, Envelope, verify
from fedanomaly.protocol.messages import (
    Abandon,
    Close,
    ContributionPost,
    Join,
    ManifestPost,
    Opened,
    Outcome,
    Statement,
    Vote,
)
from fedanomaly.types.canonical import begin, item

Apply = Callable[[], None]


class RoundState(Enum):
    """Where a round is; the last three are final."""

    ANNOUNCED = "announced"
    JOINING = "joining"
    COLLECTING = "collecting"
    CLOSED = "closed"
    OPENING = "opening"
    OPENED = "opened"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    VOID = "void"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in (RoundState.ACCEPTED, RoundState.REJECTED, RoundState.VOID)


@dataclass(frozen=True)
class Certificate:
    """What |D| - 1 decryptors or more signed: never opened, or open to one set.

    Parameters
    ----------
    contributors : tuple of int
        The set; empty if the manifest is void.
    statements : tuple of Envelope
        The signed statements.
    """

    contributors: tuple[int, ...]
    statements: tuple[Envelope, ...]

    @property
    def void(self) -> bool:
        """Whether nothing was released."""
        return not self.contributors


def set_hash(contributors: tuple[int, ...]) -> bytes:
    """Return H(U), which a vote signs."""
    listed = b"".join(index.to_bytes(2, "little") for index in contributors)
    return hashlib.sha256(begin("contributors") + item("U", listed)).digest()


def quorum(members: int, threshold: int) -> int:
    """Return how many equal votes make a state current: floor((n + t - 1) / 2) + 1.

    Any two such sets share at least t members, so at least one honest one:
    t - 1 colluders cannot make two states current for one step.
    """
    return (members + threshold - 1) // 2 + 1


class Round:
    """The fold of one round.

    Parameters
    ----------
    ask : Ask
        What was announced.
    identities : tuple of bytes
        Roster, by index from 1.
    """

    def __init__(self, ask: Ask, identities: tuple[bytes, ...]) -> None:
        self.ask = ask
        self.identities = identities
        self.began = self.since = self.ended = 0.0
        self.joins: dict[int, JoinPost] = {}
        self.manifest: Manifest | None = None
        self.contributions: dict[int, Envelope] = {}
        self.close: Close | None = None
        self.abandoned: str | None = None
        self.statements: dict[int, tuple[Statement, Envelope]] = {}
        self.opened: Envelope | None = None
        self.votes: dict[int, Vote] = {}
        self.outcome: RoundState | None = None
        self.reason = ""

    @property
    def state(self) -> RoundState:
        """Where the round is."""
        if self.outcome:
            return self.outcome
        if self.opened:
            return RoundState.OPENED
        if self.close:
            return RoundState.OPENING if self.statements else RoundState.CLOSED
        if self.manifest:
            return RoundState.COLLECTING
        return RoundState.JOINING if self.joins else RoundState.ANNOUNCED

    def index_of(self, identity: bytes) -> int:
        """Return the index of an identity on the roster of this round.

        A later roster may list it elsewhere: taken from there, one member could
        speak from the seats of several.

        Raises
        ------
        ProtocolError
            If it is not on the roster.
        """
        if identity not in self.identities:
            raise ProtocolError("the sender is not on the roster of this round")
        return self.identities.index(identity) + 1

    @property
    def posted(self) -> Manifest:
        """The manifest; raises ProtocolError before it is posted."""
        if self.manifest is None:
            raise ProtocolError("the round has no manifest")
        return self.manifest

    @property
    def published(self) -> Envelope:
        """The envelope with the masked sum; raises ProtocolError before it is published."""
        if self.opened is None:
            raise ProtocolError("the round was not opened")
        return self.opened

    @property
    def contributors(self) -> tuple[int, ...]:
        """The set U that was closed with, or nobody yet."""
        return self.close.contributors if self.close else ()

    @property
    def awaited(self) -> tuple[int, ...]:
        """Whose contributions the round waits for: who may be added, and every decryptor."""
        manifest = self.posted
        return tuple(sorted({*(manifest.fixed or manifest.joined), *manifest.decryptors}))

    def certificate(self) -> Certificate | None:
        """Return what the decryptors certify, once |D| - 1 of them agree."""
        if not self.manifest:
            return None
        by_set: dict[tuple[int, ...], list[Envelope]] = {}
        for index in sorted(self.statements):
            statement, envelope = self.statements[index]
            by_set.setdefault(statement.contributors, []).append(envelope)
        for contributors, envelopes in by_set.items():
            if len(envelopes) >= len(self.manifest.decryptors) - 1:
                return Certificate(contributors, tuple(envelopes))
        return None

    def winning_vote(self) -> Vote | None:
        """Return the vote that a quorum cast equally, accepting, or None."""
        needed = quorum(self.ask.members, self.ask.threshold)
        for vote, count in Counter(vote for vote in self.votes.values() if vote.accept).items():
            if count >= needed:
                return vote
        return None

    @property
    def won(self) -> Vote:
        """The vote that made the sum current; raises ProtocolError while there is none."""
        vote = self.winning_vote()
        if vote is None:
            raise ProtocolError("no quorum voted for this sum")
        return vote

    def can_still_win(self) -> bool:
        """Whether the votes that are missing could make a quorum."""
        cast = Counter(vote for vote in self.votes.values() if vote.accept)
        missing = self.ask.members - len(self.votes)
        best = max(cast.values(), default=0)
        return best + missing >= quorum(self.ask.members, self.ask.threshold)

    def waiting_for(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """Return the members, of those that take part, whose next message is missing."""
        match self.state:
            case RoundState.ANNOUNCED | RoundState.JOINING:
                due, done = wanted, self.joins.keys()
            case RoundState.COLLECTING if self.abandoned is None:
                due, done = self.awaited, self.contributions.keys()
            case RoundState.COLLECTING | RoundState.CLOSED | RoundState.OPENING:
                due, done = self.posted.decryptors, self.statements.keys()
            case RoundState.OPENED:
                due, done = wanted, self.votes.keys()
            case _:
                return ()
        return tuple(index for index in due if index not in done)

    # Each `on_…` checks a message and returns what it changes; it raises, and
    # nothing changes, if the message breaks a rule.

    def on_join(self, member: int, message: Join) -> Apply:
        """Check a join: before the manifest, once for each member."""
        if self.manifest or self.outcome:
            raise ProtocolError("the round takes no more joins")
        if member in self.joins:
            raise ReplayError("the member has joined already")
        join = JoinPost(member=member, generation=message.generation, nonce=message.nonce, signature=message.signature)
        verify(self.identities[member - 1], join.signature, join.signed(self.ask))
        return lambda: self.joins.__setitem__(member, join)

    def on_manifest(self, message: ManifestPost) -> Apply:
        """Check a manifest: of this ask, with exactly signed joins."""
        if self.manifest or self.outcome:
            raise ReplayError("the round has its manifest")
        manifest = Manifest.from_bytes(message.manifest)
        if manifest.ask != self.ask:
            raise ProtocolError("the manifest is for something else")
        if any(self.joins.get(join.member) != join for join in manifest.joins):
            raise ProtocolError("the manifest holds a join that was not posted")

        def apply() -> None:
            self.manifest = manifest

        return apply

    def on_contribution(self, member: int, message: ContributionPost, envelope: Envelope) -> Apply:
        """Check a contribution: of a joined member, once, before the close."""
        manifest = self.of(message.manifest)
        if self.close or self.abandoned is not None or self.outcome:
            raise ProtocolError("the round is closed")
        if manifest.join_of(member) is None:
            raise ProtocolError("only who joined contributes")
        if member in self.contributions:
            raise ReplayError("the member has contributed already")
        if envelope.attachment == NO_ATTACHMENT:
            raise ProtocolError("a contribution is attached")
        return lambda: self.contributions.__setitem__(member, envelope)

    def on_close(self, message: Close) -> Apply:
        """Check a close: once, a set that may be opened, of what has arrived."""
        manifest = self.of(message.manifest)
        if self.close or self.abandoned is not None or self.outcome:
            raise ReplayError("the round is closed")
        if not manifest.may_open(message.contributors):
            raise ProtocolError("this set may not be opened")
        arrived = [self.contributions.get(index) for index in message.contributors]
        if message.contributions != tuple(envelope.attachment for envelope in arrived if envelope):
            raise ProtocolError("the close names contributions that did not arrive")

        def apply() -> None:
            self.close = message

        return apply

    def on_abandon(self, message: Abandon) -> Apply:
        """Check that a manifest is given up before it was opened."""
        self.of(message.manifest)
        if self.opened or self.abandoned is not None or self.outcome:
            raise ReplayError("the round is over")

        def apply() -> None:
            self.abandoned = message.reason

        return apply

    def on_statement(self, member: int, message: Statement, envelope: Envelope) -> Apply:
        """Check a statement: of a decryptor, one ever, about the closed set or void."""
        manifest = self.of(message.manifest)
        if member not in manifest.decryptors:
            raise ProtocolError("only decryptors make statements")
        if member in self.statements:
            raise ReplayError("the decryptor has made its statement")
        if message.opens != (envelope.attachment != NO_ATTACHMENT) or message.opens != bool(message.contributors):
            raise ProtocolError("a statement to open has a set and a share, a void one has neither")
        if message.opens and message.contributors != self.contributors:
            raise ProtocolError("the statement opens another set than the closed one")
        return lambda: self.statements.__setitem__(member, (message, envelope))

    def on_opened(self, message: Opened, envelope: Envelope) -> Apply:
        """Check the masked sum: every decryptor has said OPEN to this very set."""
        manifest = self.of(message.manifest)
        if self.opened or self.abandoned is not None or self.outcome:
            raise ReplayError("the round is over")
        said = {index for index, (statement, _) in self.statements.items() if statement.opens}
        if said != set(manifest.decryptors) or message.contributors != self.contributors:
            raise ProtocolError("not every decryptor opened this set")
        if envelope.attachment == NO_ATTACHMENT:
            raise ProtocolError("a masked sum is attached")

        def apply() -> None:
            self.opened = envelope

        return apply

    def on_vote(self, member: int, message: Vote) -> Apply:
        """Check a vote: once for each member, about the sum that was published."""
        self.of(message.manifest)
        if not self.opened or self.outcome:
            raise ProtocolError("there is nothing to vote on")
        if member in self.votes:
            raise ReplayError("the member has voted")
        if message.masked != self.opened.attachment or message.contributors != set_hash(self.contributors):
            raise ProtocolError("the vote is about another sum")
        return lambda: self.votes.__setitem__(member, message)

    def on_outcome(self, message: Outcome) -> Apply:
        """Check an outcome: acceptance needs its quorum, and voids nothing opened."""
        if self.outcome:
            raise ReplayError("the round is over")
        try:
            outcome = RoundState(message.outcome)
        except ValueError:
            raise ProtocolError("an unknown outcome") from None
        if not outcome.final:
            raise ProtocolError("an outcome is final")
        if (outcome is RoundState.VOID) == (self.opened is not None):
            raise ProtocolError("a sum that was published is accepted or rejected, any other round is void")
        if outcome is RoundState.ACCEPTED:
            _ = self.won

        def apply() -> None:
            self.outcome, self.reason = outcome, message.reason

        return apply

    def of(self, digest: bytes) -> Manifest:
        """Return the manifest, which must have this hash."""
        if self.manifest is None or self.manifest.hash != digest:
            raise ProtocolError("no such manifest in this round")
        return self.manifest
