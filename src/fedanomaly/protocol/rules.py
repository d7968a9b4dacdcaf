"""The rules that a node enforces itself, whatever it is told.

They stand on the node's own write-once rows: what was joined, contributed,
stated, opened, voted. A row is durable before anything that depends on it
leaves, and its value never changes, so a retry sends the same bytes and a
second answer is impossible. Reasons: DESIGN.md section 4, CRYPTO.md section 2.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import CapacityError, DifferencingError, RefusedError
from fedanomaly.fhe import Ask, Manifest
from fedanomaly.protocol.capabilities import Row, Rows, Secrets
from fedanomaly.protocol.differencing import ANOTHER_SET, MOST_COEFFICIENTS, Relations, Summed, refusal, summed_of
from fedanomaly.protocol.envelope import Envelope
from fedanomaly.protocol.messages import ContributionPost, Join, Message, Ready, Statement
from fedanomaly.protocol.relations import Relation, read_relations, write_relations
from fedanomaly.protocol.rounds import Round
from fedanomaly.types.canonical import HASH_BYTES, Reader, item, item_int
from fedanomaly.types.span import Span

Values = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What a node froze when it joined.

    Parameters
    ----------
    nonce, random : bytes
        The nonce and what went into it.
    generation : int
        Counter of the data snapshot.
    values : uint64 array
        The quantised statistic.
    """

    nonce: bytes
    random: bytes
    generation: int
    values: Values

    @property
    def hash(self) -> bytes:
        """H(v)."""
        return frozen_hash(self.values)


@dataclass(frozen=True, kw_only=True)
class Contributed:
    """One manifest that a node contributed to, by identities rather than indices."""

    manifest: Manifest
    identities: tuple[bytes, ...]
    generation: int


def frozen_hash(values: Values) -> bytes:
    """Return the hash of frozen values."""
    return hashlib.sha256(values.astype("<u8").tobytes()).digest()


