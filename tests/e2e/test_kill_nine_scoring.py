"""kill -9 of a scoring service, and another model in its folder, while events are scored: no score is wrong or lost."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from fedanomaly.detectors import Mahalanobis
from fedanomaly.scoring import EncryptedScorer, HttpExchange
from fedanomaly.transport import RequestSigner
from tests.unit.coordinator.conftest import until
from tests.unit.scoring.conftest import FEDERATION, MODEL, home_in
from tests.unit.scoring.test_process import listening, process

RNG = np.random.default_rng(7)
ROWS = RNG.normal(size=(400, 4)) @ RNG.normal(size=(4, 4))
DETECTOR = Mahalanobis().fit(ROWS)
LOCAL = DETECTOR.anomaly_scores(ROWS)
RELEASED = "payments-1.release"


class Deaths:
    """A service whose process is killed and started again."""

    def __init__(self, service):
        self.service = service
        self._stack = ExitStack()
        self.starts = 0
        self._start()

    def _start(self):
        self._ran, self.lines = self._stack.enter_context(process(self.service))
        self.starts += 1
        listening(self.lines, self.starts)

    def kill(self):
        self._ran.kill()
        assert self._ran.wait(20) == -signal.SIGKILL
        self._start()

    def swap(self):
        """Put another model in the place of the released one."""
        self.service.release(MODEL, version=2)
        (self.service.home.models_path / RELEASED).unlink(missing_ok=True)
        before = self._reloads()
        self._ran.send_signal(signal.SIGHUP)
        until(lambda: self._reloads() > before)

    def _reloads(self):
        return [line["event"] for line in self.lines()].count("reloaded")

    def close(self):
        self._stack.close()


@pytest.fixture
def dying(tmp_path):
    with home_in(tmp_path) as service:
        service.release(DETECTOR.circuit().balanced()[0])
        dying = Deaths(service)
        yield dying
        dying.close()


@pytest.fixture
def sent(monkeypatch):
    """Digests of all batches, and the paths of all requests."""
    digests, requests, honest, sign = [], [], HttpExchange.answer, RequestSigner.headers

    def answer(self, digest, batch, batch_id, meanwhile):
        digests.append(hashlib.sha256(batch).digest())
        return honest(self, digest, batch, batch_id, meanwhile)

    def signed(self, method, target, digest):
        requests.append(target.decode().partition("?")[0])
        return sign(self, method, target, digest)

    monkeypatch.setattr(HttpExchange, "answer", answer)
    monkeypatch.setattr(RequestSigner, "headers", signed)
    return digests, requests


def never_twice(sent):
    """Whether no batch was the same as another, and none went out twice."""
    digests, requests = sent
    return len(set(digests)) == len(digests) == len([path for path in requests if path.endswith("/batches")])


def scorer_of(service, workers=2):
    return EncryptedScorer(
        DETECTOR, service.url, identity=service.north, federation=FEDERATION, retry_for_s=300.0, workers=workers
    )


def right(found):
    """Whether results are those of the rows, each once and in order, however often the rows went round."""
    scores = np.concatenate([scored.scores for scored in found])
    wanted = np.resize(LOCAL, len(scores))
    lower, upper = (np.concatenate([getattr(scored, side) for scored in found]) for side in ("lower", "upper"))
    return np.allclose(scores, wanted, rtol=5e-4, atol=5e-4) and ((lower <= wanted) & (wanted <= upper)).all()


def test_a_stream_goes_on_over_deaths_of_the_service_and_another_model(dying, sent):
    events = {100: dying.kill, 200: dying.swap, 300: dying.kill}
    with scorer_of(dying.service) as scorer:
        found = []
        for scored in scorer.stream(iter(ROWS), max_events=8):
            found.append(scored)
            events.get(len(found), lambda: None)()
    assert len(found) == len(ROWS)
    assert right(found)
    assert never_twice(sent)
    assert len(sent[0]) > len(ROWS) // 8


@pytest.mark.skipif("FEDANOMALY_KILL9" not in os.environ, reason="minutes long: make kill9")
def test_streams_of_both_kinds_and_arrays_go_on_over_many_deaths(dying, sent):
    over, found, failures = threading.Event(), {"stream": [], "astream": [], "score": []}, []

    def endless():
        while not over.is_set():
            yield from ROWS

    async def aendless():
        while not over.is_set():
            for row in ROWS:
                yield row

    def stream(scorer):
        found["stream"] += scorer.stream(endless(), max_events=16)

    def astream(scorer):
        async def run():
            found["astream"] += [scored async for scored in scorer.astream(aendless(), max_events=16)]

        asyncio.run(run())

    def score(scorer):
        while not over.is_set():
            found["score"].append(scorer.score(np.concatenate([ROWS] * 30)))

    def guarded(work):
        try:
            with scorer_of(dying.service) as scorer:
                work(scorer)
        except Exception as error:  # noqa: BLE001 - whatever it is
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (stream, astream, score)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        before = len(sent[0])
        until(lambda before=before: len(sent[0]) > before + 20 or failures)
        dying.swap() if turn % 7 == 3 else dying.kill()
    over.set()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert failures == []
    assert all(right(results) and len(results) > 10 for results in found.values())
    assert all(len(results) % len(ROWS) == 0 for name, results in found.items() if name != "score")
    assert never_twice(sent)
