"""The set-up of one key epoch, folded from its envelopes. There is no dealer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum

from fedanomaly.errors import MessageError, ProtocolError, ReplayError
from fedanomaly.protocol.envelope import NO_ATTACHMENT, Envelope
from fedanomaly.protocol.messages import Confirm, Deal, EpochCall, Hello, Objection, Roster, RosterAccept
from fedanomaly.types.canonical import begin, item, item_int

Apply = Callable[[], None]

HELLO_BYTES = 1248
"""ML-KEM-768 with X25519 has a public key of 1,216 bytes; the commitment has 32."""


OBJECTIONS = ("hello", "deal")
"""What a member may object to."""


class EpochState(Enum):
    """Where the set-up of an epoch is."""

    CALLED = "called"
    ACCEPTING = "accepting"
    DEALING = "dealing"
    CONFIRMING = "confirming"
    TESTING = "testing"
    LIVE = "live"
    ENDED = "ended"


class Epoch:
    """The fold of one key epoch.

    Parameters
    ----------
    call : EpochCall
        Members in roster order, threshold, policy.
    digest : bytes
        Digest of the envelope that called it.
    """

    def __init__(self, call: EpochCall, digest: bytes) -> None:
        self.call = call
        self.digest = digest
        self.hellos: dict[int, tuple[Hello, Envelope]] = {}
        self.roster: Roster | None = None
        self.roster_hash = b""
        self.accepts: set[int] = set()
        self.deals: dict[tuple[int, int], Envelope] = {}
        self.confirms: dict[int, Confirm] = {}
        self.objections: dict[tuple[int, int], str] = {}
        self.since = 0.0
        self.tested = False
        self.ended = False

    @property
    def members(self) -> int:
        """Size of the roster."""
        return len(self.call.identities)

    @property
    def complete(self) -> bool:
        """Whether every deal was posted."""
        return len(self.deals) == self.members * (self.members - 1)

    @property
    def id(self) -> bytes:
        """The key epoch id: the hash of the roster and of all deals, in order.

        Raises
        ------
        ProtocolError
            If deals are missing.
        """
        if not self.complete:
            raise ProtocolError("the key epoch is not dealt yet")
        out = begin("epoch") + item("roster", self.roster_hash)
        for pair in sorted(self.deals):
            out += item("deal", self.deals[pair].digest)
        return hashlib.sha256(out).digest()

    @property
    def confirmed(self) -> bool:
        """Whether every member signed this epoch id and holds the same group key."""
        return len(self.confirms) == self.members and len(set(self.confirms.values())) == 1

    @property
    def state(self) -> EpochState:
        """Where the set-up is."""
        if self.ended:
            return EpochState.ENDED
        if self.confirmed:
            return EpochState.LIVE if self.tested else EpochState.TESTING
        if self.complete:
            return EpochState.CONFIRMING
        if len(self.accepts) == self.members:
            return EpochState.DEALING
        return EpochState.ACCEPTING if self.roster else EpochState.CALLED

    @property
    def live_label(self) -> bytes:
        """Under which a member keeps its secrets once they are complete."""
        return self.digest + b"live"

    def index_of(self, identity: bytes) -> int:
        """Return the roster index of an identity.

        Raises
        ------
        ProtocolError
            If it is not on the roster.
        """
        if identity not in self.call.identities:
            raise ProtocolError("the sender is not on the roster")
        return self.call.identities.index(identity) + 1

    def hello_of(self, index: int) -> bytes:
        """Return the HPKE key and commitment of a member."""
        return self.hellos[index][0].hello

    def deal_info(self, sender: int, receiver: int) -> bytes:
        """Return what HPKE authenticates: a deal opens for one receiver, from one sender, once."""
        return (
            begin("deal info")
            + item("roster", self.roster_hash)
            + item("nonce", self.hellos[sender][0].nonce)
            + item_int("sender", sender)
            + item_int("receiver", receiver)
            + item("purpose", b"key shares and seeds")
        )

    def on_hello(self, member: int, message: Hello, envelope: Envelope) -> Apply:
        """Check a hello: once for each member, before the roster."""
        if self.roster or member in self.hellos:
            raise ReplayError("the member has said hello")
        if len(message.hello) != HELLO_BYTES:
            raise MessageError("the hello holds no HPKE key and commitment")
        return lambda: self.hellos.__setitem__(member, (message, envelope))

    def on_roster(self, message: Roster) -> Apply:
        """Check the roster: exactly the hellos that were posted, in order."""
        if self.roster:
            raise ReplayError("the epoch has its roster")
        posted = tuple(self.hellos[index][1].digest for index in sorted(self.hellos))
        if len(posted) != self.members or message.hellos != posted:
            raise ProtocolError("the roster does not list what was posted")

        def apply() -> None:
            self.roster = message
            self.roster_hash = hashlib.sha256(message.to_bytes()).digest()

        return apply

    def on_accept(self, member: int, message: RosterAccept) -> Apply:
        """Check that a member accepts this very roster."""
        if not self.roster or message.roster != self.roster_hash:
            raise ProtocolError("no such roster")
        if member in self.accepts:
            raise ReplayError("the member has accepted")
        return lambda: self.accepts.add(member)

    def on_deal(self, member: int, message: Deal, envelope: Envelope) -> Apply:
        """Check a deal: one for each pair, after everybody accepted the roster."""
        if message.roster != self.roster_hash or len(self.accepts) != self.members:
            raise ProtocolError("nothing is dealt before every member accepted the roster")
        if not 1 <= message.receiver <= self.members or message.receiver == member:
            raise ProtocolError("no such receiver")
        if (member, message.receiver) in self.deals:
            raise ReplayError("this pair was dealt already")
        if envelope.attachment == NO_ATTACHMENT:
            raise ProtocolError("a deal is attached")
        return lambda: self.deals.__setitem__((member, message.receiver), envelope)

    def on_objection(self, member: int, message: Objection) -> Apply:
        """Check an objection: once about each other member, to what was posted after the roster was accepted."""
        if message.roster != self.roster_hash or len(self.accepts) != self.members or self.confirmed:
            raise ProtocolError("no such roster, or the set-up is over")
        if not 1 <= message.about <= self.members or message.about == member:
            raise ProtocolError("a member objects to another one")
        if message.what not in OBJECTIONS:
            raise MessageError("an objection is to a hello or a deal")
        if (member, message.about) in self.objections:
            raise ReplayError("the member has objected")
        return lambda: self.objections.__setitem__((member, message.about), message.what)

    def on_confirm(self, member: int, message: Confirm) -> Apply:
        """Check that a member confirms the epoch id that follows from all deals."""
        if message.epoch != self.id:
            raise ProtocolError("the member confirms another key epoch")
        if member in self.confirms:
            raise ReplayError("the member has confirmed")
        return lambda: self.confirms.__setitem__(member, message)
