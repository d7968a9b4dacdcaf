"""The fold of a federation's log: who may say what, and when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

from tests.independent.encoding import begin, indices, item, need, number
from tests.independent.envelopes import (
    FROM_COORDINATOR,
    Envelope,
    check_relations,
    checked,
    read_envelope,
    read_next_step,
    verify,
)
from tests.independent.manifests import Ask, Join, Manifest, read_ask, read_manifest
from tests.independent.streams import sha256

SELF_TEST = 0
FINAL = ("accepted", "rejected", "void")


@dataclass
class Epoch:
    """One key epoch."""

    call: SimpleNamespace
    digest: bytes
    hellos: dict[int, tuple[SimpleNamespace, bytes]] = field(default_factory=dict)
    roster: bytes = b""
    accepts: set[int] = field(default_factory=set)
    deals: dict[tuple[int, int], Envelope] = field(default_factory=dict)
    confirms: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    objections: set[tuple[int, int]] = field(default_factory=set)
    tested: bool = False

    @property
    def members(self) -> int:
        return len(self.call.identities)

    def seat(self, identity: bytes) -> int:
        need(identity in self.call.identities, "the sender is not on the roster")
        return self.call.identities.index(identity) + 1

    @property
    def id(self) -> bytes:
        need(len(self.deals) == self.members * (self.members - 1), "the key epoch is not dealt")
        deals = b"".join(item("deal", self.deals[pair].digest) for pair in sorted(self.deals))
        return sha256(begin("epoch") + item("roster", self.roster) + deals)

    @property
    def confirmed(self) -> bool:
        return len(self.confirms) == self.members and len(set(self.confirms.values())) == 1


@dataclass
class Round:
    """One round."""

    ask: Ask
    identities: tuple[bytes, ...]
    joins: dict[int, Join] = field(default_factory=dict)
    manifest: Manifest | None = None
    contributions: dict[int, Envelope] = field(default_factory=dict)
    contributors: tuple[int, ...] = ()
    abandoned: bool = False
    statements: dict[int, tuple[tuple[int, ...], Envelope]] = field(default_factory=dict)
    opened: Envelope | None = None
    votes: dict[int, tuple[bytes, bool, bytes, bytes]] = field(default_factory=dict)
    outcome: str = ""

    def seat(self, identity: bytes) -> int:
        need(identity in self.identities, "the sender is not on the roster of the round")
        return self.identities.index(identity) + 1

    def certificate(self) -> tuple[tuple[int, ...], list[Envelope]] | None:
        """Return the set (empty: void) that |D| - 1 decryptors or more agree on, with their statements."""
        sets: dict[tuple[int, ...], list[Envelope]] = {}
        for _, (contributors, envelope) in sorted(self.statements.items()):
            sets.setdefault(contributors, []).append(envelope)
        enough = len(self.manifest.decryptors) - 1 if self.manifest else 0
        return next(((c, e) for c, e in sets.items() if self.manifest and len(e) >= enough), None)

    def winner(self) -> tuple[bytes, bool, bytes, bytes] | None:
        layout = self.ask.layout
        quorum = (layout.members + layout.threshold - 1) // 2 + 1
        counted = Counter(vote for vote in self.votes.values() if vote[1])
        return next((vote for vote, count in counted.items() if count >= quorum), None)


@dataclass
class Job:
    """One job; number 0 is the self-test."""

    epoch: Epoch
    number: int
    request: SimpleNamespace | None
    ready: dict[int, SimpleNamespace] = field(default_factory=dict)
    declined: set[int] = field(default_factory=set)
    rounds: list[Round] = field(default_factory=list)
    outcome: str = ""

    @property
    def accepted(self) -> list[Round]:
        return [one for one in self.rounds if one.outcome == "accepted"]

    @property
    def open_round(self) -> Round | None:
        return self.rounds[-1] if self.rounds and not self.rounds[-1].outcome else None

    def point(self) -> tuple[int, bytes, SimpleNamespace]:
        """Return number, state tag and size of the step that is due."""
        done = self.accepted
        if done:
            _, _, tag, following = done[-1].winner() or need(False, "no quorum")
            return len(done), tag, read_next_step(following)
        groups: dict[tuple[bytes, bytes], list[int]] = {}
        for member in sorted(self.ready.keys() - self.declined):
            ready = self.ready[member]
            groups.setdefault((ready.state_tag, ready.next_step), []).append(member)
        need(bool(groups), "nobody is ready")
        tag, following = max(groups, key=lambda key: len(groups[key]))
        return 0, tag, read_next_step(following)


class Log:
    """Everything that the envelopes so far say. `admit` refuses whatever breaks a rule, and then changes nothing."""

    def __init__(self, federation: bytes, coordinator: bytes) -> None:
        self.federation = federation
        self.coordinator = coordinator
        self.settings: SimpleNamespace | None = None
        self.members: dict[bytes, str] = {}
        self.epochs: list[Epoch] = []
        self.requests: dict[bytes, tuple[SimpleNamespace, bytes]] = {}
        self.jobs: list[Job] = []
        self.digests: set[bytes] = set()

    def admit(self, raw: bytes) -> Envelope:
        envelope = read_envelope(raw)
        need(envelope.federation == self.federation, "another federation")
        need(envelope.digest not in self.digests, "it is in the log already")
        verify(envelope)
        message = envelope.message()
        by_coordinator = envelope.sender == self.coordinator
        need((message.kind in FROM_COORDINATOR) == by_coordinator, "the sender may not say this")
        need((self.settings is None) == (message.kind == "founded"), "a log is opened once, and first")
        getattr(self, "_" + message.kind.replace("-", "_"))(message, envelope)
        self.digests.add(envelope.digest)
        return envelope

    def _founded(self, message: SimpleNamespace, _: Envelope) -> None:
        need(bool(message.name) and 3 <= message.members <= 250, "impossible settings")
        need(2 <= message.threshold < message.members and 0 < message.quota <= 1 << 27, "impossible settings")
        times = (message.join_ms, message.contribute_ms, message.statement_ms, message.vote_ms, message.attempts)
        need(min(times) > 0, "impossible settings")
        self.settings = message

    def _enrol(self, message: SimpleNamespace, envelope: Envelope) -> None:
        need(envelope.sender not in self.members and message.name not in self.members.values(), "enrolled already")
        need(len(self.members) < self.settings.members, "the federation is complete")
        need(1 <= len(message.name) <= 100 and message.name.isprintable(), "no name")
        self.members[envelope.sender] = message.name

    # Key epochs

    def _epoch_call(self, message: SimpleNamespace, envelope: Envelope) -> None:
        s = self.settings
        need(message.number == len(self.epochs) + 1 and all(job.outcome for job in self.jobs), "not between jobs")
        need(len(message.identities) == s.members and set(message.identities) == set(self.members), "not who enrolled")
        policy = number("members", s.members) + number("threshold", s.threshold) + number("quota", s.quota)
        need(message.threshold == s.threshold and message.policy == sha256(begin("policy") + policy), "another policy")
        self.epochs.append(Epoch(message, envelope.digest))

    def _called(self, digest: bytes) -> Epoch:
        need(bool(self.epochs) and self.epochs[-1].digest == digest, "no such call")
        return self.epochs[-1]

    def _seat(self, envelope: Envelope) -> tuple[Epoch, int]:
        need(bool(self.epochs), "no key epoch was called")
        return self.epochs[-1], self.epochs[-1].seat(envelope.sender)

    def _hello(self, message: SimpleNamespace, envelope: Envelope) -> None:
        epoch = self._called(message.call)
        member = epoch.seat(envelope.sender)
        need(not epoch.roster and member not in epoch.hellos and len(message.hello) == 1248, "no first hello")
        epoch.hellos[member] = (message, envelope.digest)

    def _roster(self, message: SimpleNamespace, envelope: Envelope) -> None:
        epoch = self._called(message.call)
        posted = tuple(epoch.hellos[index][1] for index in sorted(epoch.hellos))
        need(not epoch.roster and len(posted) == epoch.members and message.hellos == posted, "not what was posted")
        epoch.roster = sha256(envelope.body)

    def _roster_accept(self, message: SimpleNamespace, envelope: Envelope) -> None:
        epoch, member = self._seat(envelope)
        need(bool(epoch.roster) and message.roster == epoch.roster and member not in epoch.accepts, "no such roster")
        epoch.accepts.add(member)

    def _deal(self, message: SimpleNamespace, envelope: Envelope) -> None:
        epoch, member = self._seat(envelope)
        need(message.roster == epoch.roster and len(epoch.accepts) == epoch.members, "the roster is not accepted")
        need(1 <= message.receiver <= epoch.members and message.receiver != member, "no such receiver")
        need((member, message.receiver) not in epoch.deals and envelope.attached, "dealt already, or nothing attached")
        epoch.deals[member, message.receiver] = envelope

    def _confirm(self, message: SimpleNamespace, envelope: Envelope) -> None:
        epoch, member = self._seat(envelope)
        need(message.epoch == epoch.id and member not in epoch.confirms, "another epoch, or confirmed already")
        epoch.confirms[member] = (message.epoch, message.tag)

    def _objection(self, message: SimpleNamespace, envelope: Envelope) -> None:
        epoch, member = self._seat(envelope)
        need(message.roster == epoch.roster and len(epoch.accepts) == epoch.members, "the roster is not accepted")
        need(not epoch.confirmed and message.what in ("hello", "deal"), "nothing to object to")
        need(1 <= message.about <= epoch.members and message.about != member, "a member objects to another one")
        need((member, message.about) not in epoch.objections, "objected already")
        epoch.objections.add((member, message.about))

    # Jobs

    def _job_request(self, message: SimpleNamespace, envelope: Envelope) -> None:
        need(envelope.sender in self.members, "only members ask for jobs")
        need(all(request.request != message.request for request, _ in self.requests.values()), "asked before")
        started = [job.request for job in self.jobs]
        mine = [r for r, sender in self.requests.values() if sender == envelope.sender and r not in started]
        need(len(mine) < 16 and len(message.request) == 16 and bool(message.model) and bool(message.dataset), "no job")
        need(max(len(message.model), len(message.dataset), len(message.detector)) <= 200, "a name is too long")
        need(len(message.params) <= 16384, "the parameters are too long")
        self.requests[envelope.digest] = (message, envelope.sender)

    def _job_start(self, message: SimpleNamespace, _: Envelope) -> None:
        epoch = self.epochs[-1] if self.epochs else None
        need(epoch is not None and epoch.confirmed and epoch.tested and message.epoch == epoch.id, "no live epoch")
        need(all(job.outcome for job in self.jobs) and message.request in self.requests, "one job at a time")
        request = self.requests[message.request][0]
        need(all(job.request is not request for job in self.jobs), "the request has its job")
        need(message.job == 1 + max(job.number for job in self.jobs if job.epoch is epoch), "not the next number")
        self.jobs.append(Job(epoch, message.job, request))

    def _job_of(self, message: SimpleNamespace) -> Job:
        found = [job for job in self.jobs if job.number == message.job and job.epoch.id == message.epoch]
        need(bool(found), "no such job")
        return found[-1]

    def _ready(self, message: SimpleNamespace, envelope: Envelope) -> None:
        _, member = self._seat(envelope)
        job = self._job_of(message)
        need(job.request is not None and not job.outcome and member not in job.ready, "answered, or over")
        read_next_step(message.next_step)
        check_relations(message.relations)
        job.ready[member] = message

    def _decline(self, message: SimpleNamespace, envelope: Envelope) -> None:
        _, member = self._seat(envelope)
        job = self._job_of(message)
        need(not job.outcome and member not in job.declined and len(message.reason) <= 300, "answered, or over")
        job.declined.add(member)

    def _job_end(self, message: SimpleNamespace, _: Envelope) -> None:
        job = self._job_of(message)
        need(not job.outcome and job.open_round is None and message.outcome in FINAL, "over, or not yet")
        if message.outcome == "accepted" and job.request is not None:
            step, _, following = job.point()
            need(step > 0 and following.fields == 0, "the job is not trained")
        elif message.outcome == "accepted":
            need(bool(job.accepted), "the self-test has not passed")
            job.epoch.tested = True
        job.outcome = message.outcome

    # Rounds

    def _announce(self, message: SimpleNamespace, _: Envelope) -> None:
        epoch = self.epochs[-1] if self.epochs else None
        need(epoch is not None and epoch.confirmed, "no key epoch is set up")
        running = [job for job in self.jobs if job.epoch is epoch and not job.outcome]
        need(bool(running) or not epoch.tested, "no job is under way")
        job = running[0] if running else Job(epoch, SELF_TEST, None)
        ask = read_ask(message.ask)
        need(job.open_round is None, "a round is under way")
        told = (ask.epoch, ask.roster, ask.policy, ask.layout.members, ask.layout.threshold, ask.job, ask.round)
        due = (epoch.id, epoch.roster, epoch.call.policy, epoch.members, epoch.call.threshold, job.number)
        need(told == (*due, len(job.rounds)), "not the next round of this job")
        need((job.number == SELF_TEST) == (ask.kind == "test"), "only a self-test sums zeros")
        if job.request is not None:
            step, tag, size = job.point()
            need((ask.step, ask.state_tag, ask.schema) == (step, tag, job.request.schema), "not where the job stands")
            told = (ask.step_tag, ask.layout.degree, ask.layout.bits, ask.layout.entries)
            need(told == (size.step_tag, size.preset, size.field_bits, size.fields), "another size than voted for")
        if not running:
            self.jobs.append(job)
        job.rounds.append(Round(ask, epoch.call.identities))

    def rounds(self) -> list[Round]:
        return [one for job in self.jobs for one in job.rounds]

    def _asked(self, digest: bytes) -> Round:
        found = [one for one in self.rounds() if one.ask.digest == digest]
        need(bool(found), "no such round")
        return found[0]

    def _of(self, digest: bytes) -> tuple[Round, Manifest]:
        found = [one for one in self.rounds() if one.manifest and one.manifest.hash == digest]
        need(bool(found), "no such manifest")
        return found[0], found[0].manifest

    def _join(self, message: SimpleNamespace, envelope: Envelope) -> None:
        found = self._asked(message.ask)
        member = found.seat(envelope.sender)
        need(found.manifest is None and not found.outcome and member not in found.joins, "no more joins")
        need(len(message.signature) == 64, "no signature")
        join = Join(member, message.generation, message.nonce, message.signature)
        checked(envelope.sender, join.signature, join.signed(found.ask))
        found.joins[member] = join

    def _manifest(self, message: SimpleNamespace, _: Envelope) -> None:
        running = [job for job in self.jobs if not job.outcome]
        found = running[0].open_round if running else None
        need(found is not None and found.manifest is None, "no round waits for a manifest")
        manifest = read_manifest(message.manifest)
        need(manifest.ask.raw == found.ask.raw, "the manifest is for something else")
        need(all(found.joins.get(join.member) == join for join in manifest.joins), "a join that was not posted")
        found.manifest = manifest

    def _contribution(self, message: SimpleNamespace, envelope: Envelope) -> None:
        found, manifest = self._of(message.manifest)
        member = found.seat(envelope.sender)
        need(not (found.contributors or found.abandoned or found.outcome), "the round is closed")
        need(member in manifest.joined and member not in found.contributions, "not joined, or contributed already")
        need(envelope.attached, "nothing is attached")
        found.contributions[member] = envelope

    def _close(self, message: SimpleNamespace, _: Envelope) -> None:
        found, manifest = self._of(message.manifest)
        need(not (found.contributors or found.abandoned or found.outcome), "the round is closed")
        need(manifest.may_open(message.contributors), "this set may not be opened")
        arrived = [found.contributions.get(index) for index in message.contributors]
        need(all(arrived) and message.contributions == tuple(e.attachment for e in arrived), "not what arrived")
        found.contributors = message.contributors

    def _abandon(self, message: SimpleNamespace, _: Envelope) -> None:
        found, _ = self._of(message.manifest)
        need(not (found.opened or found.abandoned or found.outcome), "the round is over")
        found.abandoned = True

    def _statement(self, message: SimpleNamespace, envelope: Envelope) -> None:
        found, manifest = self._of(message.manifest)
        member = found.seat(envelope.sender)
        need(member in manifest.decryptors and member not in found.statements, "no decryptor, or stated already")
        need(message.opens == envelope.attached == bool(message.contributors), "neither OPEN nor VOID")
        need(not message.opens or message.contributors == found.contributors, "another set than the closed one")
        found.statements[member] = (message.contributors, envelope)

    def _opened(self, message: SimpleNamespace, envelope: Envelope) -> None:
        found, manifest = self._of(message.manifest)
        need(not (found.opened or found.abandoned or found.outcome) and envelope.attached, "the round is over")
        said = {index for index, (contributors, _) in found.statements.items() if contributors}
        need(said == set(manifest.decryptors), "not every decryptor opened this set")
        need(message.contributors == found.contributors, "another set than the closed one")
        found.opened = envelope

    def _vote(self, message: SimpleNamespace, envelope: Envelope) -> None:
        found, _ = self._of(message.manifest)
        member = found.seat(envelope.sender)
        need(found.opened is not None and not found.outcome and member not in found.votes, "nothing to vote on")
        listed = sha256(begin("contributors") + item("U", indices(found.contributors)))
        need((message.masked, message.contributors) == (found.opened.attachment, listed), "about another sum")
        found.votes[member] = (message.masked, message.accept, message.state_tag, message.next_step)

    def _outcome(self, message: SimpleNamespace, _: Envelope) -> None:
        found = self._asked(message.ask)
        need(not found.outcome and message.outcome in FINAL, "over, or no outcome")
        need((message.outcome == "void") == (found.opened is None), "published sums are not void, others are")
        need(message.outcome != "accepted" or found.winner() is not None, "no quorum")
        found.outcome = message.outcome
