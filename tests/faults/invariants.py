"""What must hold whatever happens, judged by what left each party and by everybody's plaintexts.

Nothing here asks a party what it believes. The watch sees envelopes leave,
entries become durable, rows being written and pseudo-random functions being
used, and it knows every row of every data snapshot.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.fhe import Manifest
from fedanomaly.protocol import Post
from fedanomaly.protocol.capabilities import Row
from fedanomaly.protocol.messages import KINDS, EpochCall, ManifestPost, Message, Roster, Statement, Vote
from fedanomaly.protocol.rounds import quorum
from fedanomaly.types import State
from tests.faults.speed import parsed

if TYPE_CHECKING:
    from tests.faults.node import Node

RULES = {
    "one statement": "a member says one thing about a manifest, whatever copy of it speaks",
    "prf inputs": "no input of a pseudo-random function is used for two payloads",
    "opened sets": "opened sets over the same rows have equal or disjoint honest parts",
    "one alone": "no combination of opened sums holds the rows of one honest member alone",
    "few new rows": "over one opened set, the members with new rows number 0 or more than the threshold",
    "one state": "no step has two accepted states",
    "exact sums": "what is opened is the sum over exactly the closed set",
    "same bytes": "what is sent again is the same, bit for bit",
    "all ends": "when faults stop, every job ends, with a reason if it is void",
    "works again": "when faults stop, a job over new rows is accepted",
    "nothing left": "after a job no frozen values are kept",
}


class ViolationError(AssertionError):
    """A rule was broken."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{RULES[rule]}: {what}")
        self.rule, self.what = rule, what

    def __reduce__(self) -> tuple[type[ViolationError], tuple[str, str]]:
        return ViolationError, (self.rule, self.what)  # it comes from another process


@dataclass(frozen=True)
class Opened:
    """A manifest that all its decryptors opened, by identities."""

    manifest: bytes
    members: frozenset[bytes]
    generations: dict[bytes, int]
    threshold: int


