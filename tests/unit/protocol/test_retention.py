"""Which attachments may go, and which may not yet."""

from __future__ import annotations

import pytest

from fedanomaly.protocol import NO_ATTACHMENT, EpochState, unneeded
from fedanomaly.protocol.retention import KEEP_S, KEEP_SUMS_S
from tests.unit.protocol.driving import advance, asked, enrol_all, job_of, read, set_up_to, signed_by, until

FOR_EVER = 10 * KEEP_SUMS_S


def everybody(fed, at_s: float) -> dict[bytes, float]:
    return dict.fromkeys(fed.coordinator.transcript.members, at_s)


def attached(fed, *kinds: str) -> set[bytes]:
    return {entry.envelope.attachment for entry in fed.log if entry.envelope.kind in kinds} - {NO_ATTACHMENT}


def test_what_a_round_was_given_goes_an_hour_after_its_end(federation):
    fed = federation()
    log = fed.coordinator.transcript
    asked(fed)
    fed.pump()
    assert job_of(fed).state.final
    given = attached(fed, "contribution", "statement", "deal")
    assert len(given) > 10
    assert unneeded(log, KEEP_S - 1, everybody(fed, FOR_EVER)) == set()
    assert unneeded(log, KEEP_S, everybody(fed, 0.0)) == given


@pytest.mark.parametrize("state", ["collecting", "closed", "opened"])
def test_nothing_of_a_round_under_way_goes(federation, state):
    fed = federation()
    asked(fed)
    round_ = until(fed, state)
    advance(fed, until_kind="close" if state == "collecting" else "opened")
    needed = {envelope.attachment for envelope in round_.contributions.values()}
    needed |= {envelope.attachment for _, envelope in round_.statements.values()}
    assert needed
    assert not needed & unneeded(fed.coordinator.transcript, FOR_EVER, everybody(fed, FOR_EVER))


def test_a_sum_stays_until_every_member_was_there_long_after(federation):
    fed = federation()
    log = fed.coordinator.transcript
    asked(fed)
    fed.pump()
    sums = attached(fed, "opened")
    seen = everybody(fed, KEEP_SUMS_S)
    assert sums <= unneeded(log, FOR_EVER, seen)
    away = next(iter(seen))
    for last in (KEEP_SUMS_S - 1, None):
        without = {**seen, away: last} if last else {each: at for each, at in seen.items() if each != away}
        assert not sums & unneeded(log, FOR_EVER, without)


def test_deals_stay_until_the_epoch_is_live(federation):
    fed = federation(enrol=False)
    enrol_all(fed)
    for state in (EpochState.CONFIRMING, EpochState.TESTING):
        set_up_to(fed, state)
        assert attached(fed, "deal")
        assert not attached(fed, "deal") & unneeded(fed.coordinator.transcript, FOR_EVER, everybody(fed, FOR_EVER))
    fed.pump()
    assert attached(fed, "deal") <= unneeded(fed.coordinator.transcript, KEEP_S, {})


def test_bytes_that_are_needed_elsewhere_stay(federation):
    """A member that deals out the bytes of an open round's contribution removes nothing with it."""
    fed = federation()
    log = fed.coordinator.transcript
    asked(fed)
    round_ = until(fed, "closed")
    needed = round_.contributions[1]
    deals = log.epochs[-1].deals
    dealt = fed.log[[entry.envelope.kind for entry in fed.log].index("deal")]
    deals[1, 2] = signed_by(fed, 1, read(dealt), fed.blobs[needed.attachment]).envelope
    assert needed.attachment not in unneeded(log, FOR_EVER, everybody(fed, FOR_EVER))
