"""A recorded federation, replayed by the second implementation."""

from __future__ import annotations

import pytest

from tests.independent import replay
from tests.independent.encoding import Refused
from tests.independent.epoch import Keys, write_keys
from tests.independent.log import Log


@pytest.fixture(params=["recording", "another"])
def recorded(request):
    return request.getfixturevalue(request.param)


def test_a_member_accepts_the_whole_recording_and_opens_the_same_integers(recorded):
    opened = replay.accept(recorded)
    assert len(opened) == 5  # the self-test of both rings, and three steps
    for manifest, kept in recorded.rounds.items():
        assert opened[manifest] == kept["opened"] == kept["plain_sum"]
    assert any(any(values) for values in opened.values())


def test_the_derived_secrets_are_those_that_the_member_keeps(recorded):
    log = recorded.whole_log()
    keys, kept = replay.keys_of(recorded, log), recorded.state(log.epochs[0].digest + b"live")
    assert isinstance(kept, Keys)
    assert write_keys(keys) == write_keys(kept)


def test_the_recording_holds_the_cases_that_matter(recorded):
    log = recorded.whole_log()
    rounds = [entry for job in log.jobs if job.request for entry in job.rounds]
    assert {entry.ask.layout.degree for entry in rounds} == {4096, 8192}
    assert {entry.ask.layout.bits > 24 for entry in rounds} == {False, True}
    assert rounds[0].manifest.joined == (1, 2, 3, 4, 5)
    assert rounds[0].contributors == (1, 2, 3, 4)
    assert [entry.manifest.fixed for entry in rounds] == [(), (1, 2, 3, 4), (1, 2, 3, 4)]


def test_an_envelope_is_refused_at_any_other_place(recorded):
    """Each envelope, one place too early or once more: the log has one order."""
    log = recorded.new_log()
    for raw in recorded.log:
        log.admit(raw)
        with pytest.raises(Refused):
            log.admit(raw)
    late = recorded.whole_log()
    for raw in recorded.log:
        with pytest.raises(Refused):
            late.admit(raw)


def test_another_federation_takes_nothing_of_it(recorded):
    other = Log(bytes(32), recorded.coordinator)
    with pytest.raises(Refused):
        other.admit(recorded.log[0])


def test_a_key_of_another_member_opens_no_deal(recording, another):
    """The HPKE info binds receiver, roster and sender."""
    log = recording.whole_log()
    own, foreign = recording.state(log.epochs[0].digest), another.state(another.whole_log().epochs[0].digest)
    said = log.epochs[0].hellos[2][0]
    info = replay.deal_info(log.epochs[0].roster, said.nonce, 2, 1)
    envelope = recording.fetch(log.epochs[0].deals[2, 1])
    from cryptography.exceptions import InvalidTag

    for dealing, told in ((foreign, info), (own, info[:-1] + b"?")):
        with pytest.raises(InvalidTag):
            dealing.receive(2, said.hello, told, envelope)
    own.receive(2, said.hello, info, envelope)


def test_two_sets_give_unrelated_masks(recording):
    """The pad and the zero masks are bound to the set: opening under another one is refused."""
    log = recording.whole_log()
    keys = replay.keys_of(recording, log)
    entry = log.jobs[1].rounds[0]
    masked = replay.body_of(recording, entry.opened, entry)
    with pytest.raises(Refused):
        replay.sums.opened(keys, entry.manifest, (1, 2, 3, 4, 5), masked)
