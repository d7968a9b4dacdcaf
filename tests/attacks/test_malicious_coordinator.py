"""A coordinator that wants another set opened: too small, twice, over the same rows."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.errors import ProtocolError, RefusedError, RejectedError, ReplayError
from fedanomaly.fhe import Accumulator, Ask, Contribution, DecryptionShare, Manifest
from fedanomaly.protocol import Entry, JobState, seal
from fedanomaly.protocol.envelope import write_all
from fedanomaly.protocol.messages import (
    Abandon,
    Announce,
    Close,
    ManifestPost,
    Outcome,
    Statement,
)
from fedanomaly.protocol.participant import Participant
from fedanomaly.protocol.rounds import Round
from fedanomaly.types import FieldSpec, Step
from tests.attacks.fork import Fork, private
from tests.unit.protocol.driving import (
    advance,
    asked,
    job_of,
    listen,
    manifest_of,
    read,
    recorded,
    renew,
    say,
    signed_by,
    teach,
    until,
)
from tests.unit.protocol.federations import copied, refold
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows

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


def test_another_set_over_the_same_rows_gets_no_contribution(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3)))
    listen(fed)
    assert not round_.contributions
    assert "another set" in str(fed.errors[-1][1])


def test_naming_the_smaller_set_as_fixed_does_not_help(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3), fixed=(1, 2, 3)))
    listen(fed)
    assert not round_.contributions


def test_too_few_members_with_new_rows_leave_the_others_exposed_and_are_refused(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    renew(fed, "org-3")
    asked(fed, 2)
    fed.pump()
    round_ = fed.coordinator.transcript.open_job or fed.coordinator.transcript.jobs[-1]
    last = round_.rounds[-1]
    assert set(last.contributions) <= {4}


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
        with Accumulator(manifest) as total:
            for index in contributors:
                total.add(Contribution.from_bytes(fed.blobs[round_.contributions[index].attachment], manifest))
            for share in shares.values():
                total.add(share)
            masked = total.total()
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
        post = next(iter(fed.coordinator.act(fed.now_s, fed.blobs.__getitem__)), None)
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


# Another set over the same rows, whatever it is called


class Renamed(ToyLearner):
    """The same sum by another name, or at another resolution."""

    resolution = 1.0

    def next_step(self, state):
        step = super().next_step(state)
        if step is None:
            return None
        (field,) = step.fields
        finer = FieldSpec(
            name=field.name, shape=field.shape, lower=field.lower, upper=field.upper, resolution=self.resolution
        )
        return Step(name=f"other {step.name}", fields=(finer,))

    def local(self, step, state):
        return super().local(Step(name=step.name.removeprefix("other "), fields=step.fields), state)


@pytest.mark.parametrize("resolution", [1.0, 0.5])
def test_renaming_the_statistic_or_changing_its_resolution_does_not_open_another_set(federation, resolution):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    for index in range(4):
        other = Renamed(toy_rows(index))
        other.resolution = resolution
        teach(fed, f"org-{index}", other)
    fed.post(fed.members["org-3"].request(dataclasses.replace(toy_request(2), detector="other")))
    round_ = until(fed, "joining")
    listen(fed)
    sent = recorded(fed)
    say(fed, manifest_of(round_, (1, 2, 3)))
    listen(fed)
    assert private(sent) == []
    assert "another set was opened before" in str(fed.errors[-1][1])


def test_another_key_epoch_does_not_open_another_set(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    fed._append(fed.coordinator.new_epoch())
    fed.pump()
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    sent = recorded(fed)
    say(fed, manifest_of(round_, (1, 2, 3)))
    listen(fed)
    assert private(sent) == []


@pytest.mark.parametrize("finished", [False, True])
def test_hiding_an_opened_job_from_restarted_members_does_not_open_another_set(federation, finished):
    """The log is shown as if the first job had never been; its number is used again."""
    fed = federation(4, 2)
    before = list(fed.log)
    asked(fed, 1)
    until(fed, "announced", step=1)
    if finished:
        fed.pump()
    assert job_of(fed, 1).rounds[0].contributors == (1, 2, 3, 4)
    fork = copied(fed)
    fork.log = before
    refold(fork)
    sent = recorded(fork)
    fork.post(signed_by(fork, 4, toy_request(2)))
    for _ in range(20):
        advance(fork)
        job = fork.coordinator.transcript.open_job
        round_ = job.open_round if job else None
        if round_ and len(round_.joins) == 4 and not round_.manifest:
            say(fork, manifest_of(round_, (1, 2, 3)))
    assert private(sent) == []
    assert finished or "not certified" in str(fork.errors[0][1])


def test_rows_that_were_opened_are_not_freed_by_hiding_it(federation):
    """Each honest member sees its own answer, and a colluder's VOID instead of the answers of the others."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    forks = [Fork(fed, f"org-{index}") for index in range(3)]
    assert [private(fork.answers()) for fork in forks] == [["statement"]] * 3
    void = Statement(manifest=round_.posted.hash, opens=False, contributors=())
    for fork in forks:
        assert fork.show(signed_by(fed, 4, void).envelope) is None
        stolen = dataclasses.replace(signed_by(fed, 4, void).envelope, sender=fed.parties[1].identity.public_key)
        assert "signature" in str(fork.show(stolen))
        assert "may not post" in str(fork.say(void))
        assert fork.say(Abandon(manifest=round_.posted.hash, reason="x")) is None
        assert fork.say(Outcome(ask=round_.ask.digest, outcome="void", reason="x")) is None
        assert fork.say(Announce(ask=dataclasses.replace(round_.ask, round=1).to_bytes())) is None
    joins = [post.envelope for fork in forks for post in fork.answers()]
    assert [join.kind for join in joins] == ["join"] * 3
    for fork in forks:
        assert [fork.show(join) for join in joins] == [None] * 3
        assert fork.say(manifest_of(fork.log.open_job.open_round, (1, 2, 3))) is None
        assert private(fork.answers()) == []
        assert "not certified" in str(fork.errors[-1])
