"""A scorer that opens its own connection to a real service, under an identity."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fedanomaly.coordinator.certificates import AUTHORITY, SERVER, create
from fedanomaly.errors import CapacityError, CertificateError, UnauthenticatedError, UnavailableError
from fedanomaly.scoring import EncryptedScorer
from fedanomaly.transport import is_loopback
from tests.unit.coordinator.conftest import Identity, until
from tests.unit.scoring.conftest import FEDERATION, home_in, serve
from tests.unit.scoring.test_process import listening, process
from tests.unit.scoring.test_stream import DETECTOR, ROWS, close_to, nothing_stays

__all__ = ["nothing_stays"]


def opened(service, identity=None, **options):
    return EncryptedScorer(DETECTOR, service.url, identity=identity or service.north, federation=FEDERATION, **options)


def test_arrays_streams_and_event_loops_over_one_connection(served):
    async def asynchronous(scorer):
        async def source():
            for row in ROWS[:40]:
                yield row

        found = [scored async for scored in scorer.astream(source(), max_events=8)]
        return found, await scorer.ascore(ROWS[:40])

    with opened(served) as scorer:
        assert close_to(scorer.score(ROWS), ROWS)
        streamed = list(scorer.stream(ROWS[:40], max_events=8))
        found, scored = asyncio.run(asynchronous(scorer))
    for each in (streamed, found):
        assert len(each) == 40
        assert all(close_to(one, row) for one, row in zip(each, ROWS, strict=False))
    assert close_to(scored, ROWS[:40])


@pytest.mark.parametrize("events", [5, 9_000])
def test_a_closed_scorer_asks_nothing_more(served, events):
    scorer = opened(served)
    scorer.close()
    with pytest.raises(UnavailableError, match="scoring was stopped"):
        scorer.score(np.resize(ROWS, (events, ROWS.shape[1])))


def test_a_stranger_is_refused_at_once_and_leaves_no_connection(served):
    with pytest.raises(UnauthenticatedError):
        opened(served, Identity())


def test_a_service_that_is_away_is_told_soon(service, monkeypatch):
    monkeypatch.setattr("fedanomaly.scoring.scorer.OPEN_FOR_S", 0.3)
    with pytest.raises(UnavailableError, match="the scoring service cannot be reached"):
        opened(service)


def test_a_busy_service_is_asked_again_until_it_has_a_place(tmp_path):
    with home_in(tmp_path, max_in_flight_batches=1) as service, serve(service), opened(service, workers=4) as scorer:
        found = list(scorer.stream(iter(ROWS[:64]), max_events=4))
    assert len(found) == 64
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))


def test_another_model_in_the_folder_changes_no_score_of_a_stream(served):
    served.release(DETECTOR.circuit().balanced()[0], name="mine")
    until(lambda: served.held.released)
    with opened(served) as scorer:
        stream, found = scorer.stream(iter(ROWS[:200]), max_events=4), []
        found += [next(stream) for _ in range(50)]
        (served.home.models_path / "mine-1.release").unlink()
        until(lambda: not served.held.released)
        found += stream
    assert all(close_to(scored, row) for scored, row in zip(found, ROWS, strict=False))
    assert len(found) == 200
    assert served.held.uploads.find(served.north.public_key, scorer._digest)


def test_a_service_that_keeps_no_models_and_has_not_this_one_says_so(tmp_path):
    with (
        home_in(tmp_path, max_uploads_per_tenant=0) as service,
        serve(service),
        pytest.raises(CapacityError, match="FA303"),
    ):
        opened(service)


def test_beyond_loopback_it_speaks_tls_and_trusts_whom_it_is_told_to(tmp_path):
    create(tmp_path, ["localhost"])
    pem = str(tmp_path / SERVER)
    with (
        home_in(tmp_path, listen_host="localhost", tls_certificate=pem, tls_key=pem) as service,
        process(service) as (_, lines),
    ):
        listening(lines)
        assert service.url.startswith("https://")
        with opened(service, ca_file=tmp_path / AUTHORITY) as scorer:
            assert np.allclose(scorer.score(ROWS[:9]).scores, DETECTOR.anomaly_scores(ROWS[:9]), rtol=5e-4, atol=5e-4)
        with pytest.raises(CertificateError):
            opened(service)
    assert is_loopback("localhost")
