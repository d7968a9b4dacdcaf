"""What a node enforces itself, against a coordinator that signs whatever it likes."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from fedanomaly.errors import CapacityError, RefusedError, ReplayError, StorageError
from fedanomaly.fhe import Manifest
from fedanomaly.protocol import JobState
from fedanomaly.protocol.messages import Abandon, Close
from tests.unit.protocol.driving import (
    asked,
    catch_up,
    enrol_all,
    job_of,
    listen,
    manifest_of,
    pass_time,
    renew,
    say,
    until,
)
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


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
        member._desk.ledger._guard(round_, round_.identities[0], {}, {})


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


def test_values_that_are_not_those_of_the_join_are_not_contributed(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    rows, member = fed.parties[0].rows._rows, fed.members["org-0"]
    (frozen,) = [key for key in rows if key[0] == "frozen" and key[1].startswith(round_.ask.digest)]
    rows[frozen] = bytes(len(rows[frozen]))
    fed.step(fed.parties[0])
    assert 1 not in round_.contributions
    assert "frozen values" in str(fed.errors[-1][1])
    assert not [entry for entry in member._desk.ledger.contributed() if entry.manifest.hash == round_.manifest.hash]


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
        member._desk.ledger.contribute(twin, secrets, me=1, quota=1 << 27, certified={}, ready={})


def test_a_void_manifest_has_spent_its_joins_all_the_same(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3, 4)))
    fed.step(fed.parties[0])
    say(fed, Abandon(manifest=round_.posted.hash, reason="test"))
    listen(fed)
    assert round_.certificate().void
    twin = copy.copy(round_)
    twin.manifest = Manifest.from_bytes(manifest_of(round_, (1, 2, 3)).manifest)
    log = fed.coordinator.transcript
    member = fed.members["org-0"]
    secrets = member._setup.secrets(log.epoch, fed.blobs.__getitem__)
    with pytest.raises(ReplayError):
        member._desk.ledger.contribute(
            twin, secrets, me=1, quota=1 << 27, certified=log.rounds, ready=job_of(fed).ready
        )


def test_the_quota_of_a_key_epoch_is_enforced_by_every_member_itself(federation):
    """A self-test is not declined: its rounds end void, and the epoch does not live."""
    fed = federation(3, 2, enrol=False, quota=40, attempts=1)
    enrol_all(fed)
    pass_time(fed, 1000, 100)
    log = fed.coordinator.transcript
    assert log.live is None
    assert {type(error) for _, error in fed.errors} == {CapacityError}
    assert not any(job.declined for job in log.jobs)
    for member in fed.members.values():
        used = sum(entry.manifest.ask.layout.coefficients for entry in member._desk.ledger.contributed())
        assert used <= 40


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
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
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


def test_a_clone_joins_again_once_its_rows_have_changed(federation):
    fed = federation(4, 2)
    backup = dict(fed.parties[0].rows._rows)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    fed.parties[0].rows._rows = backup
    renew(fed, *(party.name for party in fed.parties))
    assert any("does not know" in str(error) for error in catch_up(fed, "org-0"))
    assert fed.train(toy_request(2)).state is JobState.ACCEPTED
    assert not any("restored or copied" in str(error) for _, error in fed.errors)


@pytest.mark.parametrize("renewed", [2, 3])
def test_a_sum_over_partly_new_rows_needs_more_new_ones_than_may_collude(federation, renewed):
    """With a threshold of t, the difference to the earlier sum hides t + 1 members, or is not given."""
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    renew(fed, *(f"org-{index}" for index in range(renewed)))
    job = fed.train(toy_request(2))
    assert job.state is (JobState.ACCEPTED if renewed == 3 else JobState.VOID)


def test_the_mark_of_a_clone_outlasts_a_disk_that_was_full(federation, monkeypatch):
    fed = federation(4, 2)
    rows = fed.parties[0].rows
    backup = dict(rows._rows)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    rows._rows = backup
    fed.restart("org-0")
    put = rows.put

    def full(new):
        if any(kind == "clone" for kind, _, _ in new):
            raise StorageError("full")
        put(new)

    with monkeypatch.context() as patched:
        patched.setattr(rows, "put", full)
        assert any(isinstance(error, StorageError) for error in catch_up(fed, "org-0"))
    with pytest.raises(RefusedError, match="does not know"):
        next(fed.members["org-0"].act(lambda _digest: b""), None)
    assert list(rows.all("clone"))
    fed.train(toy_request(2))
    assert all(1 not in entry.joins for entry in fed.coordinator.transcript.jobs[-1].rounds)