class Watch:
    """Holds all that was seen against the rules, at once.

    Parameters
    ----------
    totals : callable
        Returns the true statistics, by field, of roster positions, snapshots and a state's parameters.
    pieces : callable
        Returns what a snapshot is made up of; no two pieces have rows in common.
    """

    def __init__(
        self,
        totals: Callable[[list[tuple[bytes, int]], State], dict[str, np.ndarray]],
        pieces: Callable[[int], tuple[int, ...]],
    ) -> None:
        self._totals = totals
        self._pieces = pieces
        self.corrupted: set[bytes] = set()
        """Identities that the rules cannot speak for: restored while the log went back as well."""
        self.accepted_steps = 0
        self.opened: dict[bytes, Opened] = {}
        self._manifests: dict[bytes, tuple[Manifest, tuple[bytes, ...]]] = {}
        self._calls: dict[bytes, EpochCall] = {}
        self._rosters: dict[bytes, tuple[bytes, ...]] = {}
        self._closed: dict[bytes, set[tuple[int, ...]]] = defaultdict(set)
        self._said: dict[tuple[bytes, bytes], bytes] = {}
        self._sent: dict[tuple, bytes] = {}
        self._drawn: dict[tuple, tuple[bytes, ...]] = {}
        self._votes: dict[bytes, dict[bytes, set[Vote]]] = defaultdict(lambda: defaultdict(set))
        self._states: dict[tuple[bytes, int, int], bytes] = {}

    # What is seen

    def left(self, node: Node, post: Post) -> None:
        """An envelope leaves a member, wherever it goes."""
        sender, message = node.identity.public_key, read(post)
        if isinstance(message, Statement):
            said = post.envelope.body + post.envelope.attachment
            if self._said.setdefault((sender, message.manifest), said) != said:
                raise ViolationError(
                    "one statement", f"{node.label} said another thing about {message.manifest.hex()[:8]}"
                )
            self._check_opened(message)
        elif isinstance(message, Vote) and message.accept:
            self._votes[message.manifest][sender].add(message)
            self._check_accepted(message.manifest)
        self._once(node, post, message)

    def appended(self, data: bytes) -> None:
        """An entry becomes durable at the coordinator; it may be shown to anybody from now on."""
        envelope = parsed(data)
        message = KINDS[envelope.kind].from_bytes(envelope.body)
        if isinstance(message, EpochCall):
            self._calls[envelope.digest] = message
        elif isinstance(message, Roster):
            self._rosters[digest_of(message)] = self._calls[message.call].identities
        elif isinstance(message, ManifestPost):
            manifest = Manifest.from_bytes(message.manifest)
            self._manifests[manifest.hash] = (manifest, self._rosters[manifest.ask.roster])

    def wrote(self, node: Node, row: Row) -> None:
        """A row becomes durable at a member; a state holds what was opened."""
        kind, key, value = row
        if kind != "state":
            return
        manifest, identities = self._manifests[key]
        state = State.from_bytes(value)
        by_index = generations(manifest)
        for contributors in self._closed[key]:
            told = [(identities[index - 1], by_index[index]) for index in contributors]
            true = self._totals(told, state)
            if all(np.array_equal(state[name], true[name]) for name in true if name in state):
                return
        raise ViolationError("exact sums", f"{node.label} opened what is the sum of no set that was opened")

    def drew(self, key: tuple, payload: tuple[bytes, ...]) -> None:
        """A pseudo-random function is used."""
        if self._drawn.setdefault(key, payload) != payload:
            raise ViolationError("prf inputs", f"member {key[1]} used {key[-1]} of manifest {key[2].hex()[:8]} twice")

    # What is held against it

    def _once(self, node: Node, post: Post, message: Message) -> None:
        names = [getattr(message, name, b"") for name in ("call", "roster", "epoch", "job", "ask", "manifest")]
        what = (post.envelope.kind, *names, getattr(message, "receiver", 0), getattr(message, "request", b""))
        if post.envelope.kind in ("ready", "decline"):
            return  # tells of the node as it is now; only the first one counts
        copies = () if post.envelope.kind in ("contribution", "statement") else (node.life,)
        boots = (node.boots,) if post.envelope.kind == "join" else ()
        key = (node.identity.public_key, *copies, *boots, *what)
        if self._sent.setdefault(key, post.envelope.digest) != post.envelope.digest:
            raise ViolationError("same bytes", f"{node.label} sent another {post.envelope.kind}")

    def _check_opened(self, message: Statement) -> None:
        manifest, identities = self._manifests[message.manifest]
        if message.opens:
            self._closed[manifest.hash].add(message.contributors)
        sets = set()
        for index in manifest.decryptors:
            said = self._said.get((identities[index - 1], manifest.hash))
            sets.add(Statement.from_bytes(said[:-32]).contributors if said else ())
        if len(sets) != 1 or manifest.ask.kind != "sum" or not (contributors := sets.pop()):
            return
        by_index = generations(manifest)
        opened = Opened(
            manifest.hash,
            frozenset(identities[index - 1] for index in contributors),
            {identities[index - 1]: by_index[index] for index in manifest.joined},
            manifest.ask.threshold,
        )
        for earlier in self.opened.values():
            self._check_pair(earlier, opened)
        self.opened[manifest.hash] = opened
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Look at all linear combinations of what was opened: each row of a matrix is a sum, over pieces of rows."""
        sums = {
            frozenset((member, each.generations[member]) for member in each.members) for each in self.opened.values()
        }
        honest = {member for told in sums for member, _ in told} - self.corrupted
        pieces = sorted({(one, piece) for told in sums for one, own in told for piece in self._pieces(own)})
        held = [{(one, piece) for one, own in told for piece in self._pieces(own)} for told in sums]
        matrix = np.array([[key in told for key in pieces] for told in held], dtype=int)
        for victim in honest:
            others = [at for at, (one, _) in enumerate(pieces) if one in honest and one != victim]
            with_victim = [at for at, (one, _) in enumerate(pieces) if one in honest]
            if np.linalg.matrix_rank(matrix[:, others]) < np.linalg.matrix_rank(matrix[:, with_victim]):
                raise ViolationError("one alone", victim.hex()[:8])

    def _check_pair(self, earlier: Opened, later: Opened) -> None:
        both = (earlier.members & later.members) - self.corrupted
        if earlier.manifest == later.manifest:
            return
        if not any(earlier.generations[member] == later.generations[member] for member in both):
            return
        if earlier.members - self.corrupted != later.members - self.corrupted:
            raise ViolationError("opened sets", f"{later.manifest.hex()[:8]} after {earlier.manifest.hex()[:8]}")
        changed = sum(earlier.generations[member] != later.generations.get(member) for member in earlier.members)
        if 0 < changed <= later.threshold:
            raise ViolationError("few new rows", f"{later.manifest.hex()[:8]} after {earlier.manifest.hex()[:8]}")

    def _check_accepted(self, digest: bytes) -> None:
        manifest, _ = self._manifests[digest]
        ask = manifest.ask
        cast = Counter(vote for votes in self._votes[digest].values() for vote in votes)
        for vote, count in cast.items():
            if count >= quorum(ask.members, ask.threshold):
                step = (ask.epoch, ask.job, ask.step)
                self.accepted_steps += step not in self._states
                if self._states.setdefault(step, vote.state_tag) != vote.state_tag:
                    raise ViolationError("one state", f"job {ask.job}, step {ask.step}")


def read(post: Post) -> Message:
    """Return the message of a post."""
    return KINDS[post.envelope.kind].from_bytes(post.envelope.body)


def generations(manifest: Manifest) -> dict[int, int]:
    """Return the data snapshot of everybody who joined."""
    return {join.member: join.generation for join in manifest.joins}


def digest_of(message: Message) -> bytes:
    """Return the hash that names a roster."""
    return hashlib.sha256(message.to_bytes()).digest()
