"""What the service refuses, with which code, and what it tells of it."""

from __future__ import annotations

import hashlib
import os

import httpx2
import msgspec
import pytest
import structlog

from fedanomaly.errors import (
    CapacityError,
    MessageError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    VersionError,
)
from fedanomaly.scoring import receiving
from fedanomaly.scoring.wire import HEAD_BYTES, frame_bytes
from fedanomaly.types import Circuit
from tests.unit.coordinator.conftest import ONE_TRY
from tests.unit.scoring.conftest import MODEL, Identity, batch_id, batch_path, circuit, frame, readings


def code_of(answer):
    return answer.status_code, msgspec.json.decode(answer.content)["code"]


@pytest.fixture(scope="module")
def batch(standing):
    return bytes(standing.tenant(MODEL).encrypt(readings(10))[0])


def post(standing, body, model=MODEL, identity=None):
    return code_of(standing.ask(standing.signed("POST", batch_path(model), body, identity)))


@pytest.mark.parametrize("change", [-1, 1, -1000, 4096])
def test_too_short_and_too_long_a_batch(standing, batch, change):
    body = frame(MODEL, batch) + bytes(max(change, 0))
    assert post(standing, body[: len(body) + min(change, 0)]) == (422, "FA301")


def test_a_frame_that_says_another_size(standing, batch):
    head = frame(MODEL, batch + b"....")[:64]
    assert post(standing, head + batch) == (422, "FA301")


def test_a_batch_of_another_model_than_the_path_names(standing, batch):
    assert post(standing, frame(circuit(7), batch)) == (422, "FA301")


def test_another_version(standing, batch):
    body = bytearray(frame(MODEL, batch))
    body[4] = 2
    assert post(standing, bytes(body)) == (409, "FA403")


def test_something_else_than_a_frame(standing, batch):
    assert post(standing, os.urandom(64) + batch) == (422, "FA301")


def test_a_residue_that_is_not_below_its_prime(standing, batch):
    assert post(standing, frame(MODEL, b"\xff" * len(batch))) == (422, "FA301")


def test_an_unknown_model(standing, batch):
    assert post(standing, frame(circuit(7), batch), circuit(7)) == (404, "FA404")


@pytest.mark.parametrize("name", ["zz", "A" * 64, "..%2f" * 10])
def test_a_name_that_is_no_digest(standing, name):
    status, code = code_of(standing.ask(standing.signed("GET", f"/v1/models/{name}/constants")))
    assert (status, code) in {(422, "FA301"), (404, "FA404")}


@pytest.mark.parametrize("at", [0, HEAD_BYTES - 1, 100_000, -1])
@pytest.mark.parametrize("limits", [{}, {"WORTH_A_THREAD": 0}, {"WORTH_A_THREAD": 1 << 40},
                                    {"WORTH_A_THREAD": 1 << 40, "HASHED_AT_ONCE": 0}])  # fmt: skip
def test_a_body_that_is_not_the_signed_one(standing, batch, monkeypatch, limits, at):
    for name, limit in limits.items():
        monkeypatch.setattr(receiving, name, limit)
    body = bytearray(frame(MODEL, batch))
    signed = standing.signed("POST", batch_path(MODEL), bytes(body)).headers
    body[at] ^= 1
    other = standing.signed("POST", batch_path(MODEL), bytes(body))
    other.headers.update({name: signed[name] for name in ("signature", "signature-input", "content-digest")})
    assert code_of(standing.ask(other)) == (401, "FA406")
    assert standing.ask(standing.signed("POST", batch_path(MODEL), frame(MODEL, batch))).status_code == 200


def test_a_body_without_a_length(standing, batch):
    request = standing.signed("POST", batch_path(MODEL), frame(MODEL, batch))
    del request.headers["content-length"]
    request.headers["transfer-encoding"] = "chunked"
    assert code_of(standing.ask(request)) == (422, "FA301")


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/v1/models"), ("GET", f"/v1/models/{MODEL.digest.hex()}/constants"), ("POST", batch_path(MODEL)),
    ("PUT", f"/v1/models/{MODEL.digest.hex()}"),
])  # fmt: skip
def test_who_is_no_tenant_gets_nothing(standing, method, path):
    assert code_of(standing.ask(standing.signed(method, path, identity=Identity()))) == (401, "FA406")


def test_a_request_that_comes_twice_is_answered_once(standing):
    request = standing.signed("GET", "/v1/models")
    assert standing.ask(request).status_code == 200
    assert code_of(standing.ask(request)) == (401, "FA406")


def test_the_next_request_on_the_connection_is_answered_after_a_refusal(standing, batch):
    exchange = standing.exchange()
    for _ in range(3):
        with pytest.raises(NotFoundError):
            exchange.answer(circuit(7).digest, batch, batch_id())
        assert len(exchange.answer(MODEL.digest, batch, batch_id())) > 0


def test_the_exchange_raises_what_the_service_says(standing, batch):
    exchange = standing.exchange()
    with pytest.raises(MessageError):
        exchange.answer(MODEL.digest, batch[:-4], batch_id())
    with pytest.raises(UnauthenticatedError):
        standing.exchange(Identity()).models()
    with pytest.raises(NotFoundError):
        exchange.offer(os.urandom(32))
    with pytest.raises(UnavailableError, match="scoring service cannot be reached"):
        standing.exchange().__class__("http://127.0.0.1:1", standing.north, bytes(32), patience=ONE_TRY).models()


