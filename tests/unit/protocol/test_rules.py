"""What a node enforces itself, against a coordinator that signs whatever it likes."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from fedanomaly.errors import CapacityError, RefusedError, RejectedError, ReplayError
from fedanomaly.fhe import Accumulator, Contribution, DecryptionShare, Manifest
from fedanomaly.protocol import Entry, JobState, seal
from fedanomaly.protocol.messages import Abandon, Announce, Close, ManifestPost
from fedanomaly.protocol.participant import Participant
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


def say(fed, message, attachment=None) -> Entry:
    """Append what a malicious coordinator signs."""
    post = seal(fed._identity, fed._federation, message.kind, message.to_bytes(), attachment)
    fed._append(post)
    return fed.log[-1]


def listen(fed, *names: str) -> None:
    """Let members act on the log as it stands; the coordinator says nothing of its own."""
    for party in fed.parties:
        if not names or party.name in names:
            fed.step(party)


def until(fed, state: str, step: int = 0):
    """Run honestly until the open round of a real job is in a state."""
    for _ in range(200):
        for post in fed.coordinator.act(fed.now_s, fed.blobs.__getitem__):
            fed._append(post)
            if reached(fed, state, step):
                return fed.coordinator.transcript.open_job.open_round
        for party in fed.parties:
            fed.step(party)
            if reached(fed, state, step):
                return fed.coordinator.transcript.open_job.open_round
    raise AssertionError(f"no round reached {state}")


def reached(fed, state: str, step: int) -> bool:
    job = fed.coordinator.transcript.open_job
    round_ = job.open_round if job and job.number else None
    return bool(round_ and round_.state.value == state and round_.ask.step == step)


def asked(fed, tag: int = 0):
    fed.post(fed.members["org-0"].request(toy_request(tag)))


def manifest_of(round_, members, **changes) -> ManifestPost:
    """A manifest that the coordinator writes for some of who joined."""
    joins = tuple(round_.joins[index] for index in members)
    wanted = {"decryptors": tuple(members[: round_.ask.threshold + 2]), **changes}
    return ManifestPost(manifest=Manifest.build(round_.ask, joins=joins, **wanted).raw)


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


def renew(fed, *names: str) -> None:
    """Give members new rows."""
    for index, party in enumerate(fed.parties):
        if party.name in names:
            own = ToyLearner(toy_rows(index + 50), generation=2)
            party.learners = lambda _, own=own: own
            fed.restart(party.name)


def test_too_few_members_with_new_rows_leave_the_others_exposed_and_are_refused(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    renew(fed, "org-3")
    asked(fed, 2)
    fed.pump()
    round_ = fed.coordinator.transcript.open_job or fed.coordinator.transcript.jobs[-1]
    last = round_.rounds[-1]
    assert set(last.contributions) <= {4}


def test_with_new_rows_everywhere_any_set_may_open(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    renew(fed, *(party.name for party in fed.parties))
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3)))
    listen(fed)
    assert set(round_.contributions) == {1, 2, 3}


def test_an_earlier_sum_that_is_not_certified_blocks_the_rows(federation):
    fed = federation(4, 2)
    asked(fed, 1)
    round_ = until(fed, "collecting")
    listen(fed)
    assert set(round_.contributions) == {1, 2, 3, 4}
    member = fed.members["org-0"]
    entries = [entry for entry in member._desk.ledger.contributed() if entry.manifest.ask.kind == "sum"]
    assert len(entries) == 1
    with pytest.raises(RefusedError, match="not certified"):
        member._desk.ledger._guard(round_, 1, 1, {})


def test_a_voided_manifest_frees_the_rows(federation):
    fed = federation(4, 2)
    asked(fed, 1)
    round_ = until(fed, "collecting")
    listen(fed)
    say(fed, Abandon(manifest=round_.manifest.hash, reason="test"))
    listen(fed)
    certificate = round_.certificate()
    assert certificate.void
    assert all(not statement.opens for statement, _ in round_.statements.values())
    fed.pump()
    assert fed.coordinator.transcript.jobs[-1].state is JobState.ACCEPTED


def test_one_statement_for_a_manifest_ever(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    member, party = fed.members["org-0"], fed.parties[0]
    fed.step(party)
    assert round_.statements[1][0].opens
    with pytest.raises(ReplayError):
        member._desk.ledger.state(round_, me=1, opens=False)
    other = copy.copy(round_)
    other.close = dataclasses.replace(round_.close, contributors=(1, 2, 3))
    with pytest.raises(ReplayError):
        member._desk.ledger.state(other, me=1, opens=True)
    assert member._desk.ledger.state(round_, me=1, opens=True) == round_.statements[1][0]


def test_void_excludes_open(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    ledger = fed.members["org-0"]._desk.ledger
    assert not ledger.state(round_, me=1, opens=False).opens
    with pytest.raises(ReplayError):
        ledger.state(round_, me=1, opens=True)


def test_who_said_void_does_not_contribute_any_more(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    fed.step(fed.parties[1])
    member = fed.members["org-0"]
    for entry in fed.log[member.transcript.head :]:
        member.accept(entry)
    member._desk.ledger.state(round_, me=1, opens=False)
    fed.step(fed.parties[0])
    assert 1 not in round_.contributions
    assert "void" in str(fed.errors[-1][1])


@pytest.mark.parametrize("contributors", [(1, 2), (2, 1, 3), (1, 2, 2, 3), (0, 1, 2, 3), (1, 2, 3, 9)])
def test_a_set_that_may_not_open_gets_no_statement(federation, contributors):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    bent = copy.copy(round_)
    bent.close = dataclasses.replace(round_.close, contributors=contributors)
    with pytest.raises(RefusedError, match="may not be opened"):
        fed.members["org-0"]._desk.ledger.state(bent, me=1, opens=True)


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


def test_a_join_is_spent_by_one_manifest(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3, 4)))
    fed.step(fed.parties[0])
    assert 1 in round_.contributions
    twin = copy.copy(round_)
    twin.manifest = Manifest.from_bytes(manifest_of(round_, (1, 2, 3)).manifest)
    member = fed.members["org-0"]
    secrets = member._setup.secrets(fed.coordinator.transcript.epoch, fed.blobs.__getitem__)
    with pytest.raises((ReplayError, RefusedError)):
        member._desk.ledger.contribute(twin, secrets, me=1, quota=1 << 27, certified={})


def test_a_later_step_over_another_set_gets_nothing(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining", step=1)
    listen(fed)
    before = fed.coordinator.transcript.open_job.accepted[0]
    from fedanomaly.protocol.envelope import write_all

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
    from fedanomaly.protocol.envelope import write_all

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
    from fedanomaly.fhe import Ask

    ask = Ask.from_bytes(Announce.from_bytes(honest.envelope.body).ask)
    member = fed.members["org-0"]
    for entry in fed.log[member.transcript.head :]:
        member.accept(entry)
    secrets = member._setup.secrets(job.epoch, fed.blobs.__getitem__)
    own = next(entry for entry in member.transcript.jobs if entry.number == job.number)
    participant = Participant(member._desk, own, secrets, member._learner(own))
    state = member._learner(own).start()
    from fedanomaly.protocol.rounds import Round

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


def test_the_quota_of_a_key_epoch_is_enforced(federation):
    fed = federation(3, 2, enrol=False, quota=200)
    fed.enrol()
    asked(fed)
    with_quota = fed.coordinator.transcript
    fed.pump()
    assert (
        any(isinstance(error, CapacityError) for _, error in fed.errors)
        or with_quota.jobs[-1].state is JobState.ACCEPTED
    )
    member = fed.members["org-0"]
    used = sum(entry.manifest.ask.layout.coefficients for entry in member._desk.ledger.contributed())
    assert used <= 200


def test_a_restored_ledger_is_a_clone_and_joins_nothing_until_its_rows_change(federation):
    fed = federation(4, 2)
    backup = copy.deepcopy(fed.parties[0].rows._rows)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    fed.parties[0].rows._rows = backup
    fed.restart("org-0")
    member = fed.members["org-0"]
    refused = 0
    for entry in fed.log:
        try:
            member.accept(entry)
        except RefusedError:
            refused += 1
    assert refused
    asked(fed, 2)
    fed.now_s = 61.0
    for _ in range(6):
        for post in fed.coordinator.act(fed.now_s, fed.blobs.__getitem__):
            fed._append(post)
        for party in fed.parties:
            fed.step(party)
    job = fed.coordinator.transcript.jobs[-1]
    assert all(1 not in entry.joins for entry in job.rounds)
    assert any("restored or copied" in str(error) for _, error in fed.errors)


def test_a_resend_is_bit_identical(federation):
    fed = federation()
    asked(fed)
    round_ = until(fed, "collecting")
    member = fed.members["org-0"]
    for entry in fed.log[member.transcript.head :]:
        member.accept(entry)
    first = list(member.act(fed.blobs.__getitem__))
    again = list(member.act(fed.blobs.__getitem__))
    assert [post.envelope.kind for post in first] == ["contribution"]
    assert first == again
    assert round_.manifest.hash in first[0].attachment


def test_nothing_is_frozen_any_more_once_a_job_is_over(federation):
    fed = federation()
    fed.train(toy_request())
    for party in fed.parties:
        assert not list(party.rows.all("frozen"))
        assert len(list(party.rows.all("state"))) == 1


def test_only_a_decryptor_that_contributed_opens(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3, 4)))
    for name in ("org-1", "org-2", "org-3"):
        listen(fed, name)
    digests = tuple(round_.contributions[each].attachment for each in (2, 3, 4))
    say(fed, Close(manifest=round_.manifest.hash, contributors=(2, 3, 4), contributions=digests))
    listen(fed)
    assert 1 not in round_.statements
    assert set(round_.statements) == {2, 3, 4}


def test_the_policy_of_a_node_stands_above_what_the_federation_wants(federation):
    from fedanomaly.protocol import Policy, Settings
    from fedanomaly.simulation import Federation, Party

    strict = Policy(min_members=5)
    fed = Federation(
        Settings(name="toy", members=3, threshold=2),
        [Party(f"org-{index}", lambda _: ToyLearner(toy_rows(0)), strict) for index in range(3)],
    )
    with pytest.raises(Exception, match="did not come to life"):
        fed.enrol()
    assert "fewer than 5 members" in str(fed.errors[0][1])


@pytest.mark.parametrize("policy", [{"detectors": ("loda",)}, {"datasets": ("payments",)}, {"max_message_bytes": 10}])
def test_a_job_that_the_policy_forbids_is_declined(federation, policy):
    from fedanomaly.protocol import Policy

    fed = federation()
    fed.parties[0].policy = Policy(**policy)
    fed.restart("org-0")
    job = fed.train(toy_request())
    assert job.state is JobState.VOID
    assert job.declined[1].startswith("FA402")


def test_an_orderly_stop_declares_open_manifests_void_and_the_step_is_tried_again(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    party, member = fed.parties[1], fed.members["org-1"]
    for entry in fed.log[member.transcript.head :]:
        member.accept(entry)
    for post in member.retire():
        fed.post(post)
    assert not round_.statements[2][0].opens
    assert not list(member.retire()) or round_.statements[2]
    fed.restart(party.name)
    fed.pump()
    job = fed.coordinator.transcript.jobs[-1]
    assert round_.state.value == "void"
    assert job.state is JobState.ACCEPTED
    assert fed.now_s == 0.0


def test_a_member_that_has_opened_does_not_take_it_back_when_it_stops(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    fed.step(fed.parties[1])
    member = fed.members["org-1"]
    assert list(member.retire()) == []
    assert round_.statements[2][0].opens


def test_a_node_that_pins_identities_takes_part_with_no_others():
    from fedanomaly.protocol import Policy, Settings
    from fedanomaly.simulation import Federation, Party

    parties = [Party(f"org-{index}", lambda _: ToyLearner(toy_rows(0))) for index in range(3)]
    known = tuple(party.identity.public_key for party in parties)
    parties[0].policy = Policy(identities=known)
    parties[1].policy = Policy(identities=(*known[:2], b"\1" * 32))
    fed = Federation(Settings(name="toy", members=3, threshold=2), parties)
    with pytest.raises(Exception, match="did not come to life"):
        fed.enrol()
    assert {name for name, _ in fed.errors} == {"org-1"}
    assert known[2].hex()[:16] in str(fed.errors[0][1])