class Ledger:
    """A node's rules over its rows.

    Parameters
    ----------
    rows : Rows
        Durable, write-once.
    boot : bytes
        Random at every start and never stored apart from a join: a join from
        before a restart, or from before a copy was made, is not answered for.
    """

    def __init__(self, rows: Rows, boot: bytes) -> None:
        self._rows = rows
        self._boot = boot

    # Rule 1: it contributes only what it froze.

    def joined(self, ask: Ask) -> Joined | None:
        """Return what was frozen for a round since this start, or None."""
        key = ask.digest + self._boot
        head, body = self._rows.get("join", key), self._rows.get("frozen", key)
        if head is None or body is None:
            return None
        reader = Reader(head)
        nonce, random, generation = reader.hash("nonce"), reader.hash("random"), reader.int("gen")
        values = np.frombuffer(body, dtype="<u8").astype(np.uint64)
        return Joined(nonce=nonce, random=random, generation=generation, values=values)

    def answers_for(self, manifest: Manifest, me: int) -> bool:
        """Whether this node, since it started, joined the manifest itself.

        If not it stays silent about it: it cannot know what it, or a copy of it,
        has said before. The coordinator's deadline ends the round, and the step
        is tried again.
        """
        frozen, join = self.joined(manifest.ask), manifest.join_of(me)
        return frozen is not None and join is not None and join.nonce == frozen.nonce

    def join(self, ask: Ask, secrets: Secrets, *, values: Values, generation: int, random: bytes) -> Joined:
        """Freeze the values of a round and return the join.

        Raises
        ------
        ReplayError
            If the job was joined with another data snapshot.
        RefusedError
            If this ledger is a copy of another one and the rows are still the same.
        """
        nonce = secrets.nonce(ask, generation=generation, frozen_hash=frozen_hash(values), random=random)
        key = ask.digest + self._boot
        head = item("nonce", nonce) + item("random", random) + item_int("gen", generation)
        rows: list[Row] = [("join", key, head), ("frozen", key, values.astype("<u8").tobytes())]
        rows.append(("nonce", nonce, ask.digest))
        if ask.kind == "sum":  # a self-test sums zeros, of no rows: whoever answers, nothing is told
            self._refuse_clone(generation)
            rows.append(("generation", _job(ask), item_int("gen", generation)))
        self._rows.put(rows)
        return Joined(nonce=nonce, random=random, generation=generation, values=values)

    def thaw(self, ask: Ask) -> None:
        """Forget the frozen values of a round that is over."""
        for key, _ in list(self._rows.all("frozen")):
            if key.startswith(ask.digest):
                self._rows.erase("frozen", key)

    def contribute(
        self,
        round_: Round,
        secrets: Secrets,
        *,
        me: int,
        quota: int,
        certified: Mapping[bytes, Round],
        ready: Mapping[int, Ready],
        relations: Iterable[Relation] = (),
    ) -> Values:
        """Record a contribution and return the values that it encrypts.

        Parameters
        ----------
        round_ : Round
            With its manifest.
        secrets : Secrets
            Of the key epoch; recomputes the nonce.
        me : int
            Own roster index.
        quota : int
            Coefficients of the epoch.
        certified : mapping of bytes to Round
            Earlier rounds by manifest hash, for their certificates.
        ready : mapping of int to Ready
            What every member said when the job began, by roster index.
        relations : iterable of Relation, optional
            All that this node knows now of its own sets of rows.

        Raises
        ------
        RefusedError
            If a rule forbids it.
        CapacityError
            If the key epoch has used up its quota.
        """
        manifest = round_.posted
        ask, digest = manifest.ask, manifest.hash
        frozen, join = self.joined(ask), manifest.join_of(me)
        if frozen is None or join is None or not self.answers_for(manifest, me):
            raise RefusedError("the manifest does not hold a join of this node since it started")
        nonce = secrets.nonce(ask, generation=join.generation, frozen_hash=frozen.hash, random=frozen.random)
        if not hmac.compare_digest(nonce, join.nonce):
            raise RefusedError("the frozen values are not those that were joined with")
        if self._rows.get("contributed", digest) is None:
            if self._rows.get("statement", digest) is not None:
                raise RefusedError("this node has declared the manifest void")
            used = sum(entry.manifest.ask.layout.coefficients for entry in self.contributed(ask.epoch))
            if used + ask.layout.coefficients > quota:
                raise CapacityError("the key epoch has used up its quota", hint="start a new key epoch")
            self._follows(round_, certified)
            said: dict[bytes, set[Relation]] = {}
            if ask.kind == "sum":
                own = round_.identities[me - 1]
                said = self._told(round_, own, ready, relations)
                # Whoever takes part has said all that counts; of others there is what they said before.
                self._guard(round_, own, {**self._heard(), **said}, certified)
            record = item("manifest", manifest.raw) + item("identities", b"".join(round_.identities))
            record += item_int("gen", join.generation)
            rows: list[Row] = [("spent", join.nonce, digest), ("contributed", digest, record)]
            self._rows.put(rows + [_relation_row(one, told) for one, each in said.items() for told in each])
        return frozen.values

    def contributed(self, epoch: bytes | None = None) -> Iterator[Contributed]:
        """Yield what this node contributed to, of one key epoch or of all."""
        for _, record in self._rows.all("contributed"):
            reader = Reader(record)
            manifest = Manifest.from_bytes(reader.item("manifest"))
            listed = reader.item("identities")
            identities = tuple(listed[at : at + 32] for at in range(0, len(listed), 32))
            if epoch in (None, manifest.ask.epoch):
                yield Contributed(manifest=manifest, identities=identities, generation=reader.int("gen"))

    def _follows(self, round_: Round, certified: Mapping[bytes, Round]) -> None:
        """Check that a later step rests on the step that this node opened, over the same set."""
        manifest = round_.posted
        if manifest.ask.kind == "test":
            return
        fixed = self._rows.get("fixed", _job(manifest.ask))
        if manifest.ask.step == 0:
            if manifest.certificate:
                raise RefusedError("a first step rests on nothing")
            return
        statements = [
            (envelope, Statement.from_bytes(envelope.body)) for envelope in Envelope.read_all(manifest.certificate)
        ]
        named = {statement.manifest for _, statement in statements}
        earlier = certified.get(next(iter(named))) if len(named) == 1 else None
        certificate = earlier.certificate() if earlier else None
        if certificate is None or certificate.void or earlier is None or earlier.manifest is None:
            raise RefusedError("the certificate of the step before is not one")
        told = tuple(envelope.digest for envelope, _ in statements)
        if told != tuple(envelope.digest for envelope in certificate.statements):
            raise RefusedError("the certificate of the step before is not one")
        if self._rows.get("opened", earlier.manifest.hash) != manifest.previous:
            raise RefusedError("the step before opened to something else at this node")
        if fixed is None or _listed(manifest.fixed) != fixed:
            raise RefusedError("a later step opens the same set as the first one, and no other")

    def summed(self) -> frozenset[int]:
        """Return the generations of all rows that this node has contributed to sums."""
        return frozenset(entry.generation for entry in self.contributed() if entry.manifest.ask.kind == "sum")

    def _guard(self, round_: Round, own: bytes, relations: Relations, certified: Mapping[bytes, Round]) -> None:
        """Apply the guard against differencing (`protocol.differencing`), keyed by rows in all key epochs."""
        manifest = round_.posted
        earlier = [
            summed_of(entry.manifest, entry.identities, certified.get(entry.manifest.hash))
            for entry in self.contributed()
            if entry.manifest.ask.kind == "sum"
        ]
        # With whom a copy of this node may have summed what is not known.
        named = {generation for relation in relations.get(own, ()) for generation in (*relation.left, *relation.right)}
        copied = {generation for generation in named if generation <= self.clone_generation}
        earlier += [Summed(joined=((own, generation),), fixed=frozenset()) for generation in copied]
        asked = summed_of(manifest, round_.identities, None)
        told = refusal(asked, earlier, own=own, relations=relations, threshold=manifest.ask.threshold)
        if told == ANOTHER_SET:
            raise DifferencingError(told, hint="add new rows, at every member; or train with the members of before")
        if told:
            raise RefusedError(told)

    def _told(
        self, round_: Round, own: bytes, ready: Mapping[int, Ready], relations: Iterable[Relation]
    ) -> dict[bytes, set[Relation]]:
        """Return what everyone who joined said of its sets of rows in this job; this node MUST have said all it knows.

        A coordinator that held it back could make the guard take old rows for new.
        """
        said: dict[bytes, set[Relation]] = {}
        for join in round_.posted.joins:
            message = ready.get(join.member)
            if message is None or message.generation != join.generation:
                raise RefusedError("a member joined with rows of which it has not said what they are made up of")
            said[round_.identities[join.member - 1]] = set(read_relations(message.relations))
        known = Span((relation.vector() for relation in said[own]), limit=MOST_COEFFICIENTS)
        if not all(relation.vector() in known for relation in relations):
            raise RefusedError(
                "this node has summed, or added, rows since it said that it is ready", hint="ask for the job again"
            )
        return said

    def _heard(self) -> dict[bytes, set[Relation]]:
        """Return what members said of their sets of rows in jobs that this node contributed to, by identity."""
        heard: dict[bytes, set[Relation]] = {}
        for key, written in self._rows.all("relation"):
            heard.setdefault(key[:HASH_BYTES], set()).update(read_relations(written))
        return heard

    # Rule 2: one statement for a manifest, ever.

    def state(self, round_: Round, *, me: int, opens: bool) -> Statement:
        """Record the one statement of a decryptor and return it.

        Raises
        ------
        RefusedError
            If a rule forbids it.
        ReplayError
            If the node has said something else.
        """
        manifest = round_.posted
        contributors = round_.contributors if opens else ()
        statement = Statement(manifest=manifest.hash, opens=opens, contributors=contributors)
        if self._rows.get("statement", manifest.hash) is None:
            join = manifest.join_of(me)
            if join is None or me not in manifest.decryptors or not self.answers_for(manifest, me):
                raise RefusedError("this node is no decryptor, or did not join since it started")
            if opens and self._rows.get("spent", join.nonce) != manifest.hash:
                raise RefusedError("only who contributed opens")
            if opens and not manifest.may_open(contributors):
                raise RefusedError("this set may not be opened")
        self._rows.put([("statement", manifest.hash, statement.to_bytes())])
        return statement

    # Rule 6: a restored or copied ledger is a clone.

    def recognise(self, message: Message, generation: int) -> bool:
        """Return whether this ledger knows what its own identity posted.

        What it does not know was posted by a twin: a copy that runs elsewhere,
        or this node before it was restored from a backup. From then on it joins
        nothing until its rows have changed.
        """
        match message:
            case Join():
                known = self._rows.get("nonce", message.nonce)
            case ContributionPost():
                known = self._rows.get("contributed", message.manifest)
            case Statement():
                known = self._rows.get("statement", message.manifest)
            case _:
                return True
        if known is None:
            self.mark_clone(generation)
        return known is not None

    def mark_clone(self, generation: int) -> None:
        """Record that this ledger is a copy: nothing of generations up to this one is joined with again."""
        self._rows.put([("clone", item_int("gen", generation), b"")])

    @property
    def clone_generation(self) -> int:
        """The last generation that is not joined with, because this ledger is a copy; 0 if it is none."""
        return max((Reader(key).int("gen") for key, _ in self._rows.all("clone")), default=0)

    def _refuse_clone(self, generation: int) -> None:
        if generation <= self.clone_generation:
            raise RefusedError(
                "this ledger was restored or copied, and its data set has no new rows since",
                hint="stop the other copy, if there is one; the node joins again once its data set has new rows",
            )

    # One decoding and one vote for a manifest, one accepted state for a step.

    def opened(self, manifest: Manifest, masked_digest: bytes) -> None:
        """Record which masked sum is decoded; another one is refused (ReplayError)."""
        self._rows.put([("opened", manifest.hash, masked_digest)])

    def accepted(self, round_: Round) -> None:
        """Record which round of a step became current, and the set of its job.

        Raises
        ------
        ReplayError
            If another round of this step was accepted, or the job has another set.
        """
        manifest = round_.posted
        key = _job(manifest.ask)
        self._rows.put(
            [
                ("accepted", key + item_int("step", manifest.ask.step), manifest.hash),
                ("fixed", key, _listed(round_.contributors)),
            ]
        )

    def current(self, manifest: Manifest) -> None:
        """Record that the state after an accepted round is the one that was voted for."""
        self._rows.put([("current", manifest.hash, b"")])

    def is_current(self, manifest: Manifest) -> bool:
        """Whether `current` was recorded."""
        return self._rows.get("current", manifest.hash) is not None

    def vote(self, manifest: Manifest, body: bytes) -> None:
        """Record the one vote on a manifest; another one is refused (ReplayError)."""
        self._rows.put([("vote", manifest.hash, body)])

    def voted(self, manifest: Manifest) -> bytes | None:
        """Return the vote that was cast, or None."""
        return self._rows.get("vote", manifest.hash)


def _relation_row(identity: bytes, relation: Relation) -> Row:
    written = write_relations([relation])
    return "relation", identity + hashlib.sha256(written).digest(), written


def _job(ask: Ask) -> bytes:
    return item("epoch", ask.epoch) + item_int("job", ask.job)


def _listed(indices: tuple[int, ...]) -> bytes:
    return b"".join(index.to_bytes(2, "little") for index in indices)
