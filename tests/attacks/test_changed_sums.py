"""A sum that is not that of what was posted: changed on the way, short of a part, or with something else in it."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.errors import MessageError, ProtocolError, RejectedError
from fedanomaly.fhe import Contribution, DecryptionShare, MaskedSum
from fedanomaly.protocol import JobState
from fedanomaly.protocol.messages import TRAINED, ContributionPost, Opened
from tests.attacks.evidence import convicted, sum_is_what_was_posted
from tests.attacks.fork import Fork, private
from tests.sums import added
from tests.unit.protocol.driving import asked, job_of, listen, meddle, read, recorded, say, signed_by, until
from tests.unit.protocol.toy import toy_request

REFUSED = {(False, bytes(32), TRAINED.to_bytes())}


def closed(fed, tag: int = 0):
    """Return a round whose shares are all there, and the sum that an honest coordinator would publish."""
    asked(fed, tag)
    round_ = until(fed, "closed")
    listen(fed)
    manifest = round_.posted
    honest = added(manifest, [*contributions_of(fed, round_).values(), *shares_of(fed, round_).values()])
    return round_, honest


def contributions_of(fed, round_) -> dict[int, Contribution]:
    attached = {index: fed.blobs[envelope.attachment] for index, envelope in round_.contributions.items()}
    return {index: Contribution.from_bytes(data, round_.posted) for index, data in attached.items()}


def shares_of(fed, round_) -> dict[int, DecryptionShare]:
    attached = {index: fed.blobs[envelope.attachment] for index, (_, envelope) in round_.statements.items()}
    return {index: DecryptionShare.from_bytes(data, round_.posted) for index, data in attached.items()}


def publish(fed, round_, data: bytes) -> list:
    """Publish this instead, and let everybody act; returns what the members then sent."""
    say(fed, Opened(manifest=round_.posted.hash, contributors=round_.contributors), data)
    sent = recorded(fed)
    fed.pump()
    return sent


def assert_nothing_came_of_it(fed, round_, sent) -> None:
    assert {(vote.accept, vote.state_tag, vote.next_step) for vote in round_.votes.values()} == REFUSED
    assert len(round_.votes) == 4
    assert private(sent) == []
    assert job_of(fed).state is JobState.REJECTED
    assert all(member.state(job_of(fed)) is None for member in fed.members.values())


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


REGIONS = {
    "the version": lambda data: flipped(data, 15),
    "the label": lambda data: flipped(data, data.index(b"masked sum") + 2),
    "the manifest": lambda data: flipped(data, data.index(b"manifest") + 20),
    "the length": lambda data: flipped(data, data.index(b"residues") + 8),
    "the first residue": lambda data: flipped(data, data.index(b"residues") + 16),
    "the middle": lambda data: flipped(data, (data.index(b"residues") + 12 + len(data)) // 2),
    "the last byte but one": lambda data: flipped(data, len(data) - 2),
    "the end cut off": lambda data: data[:-1],
    "something after the end": lambda data: data + b"\0",
    "zeros": lambda data: data[: data.index(b"residues") + 12] + bytes(len(data) - data.index(b"residues") - 12),
    "ones": lambda data: data[: data.index(b"residues") + 12] + b"\xff" * (len(data) - data.index(b"residues") - 12),
    "something else": lambda _: b"something else",
}


@pytest.mark.parametrize("region", REGIONS)
def test_a_masked_sum_that_was_changed_anywhere_is_rejected_in_one_way(federation, region):
    """Every vote is the same, wherever the change is; and what the coordinator signed convicts it."""
    fed = federation(4, 2)
    round_, honest = closed(fed)
    changed = REGIONS[region](honest.to_bytes())
    assert changed != honest.to_bytes()
    assert_nothing_came_of_it(fed, round_, publish(fed, round_, changed))
    assert not sum_is_what_was_posted(round_, fed.blobs)


def test_the_honest_sum_is_accepted(federation):
    """The control: what is rejected above is rejected for the change."""
    fed = federation(4, 2)
    round_, honest = closed(fed)
    publish(fed, round_, honest.to_bytes())
    assert job_of(fed).state is JobState.ACCEPTED
    assert sum_is_what_was_posted(round_, fed.blobs)


def test_each_byte_of_a_sum_opens_the_agreed_integers_or_nothing(federation):
    """Each byte in turn. Only what is as small as the noise may differ, and that changes no integer."""
    fed = federation(4, 2)
    round_, honest = closed(fed)
    secrets = fed.members["org-0"]._setup.secrets(fed.coordinator.transcript.epoch, fed.blobs.__getitem__)

    def opened(data: bytes):
        try:
            masked = MaskedSum.from_bytes(data, round_.posted)
            return secrets.open(round_.posted, round_.contributors, masked).tolist()
        except (MessageError, RejectedError):
            return None

    data = honest.to_bytes()
    agreed = opened(data)
    assert agreed is not None
    results = [opened(flipped(data, at)) for at in range(len(data))]
    assert [result for result in results if result not in (None, agreed)] == []
    assert sum(result == agreed for result in results) <= round_.ask.layout.coefficients


@pytest.mark.parametrize(
    "how",
    [
        "missing",
        "doubled",
        "replaced by another's",
        "replaced by an older one",
        "scaled",
        "share missing",
        "share doubled",
    ],
)
def test_a_sum_of_other_parts_than_were_named_is_rejected(federation, how):
    """The coordinator leaves a contribution out, adds one twice, or adds something else in its place."""
    fed = federation(4, 2)
    older = fed.train(toy_request(1)).rounds[0]
    round_, _ = closed(fed)
    manifest = round_.posted
    given, shares = contributions_of(fed, round_), shares_of(fed, round_)
    parts = [*given.values()]
    if how == "missing":
        parts = parts[1:]
    elif how == "doubled":
        parts = [*parts, parts[0]]
    elif how == "replaced by another's":
        parts[0] = parts[1]
    elif how == "replaced by an older one":
        before = contributions_of(fed, older)[1]
        parts[0] = Contribution(manifest.hash, before.residues)
    elif how == "scaled":
        parts[0] = Contribution(manifest.hash, added(manifest, [parts[0]] * 3).residues)
    opening = list(shares.values())
    if how == "share missing":
        opening = opening[1:]
    elif how == "share doubled":
        opening = [*opening, opening[0]]
    masked = added(manifest, [*parts, *opening])
    assert_nothing_came_of_it(fed, round_, publish(fed, round_, masked.to_bytes()))
    assert not sum_is_what_was_posted(round_, fed.blobs)


@pytest.mark.parametrize("where", ["contribution", "statement"])
@pytest.mark.parametrize("at", [3, 5, 7, -9, -2])
def test_a_member_that_adds_something_to_what_it_sends_makes_the_sum_rejected(federation, where, at):
    """Delta on a residue of its own ciphertext or share: caught by range, noise or MAC, and it exposes nobody."""
    fed = federation(4, 2)
    bad = fed.parties[3].identity.public_key

    def bent(post):
        if post.envelope.kind != where or post.envelope.sender != bad:
            return (post,)
        if fed.coordinator.transcript.rounds[read(post).manifest].ask.kind == "test":
            return (post,)
        start = post.attachment.index(b"residues") + 12 if at >= 0 else 0
        changed = signed_by(
            fed, 4, read(post), flipped(post.attachment, start + at if at >= 0 else len(post.attachment) + at)
        )
        return (changed,)

    meddle(fed, bent)
    asked(fed)
    fed.pump()
    assert job_of(fed).state is JobState.REJECTED
    votes = job_of(fed).rounds[-1].votes.values()
    assert {(vote.accept, vote.state_tag, vote.next_step) for vote in votes} == REFUSED


def test_a_contribution_in_another_members_name_is_no_contribution(federation):
    """Neither the coordinator nor a member can sign for the victim, nor move its signature to other bytes."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed, "org-1", "org-2", "org-3")
    fork = Fork(fed, "org-1")
    said = ContributionPost(manifest=round_.posted.hash)
    data = fed.blobs[round_.contributions[2].attachment]
    victim = fed.parties[0].identity.public_key
    for forger in (2, 3, 4):
        envelope = signed_by(fed, forger, said, data).envelope
        forged = dataclasses.replace(envelope, sender=victim)
        assert "signature does not hold" in str(fork.show(forged))
    assert "may not post" in str(fork.say(said, data))
    assert 1 not in round_.contributions
    assert convicted(fork.seen) == set()  # what nobody signed convicts nobody


