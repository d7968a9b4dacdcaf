"""A batch whose answer does not come goes out again, under a fresh key, and for a while only."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fedanomaly.errors import CertificateError, ConfigError, NotFoundError, UnavailableError, WrongAnswerError
from fedanomaly.scoring import EncryptedScorer, InProcess
from fedanomaly.scoring.resending import Stop, resent
from tests.unit.coordinator.conftest import Identity
from tests.unit.scoring.conftest import FEDERATION
from tests.unit.scoring.test_stream import DETECTOR, ROWS, close_to

STOP = Stop(threading.Event())


class Unreliable(InProcess):
    """Answers with one error after the other, and then as it should."""

    def __init__(self, *errors):
        super().__init__()
        self.errors, self.batches, self.uploads = list(errors), [], 0

    def upload(self, circuit):
        self.uploads += 1
        super().upload(circuit)

    def answer(self, digest, batch, batch_id, meanwhile):
        self.batches.append((bytes(batch), batch_id))
        if self.errors:
            raise self.errors.pop(0)
        return super().answer(digest, batch, batch_id, meanwhile)


def test_every_try_is_another_batch_under_another_key():
    away, anew = UnavailableError("away", retry_after_s=0.0), NotFoundError("anew")
    service = Unreliable(away, anew, away, anew)
    scored = EncryptedScorer(DETECTOR, service, retry_for_s=60.0).score(ROWS[:20])
    assert close_to(scored, ROWS[:20])
    batches, numbers = zip(*service.batches, strict=True)
    assert len(set(batches)) == len(set(numbers)) == 5
    assert service.uploads == 1 + 3  # once missing, it is given with every further try


def test_two_batches_of_the_same_events_share_no_mask():
    service = Unreliable(UnavailableError("away", retry_after_s=0.0))
    EncryptedScorer(DETECTOR, service, retry_for_s=60.0).score(ROWS[:20])
    first, second = (np.frombuffer(batch, dtype="<u4") for batch, _ in service.batches)
    assert (first == second).mean() < 0.001


@pytest.mark.parametrize("error", [WrongAnswerError("lies"), CertificateError("expired"), ConfigError("no")])
def test_what_another_try_does_not_mend_is_told_at_once(error):
    service = Unreliable(error)
    with pytest.raises(type(error)):
        EncryptedScorer(DETECTOR, service, retry_for_s=60.0).score(ROWS[:20])
    assert len(service.batches) == 1


@pytest.mark.parametrize("error", [UnavailableError("away"), NotFoundError("anew")])
def test_without_time_to_retry_the_error_is_told(error):
    asked = []

    def ask():
        asked.append(1)
        raise error

    with pytest.raises(type(error)):
        resent(ask, upload=lambda: None, retry_for_s=0.0, stop=STOP)
    assert len(asked) == 1 + isinstance(error, NotFoundError)


def test_a_pause_ends_when_it_is_told_to():
    stop, asked = Stop(threading.Event()), []

    def ask():
        asked.append(1)
        stop.set()
        raise UnavailableError("away", retry_after_s=1e9)

    with pytest.raises(UnavailableError):
        resent(ask, upload=lambda: None, retry_for_s=1e9, stop=stop)
    assert asked == [1]


@pytest.mark.parametrize("options", [{}, {"identity": Identity()}, {"federation": FEDERATION}])
def test_a_url_wants_an_identity_and_a_federation(options):
    with pytest.raises(ConfigError, match="under an identity, for a federation"):
        EncryptedScorer(DETECTOR, "http://127.0.0.1:1", **options)


@pytest.mark.parametrize("options", [{"identity": Identity()}, {"federation": FEDERATION}, {"ca_file": "ca.pem"}])
def test_an_exchange_has_its_own(options):
    with pytest.raises(ConfigError, match="of its own"):
        EncryptedScorer(DETECTOR, InProcess(), **options)
