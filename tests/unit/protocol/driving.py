"""Drive a federation message by message, honestly or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedanomaly.errors import FedAnomalyError
from fedanomaly.fhe import Manifest
from fedanomaly.protocol import Entry, EpochState, Job, Post, Round, seal
from fedanomaly.protocol.messages import KINDS, Enrol, ManifestPost, Message
from fedanomaly.simulation import Federation
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


def asked(fed: Federation, tag: int = 0) -> None:
    """Let the first member ask for a job."""
    fed.post(fed.members["org-0"].request(toy_request(tag)))


def say(fed: Federation, message: Message, attachment: bytes | None = None) -> Entry:
    """Append what a malicious coordinator signs."""
    fed._append(seal(fed._identity, fed._federation, message.kind, message.to_bytes(), attachment))
    return fed.log[-1]


def signed_by(fed: Federation, index: int, message: Message, attachment: bytes | None = None) -> Post:
    """Return what the member with a roster index signs, whatever it is."""
    identity = fed.parties[index - 1].identity
    return seal(identity, fed._federation, message.kind, message.to_bytes(), attachment)


def listen(fed: Federation, *names: str) -> None:
    """Let members act on the log as it stands; the coordinator says nothing of its own."""
    for party in fed.parties:
        if not names or party.name in names:
            fed.step(party)


def advance(fed: Federation, until_kind: str | None = None) -> bool:
    """Let everybody act once; stop at once, and say so, when the coordinator posts a kind in a real job."""
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
        job = fed.coordinator.transcript.open_job
        if post.envelope.kind == until_kind and job and job.number:
            return True
    listen(fed)
    return False


def until(fed: Federation, state: str, step: int = 0) -> Round:
    """Run honestly until the open round of a real job is in a state."""
    for _ in range(200):
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
            if _reached(fed, state, step):
                return fed.coordinator.transcript.open_job.open_round
        for party in fed.parties:
            fed.step(party)
            if _reached(fed, state, step):
                return fed.coordinator.transcript.open_job.open_round
    raise AssertionError(f"no round reached {state}")


def _reached(fed: Federation, state: str, step: int) -> bool:
    job = fed.coordinator.transcript.open_job
    round_ = job.open_round if job and job.number else None
    return bool(round_ and round_.state.value == state and round_.ask.step == step)


def pass_time(fed: Federation, seconds: int, stride: int = 20) -> None:
    """Let the clock run and everybody act, until every job that was asked for is over."""
    for _ in range(0, seconds, stride):
        log = fed.coordinator.transcript
        if log.live and not log.open_job and not list(log.waiting()) and log.jobs[-1].number:
            return
        fed.now_s += stride
        fed.pump()


def job_of(fed: Federation, tag: int = 0) -> Job:
    """Return the job of a toy request."""
    job = fed.coordinator.transcript.job_of(toy_request(tag).request)
    assert job is not None
    return job


def manifest_of(round_: Round, members: tuple[int, ...], **changes: object) -> ManifestPost:
    """Return a manifest that the coordinator writes for some of who joined."""
    joins = tuple(round_.joins[index] for index in members)
    wanted = {"decryptors": tuple(members[: round_.ask.threshold + 2]), **changes}
    return ManifestPost(manifest=Manifest.build(round_.ask, joins=joins, **wanted).raw)


def renew(fed: Federation, *names: str) -> None:
    """Give members new rows."""
    for index, party in enumerate(fed.parties):
        if party.name in names:
            own = ToyLearner(toy_rows(index + 50), generation=2)
            party.learners = lambda _, own=own: own
            fed.restart(party.name)


def teach(fed: Federation, name: str, learner: ToyLearner) -> None:
    """Give one member another learner, and start it again."""
    next(party for party in fed.parties if party.name == name).learners = lambda _: learner
    fed.restart(name)


def catch_up(fed: Federation, name: str) -> list[FedAnomalyError]:
    """Show a member the log to its end without letting it act; returns what it has against it."""
    member, refused = fed.members[name], []
    for entry in fed.log[member.transcript.head :]:
        try:
            member.accept(entry)
        except FedAnomalyError as error:
            refused.append(error)
    return refused


def read(post_or_entry: Post | Entry) -> Message:
    """Return the message of an envelope."""
    envelope = post_or_entry.envelope
    return KINDS[envelope.kind].from_bytes(envelope.body)


def meddle(fed: Federation, change: Callable[[Post], Iterable[Post]]) -> None:
    """Put somebody between the members and the log, who posts what `change` returns instead."""
    honest = fed.post

    def post(sent: Post) -> None:
        for instead in change(sent):
            honest(instead)

    fed.post = post


def recorded(fed: Federation) -> list[Post]:
    """Return a list that grows by everything that members send, accepted or not."""
    sent: list[Post] = []

    def note(post: Post) -> Iterable[Post]:
        sent.append(post)
        return (post,)

    meddle(fed, note)
    return sent


def enrol_all(fed: Federation) -> None:
    """Enrol every party, and go no further than the call for the first key epoch."""
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)
    for party in fed.parties:
        fed._append(seal(party.identity, fed._federation, "enrol", Enrol(name=party.name).to_bytes()))
    for post in fed.coordinator.act(fed.now_s, fed.blobs):
        fed._append(post)


def set_up_to(fed: Federation, state: EpochState) -> None:
    """Run honestly until the epoch is in a state; nobody has acted on it yet."""
    for _ in range(100):
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
        for party in fed.parties:
            if fed.coordinator.transcript.epoch.state is state:
                return
            fed.step(party)
    raise AssertionError(f"the epoch did not come to {state}")