def test_two_contributions_of_one_member_convict_it(federation):
    """The coordinator takes the first alone; both bear the member's signature."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    first = round_.contributions[4]
    other = fed.blobs[round_.contributions[3].attachment]
    second = signed_by(fed, 4, ContributionPost(manifest=round_.posted.hash), other)
    with pytest.raises(ProtocolError):
        fed.post(second)
    assert convicted([first, second.envelope]) == {(fed.parties[3].identity.public_key, "contribution")}


def test_a_wrong_share_exposes_nobody_and_the_next_job_over_the_rows_runs(federation):
    """The rows were not opened to another set, so honest members go on; the bad one's post stays in the log."""
    fed = federation(4, 2)
    bad, honest_post = fed.parties[3].identity.public_key, fed.post

    def bent(post):
        if post.envelope.kind != "statement" or post.envelope.sender != bad:
            return (post,)
        manifest = fed.coordinator.transcript.rounds[read(post).manifest].posted
        if manifest.ask.kind == "test":
            return (post,)
        share = DecryptionShare.from_bytes(post.attachment, manifest)
        doubled = DecryptionShare(manifest.hash, added(manifest, [share, share]).residues)
        return (signed_by(fed, 4, read(post), doubled.to_bytes()),)

    meddle(fed, bent)
    asked(fed)
    fed.pump()
    rejected = job_of(fed).rounds[-1]
    assert job_of(fed).state is JobState.REJECTED
    assert sum_is_what_was_posted(rejected, fed.blobs)  # so it was not the coordinator
    fed.post = honest_post
    asked(fed, 2)
    fed.pump()
    assert job_of(fed, 2).state is JobState.ACCEPTED
    assert {entry.contributors for entry in job_of(fed, 2).rounds} == {rejected.contributors}
