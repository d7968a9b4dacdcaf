"""A coordinator's service that lies over HTTP with the coordinator's own key: another log for each member."""

from __future__ import annotations

import hashlib

import pytest

from fedanomaly.errors import FedAnomalyError
from fedanomaly.fhe import Contribution, DecryptionShare, Manifest
from fedanomaly.protocol import Envelope, Transcript, seal
from fedanomaly.protocol.messages import Abandon, Close, Message, Opened
from fedanomaly.transport.wire import Feed, FeedEntry
from fedanomaly.types.canonical import begin, item
from tests.attacks.between import Organisation, Web, web
from tests.attacks.evidence import convicted
from tests.attacks.fork import private
from tests.sums import added
from tests.unit.coordinator.conftest import plain_logs
from tests.unit.protocol.driving import manifest_of, read
from tests.unit.protocol.toy import toy_request

__all__ = ["plain_logs"]


class Liar:
    """The service from the moment that its operator turns: it shows each member what it likes, and hears everything."""

    def __init__(self, made: Web) -> None:
        self.web, self.home, self.service = made, made.federation.home, made.app.state.service
        first = made.organisations[0]
        stored, head = first.client.feed(0)
        while len(stored) < head:
            stored += first.client.feed(len(stored))[0]
        common = [entry.envelope for entry in stored]
        self.logs = {other.party.identity.public_key: list(common) for other in made.organisations}
        self.heard: list[Envelope] = []
        self.service.feed, self.service.post = self._feed, self._post

    async def _feed(self, member: bytes, after: int, _wait_s: float) -> Feed:
        log = self.logs[member]
        entries = tuple(
            FeedEntry(seq=seq, received_at=1.0, data=envelope.to_bytes())
            for seq, envelope in enumerate(log[after:], after + 1)
        )
        return Feed(head=len(log), entries=entries, chain=self._chain(log[:after]))

    async def _post(self, member: bytes, data: bytes) -> int:
        envelope = Envelope.from_bytes(data)
        if envelope not in self.heard:
            self.heard.append(envelope)
        if envelope.size:
            self.service.blobs.keep(member, envelope.attachment, envelope.size)
        return 1

    def _chain(self, log: list[Envelope]) -> bytes:
        chain = hashlib.sha256(begin("log") + item("federation", self.home.federation)).digest()
        for envelope in log:
            chain = hashlib.sha256(begin("log entry") + item("before", chain) + item("entry", envelope.digest)).digest()
        return chain

    def say(self, message: Message, to: list[Organisation] | None = None, attachment: bytes | None = None) -> None:
        """Sign something as the coordinator and show it to some members, or to all."""
        post = seal(self.home.identity, self.home.federation, message.kind, message.to_bytes(), attachment)
        if attachment is not None:
            self.service.blobs.store([attachment])
        self.show(post.envelope, to)

    def show(self, envelope: Envelope, to: list[Organisation] | None = None) -> None:
        """Show what was signed by anybody."""
        for other in to or self.web.organisations:
            self.logs[other.party.identity.public_key].append(envelope)

    def listen(self, *who: Organisation) -> list[Envelope]:
        """Let members act on what they are shown; returns what is new of what they then posted."""
        known = len(self.heard)
        for other in who or self.web.organisations:
            other.tried()
        return self.heard[known:]

    def fold(self, other: Organisation) -> Transcript:
        return other.member.transcript


@pytest.fixture
def liar(tmp_path):
    """A service that turns when every member of four has joined a round."""
    with web(tmp_path, members=4) as made:
        first = made.organisations[0]
        first.client.post(first.member.request(toy_request(1)).envelope)
        liar = None
        for _ in range(20):
            for other in made.organisations:
                other.step()
                job = made.log.open_job
                if liar is None and job and job.number and job.open_round and len(job.open_round.joins) == 3:
                    liar = Liar(made)
            if liar:
                break
        assert liar
        for envelope in [envelope for envelope in liar.heard if envelope.kind == "join"]:
            liar.show(envelope)
        for other in made.organisations:
            other.tried()
        yield liar


def joined(liar: Liar):
    return liar.fold(liar.web.organisations[0]).open_job.open_round


def contribute(liar: Liar):
    """Post the honest manifest, and show everybody every contribution; returns the round as a member sees it."""
    liar.say(manifest_of(joined(liar), (1, 2, 3, 4)))
    for envelope in liar.listen():
        assert envelope.kind == "contribution"
        liar.show(envelope)
    liar.listen()
    round_ = joined(liar)
    assert sorted(round_.contributions) == [1, 2, 3, 4]
    return round_


def close_of(round_, contributors: tuple[int, ...]) -> Close:
    digests = tuple(round_.contributions[index].attachment for index in contributors if index in round_.contributions)
    return Close(manifest=round_.posted.hash, contributors=contributors, contributions=digests)