def test_nothing_of_the_content_is_told(standing, batch):
    body = frame(MODEL, b"\xff" * len(batch))
    with structlog.testing.capture_logs() as lines:
        answer = standing.ask(standing.signed("POST", batch_path(MODEL), body))
    told = answer.text + repr(lines) + standing.ask(standing.signed("GET", "/metrics")).text
    digest = hashlib.sha256(body).hexdigest()
    assert digest not in told
    assert standing.north.public_key.hex() not in told
    assert "ffff" not in told
    assert "\\xff" not in told


def test_refusals_are_counted_by_code(standing, batch):
    post(standing, os.urandom(64) + batch)
    text = standing.ask(standing.signed("GET", "/metrics")).text
    assert 'fedanomaly_refusals_total{code="FA301"}' in text
    assert 'fedanomaly_scoring_models{origin="released"} 1.0' in text


def test_health_wants_no_signature(standing):
    answer = httpx2.get(standing.url + "/health", trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "draining": False})


# --- uploads -------------------------------------------------------------------


def test_a_tenant_does_not_see_anothers_upload(standing):
    model = circuit(20)
    north, south = standing.exchange(), standing.exchange(standing.south)
    north.upload(model)
    north.upload(model)  # the same again changes nothing
    assert [view.digest for view in north.models() if view.private] == [model.digest.hex()]
    assert [view for view in south.models() if view.private] == []
    with pytest.raises(NotFoundError):
        south.offer(model.digest)
    batch = standing.tenant(model).encrypt(readings(3))[0]
    with pytest.raises(NotFoundError):
        south.answer(model.digest, batch, batch_id())


def put(standing, digest, body):
    return code_of(standing.ask(standing.signed("PUT", f"/v1/models/{digest.hex()}", body)))


def test_an_upload_under_another_name(standing):
    assert put(standing, circuit(21).digest, circuit(22).to_bytes()) == (422, "FA301")


@pytest.mark.parametrize("body", [b"", b"no circuit", circuit(23).to_bytes()[:-1], circuit(23).to_bytes() + b"x"])
def test_an_upload_that_is_no_circuit(standing, body):
    assert put(standing, hashlib.sha256(body).digest(), body) == (422, "FA301")


def test_an_upload_that_is_too_large(standing):
    body = bytes((16 << 20) + 1)
    assert put(standing, hashlib.sha256(body).digest(), body) == (413, "FA303")


def test_an_upload_that_the_engine_cannot_compute(standing):
    model = circuit(24)
    with pytest.raises(CapacityError):
        standing.exchange().upload(Circuit(model.kind, model.rows, model.weights * 1e9, model.bias))


def test_beyond_their_number_the_upload_that_was_used_longest_ago_goes(standing):
    exchange = standing.exchange(standing.south)
    models = [circuit(30 + n) for n in range(9)]
    for model in models[:8]:
        exchange.upload(model)
    exchange.offer(models[0].digest)
    exchange.upload(models[8])
    kept = {view.digest for view in exchange.models() if view.private}
    assert kept == {model.digest.hex() for model in models} - {models[1].digest.hex()}


def test_an_answer_to_another_batch_is_refused_by_the_exchange(standing, batch, monkeypatch):
    exchange, other = standing.exchange(), batch_id()
    call = exchange._connection.call

    def swapped(method, path, *, body, **options):
        head, words = body
        return call(method, path, body=(head[:40] + other + head[56:], words), **options)

    monkeypatch.setattr(exchange._connection, "call", swapped)
    with pytest.raises(MessageError, match="another batch"):
        exchange.answer(MODEL.digest, batch, batch_id())


@pytest.mark.parametrize("spoil", [
    lambda answer: answer[:-1], lambda answer: answer + b"x", lambda answer: b"", lambda answer: b"FASB" + answer[4:],
    lambda answer: answer[:8] + bytes(32) + answer[40:],
], ids=["short", "long", "empty", "a batch", "another model"])  # fmt: skip
def test_a_spoilt_answer_is_refused_by_the_exchange(standing, batch, monkeypatch, spoil):
    exchange = standing.exchange()
    call = exchange._connection.call
    monkeypatch.setattr(exchange._connection, "call", lambda *some, **more: spoil(call(*some, **more)))
    with pytest.raises(MessageError):
        exchange.answer(MODEL.digest, batch, batch_id())


def test_an_answer_of_another_version_is_refused_by_the_exchange(standing, batch, monkeypatch):
    exchange = standing.exchange()
    call = exchange._connection.call

    def newer(*some, **more):
        answer = call(*some, **more)
        return answer[:4] + b"\x02" + answer[5:]

    monkeypatch.setattr(exchange._connection, "call", newer)
    with pytest.raises(VersionError):
        exchange.answer(MODEL.digest, batch, batch_id())


def test_a_frame_has_the_size_that_follows_from_the_shape(standing):
    shape = standing.exchange().offer(MODEL.digest).shape
    assert frame_bytes(shape) == 64 + shape.batch_bytes
