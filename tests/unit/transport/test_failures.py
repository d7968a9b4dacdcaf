from __future__ import annotations

import msgspec
import pytest

from fedanomaly import errors
from fedanomaly.errors import FedAnomalyError, ProtocolError, ReplayError, UnauthenticatedError, UnavailableError
from fedanomaly.transport import error_of, failure_of, status_of
from fedanomaly.transport.failures import MAX_TEXT

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FedAnomalyError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_crosses_the_wire_as_itself(kind):
    error = kind("the secret path /home/x", hint="look into /home/x")
    body = msgspec.json.encode(failure_of(error))
    assert (b"/home/x" in body) == kind.hint_is_public
    assert b"secret" not in body
    there = error_of(status_of(error), body)
    assert type(there) is (UnavailableError if kind is errors.StorageError else kind)  # a peer's disk is not ours
    assert there.retry_is_safe == error.retry_is_safe


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FedAnomalyError, 500), (errors.KeystoreError, 500), (errors.SchemaError, 422), (errors.MessageError, 422),
        (errors.CapacityError, 413), (errors.ProtocolError, 409), (errors.ReplayError, 409), (errors.VersionError, 409),
        (errors.RefusedError, 403), (errors.InvitationError, 403),
        (UnauthenticatedError, 401), (errors.NotFoundError, 404),
        (errors.UnavailableError, 503), (errors.CertificateError, 503), (errors.InUseError, 500),
        (errors.JobError, 409),
    ],
)  # fmt: skip
def test_every_error_has_its_status(kind, status):
    assert status_of(kind("x")) == status


def test_a_hint_leaves_only_if_it_was_written_for_peers():
    assert failure_of(ProtocolError("x", hint="private")).hint is None
    assert failure_of(UnauthenticatedError("x", hint="set your clock")).hint == "set your clock"


def test_a_missing_signature_comes_back_as_what_it_is():
    there = error_of(401, msgspec.json.encode(failure_of(UnauthenticatedError("x", hint="set your clock"))))
    assert isinstance(there, UnauthenticatedError)
    assert "set your clock" in str(there)


def test_how_long_to_wait_crosses_the_wire_and_is_bounded():
    body = msgspec.json.encode(failure_of(UnavailableError("x", retry_after_s=7.5)))
    assert error_of(503, body).retry_after_s == 7.5
    for asked, waited in ((1e9, 60.0), (-5.0, 0.0)):
        body = msgspec.json.encode({"code": "FA500", "message": "x", "retry_after_s": asked})
        assert error_of(503, body).retry_after_s == waited


@pytest.mark.parametrize("status", [429, 500, 502, 504])
def test_a_proxy_that_fails_may_be_retried(status):
    assert isinstance(error_of(status, b"<html>Bad gateway"), UnavailableError)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"code": 1, "message": 2}', b"[" * 100_000])
def test_an_answer_that_is_not_ours_is_an_error_of_the_protocol(body):
    assert type(error_of(404, body)) is ProtocolError


def test_a_code_from_the_future_is_an_error_of_the_protocol():
    assert type(error_of(409, b'{"code": "FA999", "message": "x"}')) is ProtocolError


def test_words_of_a_peer_are_cut_and_cannot_steer_a_terminal():
    body = msgspec.json.encode({"code": "FA401", "message": "\x1b[2J\r\n" + "x" * 9999, "hint": "\x07" + "y" * 9999})
    error = error_of(409, body)
    assert type(error) is ReplayError
    assert str(error).isprintable()
    assert len(str(error)) < 3 * MAX_TEXT
