"""Scores of events that come one by one: one result for one input, in order, with bounded memory."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.detectors import Mahalanobis
from fedanomaly.errors import ConfigError, DataError, NotFoundError, ShapeError, UnavailableError
from fedanomaly.scoring import EncryptedScorer, InProcess
from tests.unit.coordinator.conftest import until

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(2_000, 4)) @ RNG.normal(size=(4, 4))
DETECTOR = Mahalanobis().fit(ROWS)
NEVER_MS = 3.6e6
NAMES = ("micro-batches", "encrypted-stream")


class Gate(InProcess):
    """A service that counts what it answers, and answers only while it is open."""

    def __init__(self):
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.asked = self.answered = 0

    def answer(self, digest, batch, batch_id, meanwhile):
        self.asked += 1
        assert self.open.wait(60)
        self.answered += 1
        return super().answer(digest, batch, batch_id, meanwhile)


@pytest.fixture(scope="module")
def scorer():
    return EncryptedScorer(DETECTOR, InProcess(), workers=2)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAMES)]


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    until(lambda: not threads())


def wanted(rows):
    return DETECTOR.anomaly_scores(np.atleast_2d(rows))


def waiting(source):
    """Yield what is put into a queue, up to None."""
    while (item := source.get()) is not None:
        yield item


def close_to(scored, rows):
    return len(scored) == len(np.atleast_2d(rows)) and np.allclose(scored.scores, wanted(rows), rtol=5e-4, atol=5e-4)


def test_each_event_has_its_score_in_order(scorer):
    found = list(scorer.stream(iter(ROWS[:300]), max_events=64))
    assert len(found) == 300
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))
    lower, upper = (np.concatenate([getattr(scored, side) for scored in found]) for side in ("lower", "upper"))
    assert ((lower <= wanted(ROWS[:300])) & (wanted(ROWS[:300]) <= upper)).all()
    assert [bool(scored.outliers[0]) for scored in found] == (DETECTOR.predict(ROWS[:300]) == -1).tolist()


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([None, 0, 1, 2, 7, 40]), max_size=30),
    pauses=st.sets(st.integers(0, 29)),
    max_events=st.integers(1, 50),
    max_delay_ms=st.sampled_from([0.0, 1.0]),
)
def test_no_event_is_lost_doubled_or_out_of_order(scorer, sizes, pauses, max_events, max_delay_ms):
    """Whatever comes in which pieces, with waits until everything before has been given, or without."""
    inputs, start = [], 0
    for size in sizes:
        inputs.append(ROWS[start] if size is None else ROWS[start : start + size])
        start += 1 if size is None else size
    found, given_so_far = [], threading.Semaphore(0)

    def source():
        for at, rows in enumerate(inputs):
            if at in pauses:
                for _ in range(at - taken[0]):
                    assert given_so_far.acquire(timeout=60)
                taken[0] = at
            yield rows

    taken = [0]
    for scored in scorer.stream(source(), max_events=max_events, max_delay_ms=max_delay_ms):
        found.append(scored)
        given_so_far.release()
    assert len(found) == len(inputs)
    assert all(close_to(scored, rows) for scored, rows in zip(found, inputs, strict=True) if len(rows))
    assert [len(scored) for scored in found] == [1 if size is None else size for size in sizes]


def test_a_full_batch_does_not_wait_for_its_age():
    service, source = Gate(), queue.SimpleQueue()
    scorer = EncryptedScorer(DETECTOR, service, workers=1)
    for row in ROWS[:16]:
        source.put(row)
    stream = scorer.stream(waiting(source), max_events=8, max_delay_ms=NEVER_MS)
    found = [next(stream) for _ in range(16)]
    assert service.answered == 2
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))
    source.put(None)
    assert list(stream) == []


def test_what_comes_while_a_batch_is_under_way_goes_into_the_next():
    service, source = Gate(), queue.SimpleQueue()
    scorer = EncryptedScorer(DETECTOR, service, workers=1)
    stream = scorer.stream(waiting(source), max_delay_ms=0.0)
    service.open.clear()
    source.put(ROWS[0])
    first = threading.Thread(target=next, args=(stream,))
    first.start()
    until(lambda: service.asked == 1)
    for row in ROWS[1:101]:
        source.put(row)
    source.put(None)
    until(source.empty)
    service.open.set()
    first.join()
    assert len(list(stream)) == 100
    assert service.answered == 2


@pytest.mark.parametrize("max_events", [1, 16])
def test_a_source_is_read_ahead_by_a_few_batches_and_no_further(max_events):
    service, read = Gate(), []
    scorer = EncryptedScorer(DETECTOR, service, workers=2)

    def endless():
        while True:
            read.append(1)
            yield ROWS[0]

    stream = scorer.stream(endless(), max_events=max_events)
    next(stream)
    until(lambda: service.answered >= 4)  # as many as there may be that nobody has taken
    most = 1 + max_events * (2 * 2 + 2)
    for _ in range(50):
        next(stream)
        assert len(read) <= most + 50 + max_events
    stream.close()
    assert service.answered == service.asked


def test_frames_and_arrays_may_be_mixed():
    names = list("abcd")
    detector = Mahalanobis().fit(pd.DataFrame(ROWS, columns=names))
    frame = pd.DataFrame(ROWS[:5], columns=names)
    frame.iloc[2, 1] = np.nan
    inputs = [frame, pl.from_pandas(frame), pa.Table.from_pandas(frame, preserve_index=False), frame.iloc[:0]]
    found = list(EncryptedScorer(detector, InProcess()).stream(inputs))
    assert [len(scored) for scored in found] == [5, 5, 5, 0]
    for scored in found[:3]:
        assert np.allclose(scored.scores, detector.anomaly_scores(frame), rtol=5e-4, atol=5e-4)


def test_an_array_that_its_owner_fills_anew_is_scored_as_it_was_given(scorer):
    def source():
        row = np.empty(4)
        for each in ROWS[:50]:
            row[:] = each
            yield row

    found = list(scorer.stream(source(), max_delay_ms=NEVER_MS))
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.array([0.0, np.inf, 0.0, 0.0]), DataError),
        (np.zeros(3), ShapeError),
        (np.zeros((2, 2, 4)), ShapeError),
        ("a word", DataError),
        ([[0.0], [0.0, 1.0]], DataError),
    ],
)
def test_what_is_no_event_ends_the_stream_after_the_results_before(scorer, bad, error):
    stream = scorer.stream([*ROWS[:10], bad, *ROWS[10:20]])
    found = [next(stream) for _ in range(10)]
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))
    with pytest.raises(error):
        next(stream)


def test_an_error_of_the_source_comes_after_the_results_before(scorer):
    def source():
        yield from ROWS[:10]
        raise LookupError("the queue is gone")

    stream = scorer.stream(source(), max_events=3)
    assert len([next(stream) for _ in range(10)]) == 10
    with pytest.raises(LookupError, match="the queue is gone"):
        next(stream)
    assert list(stream) == []


def test_an_error_of_the_service_comes_after_the_results_before():
    class Failing(Gate):
        def answer(self, digest, batch, batch_id, meanwhile):
            if self.answered == 3:
                raise UnavailableError("away")
            return super().answer(digest, batch, batch_id, meanwhile)

    stream = EncryptedScorer(DETECTOR, Failing(), workers=1).stream(iter(ROWS), max_events=10)
    assert len([next(stream) for _ in range(30)]) == 30
    with pytest.raises(UnavailableError):
        next(stream)


def test_a_service_that_lacks_the_model_for_good_ends_the_stream():
    class Without(InProcess):
        def answer(self, digest, batch, batch_id, meanwhile):
            raise NotFoundError("no such model")

    with pytest.raises(NotFoundError):
        list(EncryptedScorer(DETECTOR, Without()).stream(ROWS[:3]))


def test_a_closed_stream_leaves_no_thread_and_no_request():
    service = Gate()
    stream = EncryptedScorer(DETECTOR, service, workers=2).stream(iter(ROWS), max_events=5)
    next(stream)
    stream.close()
    assert not [thread for thread in threads() if thread.name.startswith("micro-batches")]
    assert service.asked == service.answered
    asked = service.asked
    until(lambda: not threads())
    assert service.asked == asked


def test_a_stream_that_is_closed_while_its_source_waits_asks_nothing_more_of_it():
    service, source = Gate(), queue.SimpleQueue()
    stream = EncryptedScorer(DETECTOR, service).stream(waiting(source), max_delay_ms=0.0)
    source.put(ROWS[0])
    next(stream)
    stream.close()
    assert [thread.name for thread in threads()] == ["encrypted-stream"]
    source.put(ROWS[1])
    source.put(ROWS[2])
    until(lambda: not threads())
    assert (source.qsize(), service.asked) == (1, 1)


def test_a_stream_that_is_closed_gives_up_what_it_tries_again():
    class Fading(Gate):
        def answer(self, digest, batch, batch_id, meanwhile):
            if self.answered:
                self.asked += 1
                raise UnavailableError("away")
            return super().answer(digest, batch, batch_id, meanwhile)

    service = Fading()
    stream = EncryptedScorer(DETECTOR, service, workers=1, retry_for_s=1e6).stream(ROWS[:20], max_events=10)
    next(stream)
    until(lambda: service.asked > 2)
    stream.close()
    assert threads() == []


def test_who_closes_the_scorer_ends_its_streams_also_while_the_service_is_away():
    class Away(Gate):
        def answer(self, digest, batch, batch_id, meanwhile):
            self.asked += 1
            raise UnavailableError("away", retry_after_s=1000.0)

    service, found = Away(), []
    with EncryptedScorer(DETECTOR, service, workers=1, retry_for_s=1e6) as scorer:

        def read():
            try:
                list(scorer.stream([ROWS[0]]))
            except UnavailableError as error:
                found.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        until(lambda: service.asked == 1)
    reader.join(60)
    assert len(found) == 1
    with pytest.raises(UnavailableError):
        scorer.score(ROWS)


def test_an_empty_source_gives_nothing(scorer):
    assert list(scorer.stream([])) == []


@pytest.mark.parametrize("pace", [{"max_events": 0}, {"max_delay_ms": -1.0}, {"max_delay_ms": float("inf")}])
def test_a_pace_that_cannot_be_is_refused_at_once(scorer, pace):
    with pytest.raises(ConfigError):
        scorer.stream([], **pace)
