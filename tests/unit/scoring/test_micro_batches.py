"""When a batch begins, by a clock of its own; and that nothing is lost whatever the arrivals are."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.scoring.micro_batches import Clock, MicroBatches
from tests.unit.coordinator.conftest import until


class Hand(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.at_s = 0.0
        self.waiting: list[float | None] = []
        self.condition = None

    def now_s(self):
        return self.at_s

    def wait(self, condition, timeout_s):
        self.condition = condition
        self.waiting.append(timeout_s)
        condition.wait()

    def move(self, seconds):
        with self.condition:
            self.at_s += seconds
            self.condition.notify_all()


class Recorder:
    """Scores nothing, and notes the batches; may be told to hold them up."""

    def __init__(self):
        self.batches = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, inputs):
        self.batches.append(list(inputs))
        assert self.open.wait(60)
        return [-given for given in inputs]


@pytest.fixture
def made():
    """Make micro-batches that are closed at the end."""
    all_made = []

    def make(**options):
        clock, score = Hand(), Recorder()
        batches = MicroBatches(score, **{"max_events": 4, "max_delay_s": 10.0, "workers": 1, "clock": clock, **options})
        all_made.append((batches, score))
        until(lambda: clock.waiting)
        return batches, clock, score

    yield make
    for batches, score in all_made:
        score.open.set()
        batches.close()
        batches.join()


def test_a_batch_begins_once_its_oldest_event_is_old_enough_and_not_before(made):
    batches, clock, score = made()
    batches.put(1, 1)
    until(lambda: clock.waiting[-1] == 10.0)
    clock.move(4.0)
    until(lambda: clock.waiting[-1] == 6.0)
    batches.put(2, 1)
    clock.move(5.5)
    until(lambda: clock.waiting[-1] == 0.5)
    assert score.batches == []
    clock.move(0.5)
    assert list(batches.next().results) == [-1, -2]
    assert score.batches == [[1, 2]]


def test_a_full_batch_begins_at_once(made):
    batches, _, score = made()
    for number in (1, 2, 3, 4):
        assert batches.put(number, 1)
    batches.next()
    assert score.batches == [[1, 2, 3, 4]]


def test_an_input_is_never_parted_and_a_batch_never_too_large(made):
    batches, _, score = made()

    def gives():
        for number, events in ((1, 3), (2, 2), (3, 9), (4, 1)):
            batches.put(number, events)
        batches.end()

    giving, found = threading.Thread(target=gives), []
    giving.start()
    while not (batch := batches.next()).last:
        found += batch.results
    giving.join()
    assert found == [-1, -2, -3, -4]
    assert score.batches == [[1], [2], [3], [4]]


def test_what_comes_while_all_workers_are_busy_goes_into_the_next_batch_however_old_it_is(made):
    batches, clock, score = made()
    score.open.clear()
    batches.put(1, 4)
    until(lambda: score.batches == [[1]])
    batches.put(2, 1)
    clock.move(100.0)
    batches.put(3, 1)
    assert score.batches == [[1]]
    score.open.set()
    assert [list(batches.next().results), list(batches.next().results)] == [[-1], [-2, -3]]


def test_there_is_no_room_while_nobody_takes_what_is_scored(made):
    batches, _, score = made()
    given = 0
    while given < 12 and batches.offer(given, 1):
        given += 1
        if given % 4 == 0:
            until(lambda at=given: len(score.batches) == min(2, at // 4))
    assert given == 12
    assert not batches.offer(99, 1)
    batches.next()
    until(lambda: len(score.batches) == 3)
    assert batches.offer(99, 1)


def test_a_batch_that_fails_comes_in_its_turn_and_ends_everything(made):
    batches, _, score = made(workers=2)
    score.open.clear()
    slow, failing = threading.Event(), threading.Event()

    def fails(inputs):
        if inputs == [2]:
            failing.set()
            raise LookupError
        assert slow.wait(60)
        return inputs

    batches._score = fails
    batches.put(1, 4)
    batches.put(2, 4)
    assert failing.wait(60)
    assert batches.pop() is None
    slow.set()
    assert batches.next().results == [1]
    assert isinstance(batches.next().error, LookupError)
    assert not batches.put(3, 1)


def test_the_source_s_error_comes_last(made):
    batches, _, _ = made()
    batches.put(1, 1)
    batches.end(LookupError())
    assert batches.next().results == [-1]
    last = batches.next()
    assert last.last
    assert isinstance(last.error, LookupError)


@settings(max_examples=200, deadline=None)
@given(
    events=st.lists(st.integers(1, 6), max_size=40),
    max_events=st.integers(1, 5),
    workers=st.integers(1, 3),
    takes=st.lists(st.booleans(), min_size=1, max_size=40),
)
def test_nothing_is_lost_doubled_or_out_of_order(events, max_events, workers, takes):
    """Whatever comes when, and whenever somebody takes what is done."""
    batches = MicroBatches(lambda inputs: [-given for given in inputs], max_events=max_events, max_delay_s=0.0,
                           workers=workers)  # fmt: skip
    found, given = [], 0
    turn = 0
    while given < len(events):
        if not batches.offer(given, events[given]):
            found += batches.next().results  # there is no room: something is under way or done
            continue
        given += 1
        turn += 1
        if takes[turn % len(takes)] and (batch := batches.pop()) is not None:
            found += batch.results
    batches.end()
    while not (batch := batches.next()).last:
        found += batch.results
    batches.close()
    batches.join()
    assert found == [-given for given in range(len(events))]
