"""A job over rows that were summed before: the same set again, and nobody else is drawn into it."""

from __future__ import annotations

from fedanomaly.protocol import JobState, Settings
from fedanomaly.simulation import Federation
from tests.unit.protocol.federations import parties
from tests.unit.protocol.toy import toy_request


def test_members_outside_the_set_that_was_opened_before_neither_decrypt_nor_decline_and_still_vote():
    fed = Federation(Settings(name="toy", members=5, threshold=2), parties(5))
    fed.enrol()
    log = fed.coordinator.transcript
    everybody = list(fed.parties)

    def late(entry):
        """Two members are ready, and do not join the first step in time."""
        if entry.envelope.kind == "announce" and len(log.jobs) == 2 and len(log.jobs[1].rounds) == 1:
            fed.parties[:] = everybody[:3]

    fed._watch = late
    fed.train(toy_request(1))
    fed.now_s += 1000.0
    fed._watch = lambda entry: entry.envelope.kind == "close" and fed.parties.__setitem__(slice(None), everybody)
    fed.pump()
    fed._watch = None
    first = log.jobs[1]
    assert first.accepted
    assert first.accepted[0].contributors == (1, 2, 3)
    fed.errors.clear()
    second = fed.train(toy_request(2))
    assert second.state is JobState.ACCEPTED
    assert [entry.contributors for entry in second.rounds] == [(1, 2, 3), (1, 2, 3)]
    assert not second.declined
    assert not fed.errors
    fed.close()
