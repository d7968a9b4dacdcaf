"""A coordinator that wants a second sum over the same rows and another set, whatever it is called."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.protocol import JobState
from fedanomaly.protocol.messages import (
    Abandon,
    Announce,
    Outcome,
    Statement,
)
from fedanomaly.types import FieldSpec, Step
from tests.attacks.fork import Fork, private
from tests.unit.protocol.driving import (
    advance,
    asked,
    job_of,
    listen,
    manifest_of,
    recorded,
    renew,
    say,
    signed_by,
    teach,
    until,
)
from tests.unit.protocol.federations import copied, refold
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


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


@pytest.mark.parametrize("fixed", [(1, 2, 3), ()])
def test_a_smaller_set_out_of_the_same_joined_ones_gets_no_contribution(federation, fixed):
    """Everybody joins; the set that may open is named smaller, or left open until the close."""
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    sent = recorded(fed)
    say(fed, manifest_of(round_, (1, 2, 3, 4), fixed=fixed))
    listen(fed)
    assert private(sent) == []


def test_naming_the_smaller_set_as_fixed_does_not_help(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    say(fed, manifest_of(round_, (1, 2, 3), fixed=(1, 2, 3)))
    listen(fed)
    assert not round_.contributions


def test_leaving_out_more_than_t_members_does_not_help(federation):
    """Three of seven are left out: what is left of the two sums would be the sum of these three."""
    fed = federation(7, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    asked(fed, 2)
    round_ = until(fed, "joining")
    listen(fed)
    sent = recorded(fed)
    say(fed, manifest_of(round_, (1, 2, 3, 4), fixed=(1, 2, 3, 4)))
    listen(fed)
    assert private(sent) == []
    assert "another set was opened before" in str(fed.errors[-1][1])


def test_too_few_members_with_new_rows_leave_the_others_exposed_and_are_refused(federation):
    fed = federation(4, 2)
    assert fed.train(toy_request(1)).state is JobState.ACCEPTED
    renew(fed, "org-3")
    asked(fed, 2)
    fed.pump()
    round_ = fed.coordinator.transcript.open_job or fed.coordinator.transcript.jobs[-1]
    last = round_.rounds[-1]
    assert set(last.contributions) <= {4}


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