def opens(envelopes: list[Envelope]) -> list[tuple[int, ...]]:
    said = [read_envelope(envelope) for envelope in envelopes if envelope.kind == "statement"]
    return [statement.contributors for statement in said if statement.opens]


def read_envelope(envelope: Envelope):
    from fedanomaly.protocol import Post

    return read(Post(envelope))


def test_over_http_a_set_below_the_minimum_gets_no_share(liar):
    round_ = contribute(liar)
    for contributors in ((1,), (1, 2), (2, 1, 3), (1, 1, 2), (1, 2, 5), ()):
        liar.say(close_of(round_, contributors))
        assert liar.listen() == []
    assert all(other.refused for other in liar.web.organisations)
    liar.say(close_of(round_, (1, 2, 3, 4)))
    assert opens(liar.listen()) == [(1, 2, 3, 4)] * 4


def test_over_http_two_sets_shown_to_two_halves_open_neither_and_convict_the_coordinator(liar):
    round_ = contribute(liar)
    half, rest = liar.web.organisations[:2], liar.web.organisations[2:]
    liar.say(close_of(round_, (1, 2, 3, 4)), half)
    liar.say(close_of(round_, (1, 2, 3)), rest)
    answers = liar.listen()
    assert sorted(opens(answers)) == [(1, 2, 3), (1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4)]
    liar.say(close_of(round_, (1, 2, 3)), half)  # each is asked for the other set as well
    liar.say(close_of(round_, (1, 2, 3, 4)), rest)
    assert opens(liar.listen()) == []
    manifest, blobs = round_.posted, liar.service.blobs
    shares = [DecryptionShare.from_bytes(blobs.open(each.attachment).read(0, each.size), manifest) for each in answers]
    insider = liar.web.organisations[3].member
    secrets = insider._setup.secrets(insider.transcript.epoch, liar.web.organisations[3].client.download)
    for contributors in ((1, 2, 3), (1, 2, 3, 4)):
        given = [round_.contributions[index] for index in contributors]
        parts = [Contribution.from_bytes(blobs.open(each.attachment).read(0, each.size), manifest) for each in given]
        masked = added(manifest, [*parts, *shares])
        with pytest.raises(FedAnomalyError):
            secrets.open(manifest, contributors, masked)
    identity = liar.home.identity.public_key
    assert convicted(liar.logs[half[0].party.identity.public_key][:-1]) == set()
    seen = [envelope for log in liar.logs.values() for envelope in log]
    assert convicted(seen) == {(identity, "close")}


def test_over_http_two_manifests_of_one_round_get_one_contribution_each(liar):
    half, rest = liar.web.organisations[:2], liar.web.organisations[2:]
    round_ = joined(liar)
    whole, part = manifest_of(round_, (1, 2, 3, 4)), manifest_of(round_, (1, 2, 3))
    liar.say(whole, half)
    liar.say(part, rest)
    sent = liar.listen()
    assert sorted(read_envelope(each).manifest for each in sent) == sorted(
        [Manifest.from_bytes(whole.manifest).hash] * 2 + [Manifest.from_bytes(part.manifest).hash]
    )  # the fourth member is not in the smaller one
    liar.say(part, half)
    liar.say(whole, rest)
    assert liar.listen() == []
    for envelope in sent:
        liar.show(envelope)
    assert private_of(liar.listen()) == []
    assert convicted(envelope for log in liar.logs.values() for envelope in log) == {
        (liar.home.identity.public_key, "manifest")
    }


def private_of(envelopes: list[Envelope]) -> list[str]:
    from fedanomaly.protocol import Post

    return private(Post(envelope) for envelope in envelopes)


def test_over_http_a_sum_of_something_else_is_voted_down_by_all(liar):
    round_ = contribute(liar)
    liar.say(close_of(round_, (1, 2, 3, 4)))
    for envelope in liar.listen():
        liar.show(envelope)
    liar.listen()
    blobs, manifest = liar.service.blobs, round_.posted
    given = [round_.contributions[index] for index in (1, 2, 3)]
    parts = [Contribution.from_bytes(blobs.open(each.attachment).read(0, each.size), manifest) for each in given]
    short = added(manifest, parts).to_bytes()
    liar.say(Opened(manifest=manifest.hash, contributors=(1, 2, 3, 4)), attachment=short)
    votes = liar.listen()
    assert [envelope.kind for envelope in votes] == ["vote"] * 4
    assert {(read_envelope(each).accept, read_envelope(each).state_tag) for each in votes} == {(False, bytes(32))}


def test_over_http_an_abandoned_manifest_that_is_closed_after_all_gets_void_alone(liar):
    round_ = contribute(liar)
    liar.say(Abandon(manifest=round_.posted.hash, reason="a change of mind"))
    answers = liar.listen()
    assert [envelope.kind for envelope in answers] == ["statement"] * 4
    assert opens(answers) == []
    liar.say(close_of(round_, (1, 2, 3, 4)))
    assert liar.listen() == []
