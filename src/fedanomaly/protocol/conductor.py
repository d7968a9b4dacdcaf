"""How the coordinator moves one round on: manifest, close, sum, outcome.

None of it is trusted: a member holds the manifest and the closed set against
its own rules, and a sum that was changed does not open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedanomaly.fhe import Contribution, DecryptionShare, Manifest, add_up
from fedanomaly.protocol.capabilities import Blobs, Stored
from fedanomaly.protocol.differencing import Summed, refusal, summed_of
from fedanomaly.protocol.envelope import Post, write_all
from fedanomaly.protocol.jobs import Job
from fedanomaly.protocol.messages import Abandon, Close, ManifestPost, Message, Opened, Outcome
from fedanomaly.protocol.relations import Relation, read_relations
from fedanomaly.protocol.rounds import Round, RoundState
from fedanomaly.protocol.settings import Settings
from fedanomaly.protocol.transcript import Transcript
from fedanomaly.types.canonical import HASH_BYTES

Say = Callable[[Message, Stored | None], Post]
"""Signs a message of the coordinator, with what is attached."""

NO_TAG = bytes(HASH_BYTES)


class Conductor:
    """Moves rounds on by the log and the clock.

    Parameters
    ----------
    log : Transcript
        The coordinator's fold.
    settings : Settings
        Deadlines and sizes.
    say : callable
        Signs messages.
    """

    def __init__(self, log: Transcript, settings: Settings, say: Say) -> None:
        self._log = log
        self._settings = settings
        self._sign = say

    def _say(self, message: Message, attachment: Stored | None = None) -> Post:
        return self._sign(message, attachment)

    def move(self, job: Job, round_: Round, now_s: float, blobs: Blobs) -> Post | None:
        """Return what is due in the open round of a job, or None."""
        if round_.abandoned is not None:
            return self._after_abandon(round_, now_s)
        match round_.state:
            case RoundState.ANNOUNCED | RoundState.JOINING:
                return self._joining(job, round_, now_s)
            case RoundState.COLLECTING:
                return self._collecting(job, round_, now_s)
            case RoundState.CLOSED | RoundState.OPENING:
                return self._opening(round_, now_s, blobs)
            case _:
                return self._voting(round_, now_s)

    def _joining(self, job: Job, round_: Round, now_s: float) -> Post | None:
        point = job.point() if job.request else None
        fixed = (point.fixed if point else ()) or self._insisted(job, round_)
        expected = set(fixed or (job.adds() if job.request else range(1, job.epoch.members + 1)))
        gone = expected & job.declined.keys()
        if not expected - gone <= round_.joins.keys() and now_s < round_.since + self._settings.join_s:
            return None
        joined = tuple(sorted(round_.joins))
        if len(joined) < self._settings.least:
            return self._void(round_, "too few members joined")
        if not set(fixed) <= set(joined):
            return self._void(round_, "a member of the job's fixed set did not join")
        joined = fixed or joined  # whoever is outside a fixed set cannot contribute, so it cannot decrypt either
        previous = point.previous if point else None
        certificate = previous.certificate() if previous else None
        manifest = Manifest.build(
            round_.ask,
            joins=tuple(round_.joins[index] for index in joined),
            decryptors=joined[: round_.ask.threshold + 2],
            fixed=fixed,
            previous=previous.opened.attachment if previous and previous.opened else NO_TAG,
            certificate=write_all(certificate.statements) if certificate else b"",
        )
        return self._say(ManifestPost(manifest=manifest.raw))

    def _insisted(self, job: Job, round_: Round) -> tuple[int, ...]:
        # Asked whenever somebody joins, and looked up in all of the past: once, until something else follows from it.
        said = sum(len(earlier.statements) for earlier in self._log.rounds.values())
        key = round_.ask.digest, said, job.adds() if job.request else ()
        if key not in job.insisted:
            job.insisted[key] = self._fixed_by_rows(job)
        return job.insisted[key]

    def _fixed_by_rows(self, job: Job) -> tuple[int, ...]:
        """Return the set that members insist on because of sums over their rows before, if any.

        Each holds to its guard against differencing; naming a set here that all
        of them let pass makes another job over the same rows possible at all.
        """
        if job.request is None:
            return ()
        identities = job.epoch.call.identities
        now = {identities[index - 1]: job.ready[index].generation for index in job.adds()}
        earlier, relations = self._summed_before(now), self._relations()
        threshold = job.epoch.call.threshold

        def passes(fixed: frozenset[bytes]) -> bool:
            asked = Summed(joined=tuple(now.items()), fixed=fixed)
            return all(
                refusal(asked, earlier[own], own=own, relations=relations, threshold=threshold) is None
                for own in fixed or now
            )

        sets = {each.opened for told in earlier.values() for each in told if each.opened} | {frozenset(now)}
        for fixed in (frozenset(), *sorted(sets, key=len, reverse=True)):
            if fixed <= now.keys() and passes(fixed):
                return tuple(index for index, identity in enumerate(identities, 1) if identity in fixed)
        return ()

    def _summed_before(self, now: Iterable[bytes]) -> dict[bytes, list[Summed]]:
        """Return the sums that each of these members contributed to."""
        found: dict[bytes, list[Summed]] = {identity: [] for identity in now}
        for earlier in self._log.rounds.values():
            if earlier.manifest is not None and earlier.manifest.ask.kind == "sum":
                summed = summed_of(earlier.manifest, earlier.identities, earlier)
                for index in earlier.contributions:
                    found.get(earlier.identities[index - 1], []).append(summed)
        return found

    def _relations(self) -> dict[bytes, list[Relation]]:
        """Return what all members said of their sets of rows."""
        told: dict[bytes, set[Relation]] = {}
        for job in self._log.jobs:
            for index, ready in job.ready.items():
                identity = job.epoch.call.identities[index - 1]
                told.setdefault(identity, set()).update(read_relations(ready.relations))
        return {identity: list(each) for identity, each in told.items()}

    def _collecting(self, job: Job, round_: Round, now_s: float) -> Post | None:
        manifest = round_.posted
        wanted = set(round_.awaited)
        arrived = set(round_.contributions)
        gone = wanted & job.declined.keys()
        if not wanted - gone <= arrived and now_s < round_.since + self._settings.contribute_s:
            return None
        contributors = manifest.fixed or tuple(sorted(arrived & wanted))
        if not set(contributors) <= arrived or not manifest.may_open(contributors):
            return self._abandon(round_, "too few contributions arrived")
        if not set(manifest.decryptors) <= arrived:
            return self._abandon(round_, "a decryptor did not contribute")
        digests = tuple(round_.contributions[index].attachment for index in contributors)
        return self._say(Close(manifest=manifest.hash, contributors=contributors, contributions=digests))

    def _opening(self, round_: Round, now_s: float, blobs: Blobs) -> Post | None:
        manifest = round_.posted
        said = {index: statement.opens for index, (statement, _) in round_.statements.items()}
        if not all(said.values()):
            return self._abandon(round_, "a decryptor declared the manifest void")
        if set(said) != set(manifest.decryptors):
            late = now_s >= round_.since + self._settings.statement_s
            return self._abandon(round_, "a decryptor did not answer") if late else None
        given = [(Contribution, blobs.open(round_.contributions[index].attachment)) for index in round_.contributors]
        shares = [(DecryptionShare, blobs.open(round_.statements[i][1].attachment)) for i in manifest.decryptors]
        masked = blobs.store(add_up(manifest, [*given, *shares]))
        return self._say(Opened(manifest=manifest.hash, contributors=round_.contributors), masked)

    def _voting(self, round_: Round, now_s: float) -> Post | None:
        if round_.winning_vote() is not None:
            return self._outcome(round_, RoundState.ACCEPTED, "a quorum accepted the sum")
        if not round_.can_still_win():
            return self._outcome(round_, RoundState.REJECTED, "the members do not agree on the sum")
        if now_s >= round_.since + self._settings.vote_s:
            return self._outcome(round_, RoundState.REJECTED, "too few members voted in time")
        return None

    def _after_abandon(self, round_: Round, now_s: float) -> Post | None:
        certificate = round_.certificate()
        late = now_s >= round_.since + self._settings.statement_s
        if certificate or late:
            return self._void(round_, round_.abandoned or "abandoned")
        return None

    def _abandon(self, round_: Round, reason: str) -> Post:
        return self._say(Abandon(manifest=round_.posted.hash, reason=reason))

    def _void(self, round_: Round, reason: str) -> Post:
        return self._outcome(round_, RoundState.VOID, reason)

    def _outcome(self, round_: Round, outcome: RoundState, reason: str) -> Post:
        return self._say(Outcome(ask=round_.ask.digest, outcome=outcome.value, reason=reason))
