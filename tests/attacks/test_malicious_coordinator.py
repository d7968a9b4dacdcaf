"""A coordinator that wants another set opened: too small, twice, or in a later step."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.errors import ProtocolError, RefusedError, RejectedError, ReplayError
from fedanomaly.fhe import Ask, Contribution, DecryptionShare, Manifest
from fedanomaly.protocol import Entry, seal
from fedanomaly.protocol.envelope import write_all
from fedanomaly.protocol.messages import (
    Abandon,
    Announce,
    Close,
    ManifestPost,
)
from fedanomaly.protocol.participant import Participant
from fedanomaly.protocol.rounds import Round
from tests.attacks.fork import Fork, private
from tests.sums import added
from tests.unit.protocol.driving import (
    asked,
    listen,
    manifest_of,
    read,
    recorded,
    say,
    until,
)
from tests.unit.protocol.toy import toy_request

# Sets: too small, twice the same, another one


@pytest.mark.parametrize("contributors", [(1,), (1, 2), (1, 1, 2), (2, 1, 3), (0, 1, 2), (1, 2, 5), ()])
def test_closing_a_set_that_is_too_small_or_not_one_gets_no_share(federation, contributors):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    digests = tuple(round_.contributions[index].attachment for index in contributors if index in round_.contributions)
    for name in fed.members:
        fork = Fork(fed, name)
        refused = fork.say(Close(manifest=round_.posted.hash, contributors=contributors, contributions=digests))
        assert isinstance(refused, ProtocolError)
        assert private(fork.answers()) == []


def test_a_set_with_somebody_whose_contribution_never_came_gets_no_share(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed, "org-0", "org-1", "org-3")
    made_up = [round_.contributions[index].attachment for index in (1, 2)]
    fork = Fork(fed, "org-0")
    close = Close(manifest=round_.posted.hash, contributors=(1, 2, 3), contributions=(*made_up, made_up[0]))
    assert "did not arrive" in str(fork.say(close))
    assert private(fork.answers()) == []


def test_a_decryptor_that_is_asked_again_for_another_set_answers_nothing_more(federation):
    """Neither as it runs, nor after a restart in front of another log."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    before = [entry.envelope for entry in fed.log]
    until(fed, "closed")
    fork = Fork(fed, "org-0")
    (statement,) = fork.answers()
    assert read(statement).contributors == (1, 2, 3, 4)
    digests = tuple(round_.contributions[index].attachment for index in (1, 2, 3))
    smaller = Close(manifest=round_.posted.hash, contributors=(1, 2, 3), contributions=digests)
    assert isinstance(fork.say(smaller), ReplayError)
    assert fork.answers() == [statement]
    restarted = Fork(fed, "org-0", before)
    assert restarted.say(smaller) is None
    assert private(restarted.answers()) == []


