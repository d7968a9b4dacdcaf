"""The end of the log in memory holds what the log holds, or says that it does not."""

from __future__ import annotations

import pytest

from fedanomaly.coordinator.recent import Recent
from fedanomaly.storage.envelopes import Record


def records(*seqs: int, size: int = 1):
    return [Record(seq=seq, received_at=0.0, data=b"x" * size) for seq in seqs]


def after(recent: Recent, seq: int):
    found = recent.after(seq)
    return None if found is None else [record.seq for record in found]


@pytest.fixture
def recent():
    return Recent(max_entries=3, max_bytes=100)


def test_it_holds_the_newest_entries_and_says_what_it_does_not_hold(recent):
    recent.add(records(1, 2, 3, 4, 5))
    assert [after(recent, seq) for seq in (1, 2, 4, 5, 6)] == [None, [3, 4, 5], [5], [], []]
    assert recent.head == 5


def test_it_holds_no_more_bytes_than_it_may(recent):
    recent.add(records(1, 2, size=40))
    recent.add(records(3, size=70))
    assert [after(recent, seq) for seq in (1, 2)] == [None, [3]]


def test_a_gap_hides_nothing(recent):
    recent.add(records(1, 2))
    recent.add(records(5, 6))
    assert [after(recent, seq) for seq in (0, 3, 4)] == [None, None, [5, 6]]