def test_two_manifests_of_one_round_shown_to_two_members_open_nothing(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    shown = {(1, 2, 3, 4): ("org-0", "org-1"), (1, 2, 3): ("org-2",)}
    for members, names in shown.items():
        manifest = manifest_of(round_, members)
        digest = Manifest.from_bytes(manifest.manifest).hash
        forks = [Fork(fed, name) for name in names]
        sent = []
        for fork in forks:
            fork.say(manifest)
            sent += fork.answers()
        assert private(sent) == ["contribution"] * len(names)
        attached = tuple(post.envelope.attachment for post in sent)
        padded = (*attached, *[attached[0]] * (3 - len(attached)))
        for fork in forks:
            for post in sent:
                fork.show(post.envelope)
            assert fork.say(Close(manifest=digest, contributors=(1, 2, 3), contributions=padded)) is not None
            assert private(fork.answers()) == []


def test_whoever_contributed_to_one_manifest_contributes_to_no_other_of_its_round(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    before = [entry.envelope for entry in fed.log]
    fork = Fork(fed, "org-0")
    fork.say(manifest_of(round_, (1, 2, 3, 4)))
    (first,) = fork.answers()
    assert isinstance(fork.say(manifest_of(round_, (1, 2, 3))), ReplayError)
    assert fork.answers() == [first]
    restarted = Fork(fed, "org-0", before)
    assert restarted.say(manifest_of(round_, (1, 2, 3))) is None
    assert private(restarted.answers()) == []


def test_joins_of_an_earlier_round_are_no_joins_of_this_one(federation):
    """An old nonce: signed by its member, for another ask."""
    fed = federation(4, 2)
    asked(fed)
    first = until(fed, "collecting")
    say(fed, Abandon(manifest=first.posted.hash, reason="again"))
    listen(fed)
    second = until(fed, "announced")
    assert second.ask.round == first.ask.round + 1
    for name in fed.members:
        fork = Fork(fed, name)
        assert [read(post).kind for post in fork.go_on()] == ["join"]
        old = Manifest.build(second.ask, joins=tuple(first.joins.values()), decryptors=(1, 2, 3, 4))
        assert "was not posted" in str(fork.say(ManifestPost(manifest=old.raw)))
        assert private(fork.answers()) == []


def test_two_closed_sets_shown_to_two_members_open_nothing(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    manifest = round_.manifest
    shares, sets = {}, {1: (1, 2, 3, 4), 2: (1, 2, 3), 3: (1, 2, 3), 4: (1, 2, 3)}
    for index, contributors in sets.items():
        member = fed.members[f"org-{index - 1}"]
        digests = tuple(round_.contributions[each].attachment for each in contributors)
        close = Close(manifest=manifest.hash, contributors=contributors, contributions=digests)
        post = seal(fed._identity, fed._federation, close.kind, close.to_bytes())
        for entry in fed.log[member.transcript.head :]:
            member.accept(entry)
        member.accept(Entry(len(fed.log) + 1, 0.0, post.envelope))
        for answer in member.act(fed.blobs.__getitem__):
            if answer.envelope.kind == "statement":
                shares[index] = DecryptionShare.from_bytes(answer.attachment, manifest)
    assert set(shares) == {1, 2, 3, 4}
    secrets = fed.members["org-3"]._setup.secrets(fed.coordinator.transcript.epoch, fed.blobs.__getitem__)
    for contributors in set(sets.values()):
        attached = (fed.blobs[round_.contributions[index].attachment] for index in contributors)
        given = [Contribution.from_bytes(each, manifest) for each in attached]
        masked = added(manifest, [*given, *shares.values()])
        with pytest.raises(RejectedError):
            secrets.open(manifest, contributors, masked)


def test_a_later_step_over_another_set_gets_nothing(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining", step=1)
    listen(fed)
    before = fed.coordinator.transcript.open_job.accepted[0]
    certificate = write_all(before.certificate().statements)
    say(
        fed,
        manifest_of(round_, (1, 2, 3), fixed=(1, 2, 3), previous=before.opened.attachment, certificate=certificate),
    )
    listen(fed)
    assert not round_.contributions
    assert "same set" in str(fed.errors[-1][1])


@pytest.mark.parametrize("what", ["previous", "certificate", "nothing"])
def test_a_later_step_rests_on_the_sum_that_this_node_opened(federation, what):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining", step=1)
    listen(fed)
    before = fed.coordinator.transcript.open_job.accepted[0]
    statements = before.certificate().statements
    changes = {"previous": before.opened.attachment, "certificate": write_all(statements)}
    if what == "previous":
        changes["previous"] = b"\1" * 32
    elif what == "certificate":
        changes["certificate"] = write_all(statements[:1])
    else:
        changes = {}
    say(fed, manifest_of(round_, (1, 2, 3, 4), fixed=(1, 2, 3, 4), **changes))
    listen(fed)
    assert not round_.contributions


def test_a_round_that_asks_for_another_step_is_not_joined(federation):
    fed = federation(4, 2)
    asked(fed)
    while not (job := fed.coordinator.transcript.open_job) or not job.number or len(job.ready) < 4:
        post = next(iter(fed.coordinator.act(fed.now_s, fed.blobs)), None)
        if post:
            fed._append(post)
        listen(fed)
    honest = fed.coordinator._announce(job, job.point())
    ask = Ask.from_bytes(Announce.from_bytes(honest.envelope.body).ask)
    member = fed.members["org-0"]
    for entry in fed.log[member.transcript.head :]:
        member.accept(entry)
    secrets = member._setup.secrets(job.epoch, fed.blobs.__getitem__)
    own = next(entry for entry in member.transcript.jobs if entry.number == job.number)
    participant = Participant(member._desk, own, secrets, member._learner(own))
    state = member._learner(own).start()
    for change in (
        {"fields": ask.fields + 1},
        {"step_tag": bytes(32)},
        {"state_tag": bytes(32)},
        {"step": 1},
        {"schema": bytes(32)},
    ):
        bent = Round(dataclasses.replace(ask, **change), job.epoch.call.identities)
        with pytest.raises(RefusedError, match="something else"):
            participant._join(bent, state)


def test_a_first_step_rests_on_nothing_that_another_job_opened(federation):
    fed = federation(4, 2)
    first = fed.train(toy_request(1)).rounds[-1]
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    sent = recorded(fed)
    certificate = write_all(first.certificate().statements)
    rest = {"previous": first.published.attachment, "certificate": certificate}
    say(fed, manifest_of(round_, (1, 2, 3, 4), fixed=(1, 2, 3, 4), **rest))
    listen(fed)
    assert private(sent) == []
    assert "rests on nothing" in str(fed.errors[-1][1])
