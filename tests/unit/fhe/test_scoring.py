"""Scoring on ciphertexts, both sides in one process."""

import contextlib
import copy
import os
import pickle
import threading

import numpy as np
import pytest

from fedanomaly.errors import (
    CapacityError,
    CryptoError,
    DataError,
    MessageError,
    RangeError,
    ReplayError,
    ShapeError,
)
from fedanomaly.fhe.scoring import KINDS, READING_NOISE, Instructions, PreparedCircuit, Shape, seed
from fedanomaly.fhe.tenant import Tenant
from fedanomaly.types import Circuit, Layer
from fedanomaly.types.circuit import LAYER_BITS, MIX_BITS, rounded

SEED = seed(b"federation", b"model", b"tenant")


def circuit(kind="quadratic", rows=(3,), features=4):
    rng = np.random.default_rng(len(rows) + features)
    return Circuit(kind, rows, rng.normal(size=(sum(rows), features)) / 2, rng.normal(size=sum(rows)))


def polynomial(features=4, forms=3, plain=2, *, of_forms=False):
    """Return one whose weights are computed as they are."""
    rng = np.random.default_rng(features + forms)
    rows = forms if of_forms else features
    layer = Layer(
        rounded(0.2 * rng.normal(size=(rows, forms)), MIX_BITS),
        rounded(rng.normal(size=rows), LAYER_BITS),
        rng.normal(size=rows),
        of_forms=of_forms,
        weights=rounded(rng.normal(size=(plain, features)) / 2, LAYER_BITS),
        bias=rng.normal(size=plain),
    )
    weights = rounded(rng.normal(size=(forms, features)) / 2, LAYER_BITS)
    return Circuit("polynomial", (forms,), weights, rng.normal(size=forms), layer)


def both_sides(model, instructions=None):
    service = PreparedCircuit(model, SEED, instructions=instructions)
    return service, Tenant(service.shape, SEED, service.constants())


@pytest.mark.parametrize(("kind", "rows"), [("quadratic", (3,)), ("quadratic", (1, 40, 2)), ("linear", (1, 1))])
@pytest.mark.parametrize("events", [1, 2048, 2049, 4096])
def test_what_is_decrypted_is_what_the_circuit_gives_in_the_clear(kind, rows, events):
    model = circuit(kind, rows)
    service, tenant = both_sides(model)
    readings = np.random.default_rng(events).normal(size=(events, 4))
    batch, key = tenant.encrypt(readings)
    outputs, wanted = key.decrypt(service.score(batch)), model.evaluate(readings)
    assert outputs.shape == wanted.shape == (events, len(rows))
    assert np.max(np.abs(outputs - wanted) / np.maximum(1, np.abs(wanted))) < 5e-4


@pytest.mark.parametrize("of_forms", [False, True])
@pytest.mark.parametrize(("events", "plain"), [(1, 0), (2048, 2), (4095, 2)])
def test_a_decrypted_polynomial_is_the_one_in_the_clear(events, plain, of_forms):
    model = polynomial(plain=plain, of_forms=of_forms)
    service, tenant = both_sides(model)
    readings = np.random.default_rng(events).normal(size=(events, 4))
    batch, key = tenant.encrypt(readings)
    outputs, wanted = key.decrypt(service.score(batch)), model.evaluate(readings)
    assert outputs.shape == wanted.shape == (events, 1)
    assert np.max(np.abs(outputs - wanted) / np.maximum(1, wanted)) < 5e-4


def test_a_polynomial_is_right_at_the_limits():
    """Readings of 64, and as many forms as there may be."""
    layer = Layer(np.eye(256) / 4, np.ones(256), np.zeros(256), of_forms=True, weights=np.eye(1, 2), bias=np.ones(1))
    weights = np.zeros((256, 2))
    weights[:, 0] = 1 / 64
    model = Circuit("polynomial", (256,), weights, np.zeros(256), layer)
    service, tenant = both_sides(model)
    readings = np.array([[64.0, -64.0], [-64.0, 64.0], [0.0, 0.0]])
    batch, key = tenant.encrypt(readings)
    assert np.allclose(key.decrypt(service.score(batch)), model.evaluate(readings), rtol=1e-4, atol=1e-3)


def fourth_power(mix):
    return Layer(np.array([[mix]]), np.zeros(1), np.zeros(1), of_forms=True, weights=np.empty((0, 1)), bias=np.empty(0))


@pytest.mark.parametrize("events", [1, 2000, 4095])
def test_a_polynomial_beyond_the_range_has_no_scores_and_below_it_has_them(events):
    service, tenant = both_sides(Circuit("polynomial", (1,), np.ones((1, 1)), np.zeros(1), fourth_power(1.0)))
    limit = service.shape.range * service.shape.sharing / events
    for share, fits in ((0.98, True), (1.02, False), (3.0, False)):
        reading = (share * limit) ** 0.25
        if reading > 64:
            continue
        batch, key = tenant.encrypt(np.full((events, 1), reading))
        if fits:
            assert np.allclose(key.decrypt(service.score(batch)), reading**4, rtol=1e-3)
        else:
            with pytest.raises(RangeError):
                key.decrypt(service.score(batch))


def test_a_polynomial_leaves_one_place_empty():
    _, tenant = both_sides(polynomial())
    assert tenant.shape.events == 4095
    with pytest.raises(ShapeError):
        tenant.encrypt(np.zeros((4096, 4)))


def test_a_polynomial_that_is_too_large_is_refused():
    with pytest.raises(CapacityError, match="256"):
        both_sides(polynomial(forms=257, of_forms=True))
    for model in (
        Circuit("polynomial", (1,), np.full((1, 1), 2e3), np.zeros(1), fourth_power(1.0)),
        Circuit("polynomial", (1,), np.ones((1, 1)), np.zeros(1), fourth_power(1e6)),
        Circuit(
            "polynomial", (1,), np.ones((1, 1)), np.full(1, 1e3), fourth_power(1.0)
        ),  # empty places leave the range
    ):
        with pytest.raises(CapacityError):
            both_sides(model)


def test_weights_on_the_grid_are_computed_as_they_are():
    """The same but for one step of the grid gives another score; half a step beside it, the score of a neighbour."""
    readings = np.full((1, 1), 64.0)

    def score(weight):
        nothing, weights = np.zeros(1), np.array([[weight]])
        layer = Layer(np.zeros((1, 1)), nothing, nothing, of_forms=True, weights=weights, bias=nothing)
        service, tenant = both_sides(Circuit("polynomial", (1,), np.zeros((1, 1)), np.zeros(1), layer))
        batch, key = tenant.encrypt(readings)
        return float(key.decrypt(service.score(batch))[0, 0])

    step = 2.0**-LAYER_BITS
    exact = [(64.0 * (1.0 + at * step)) ** 2 for at in (0, 1)]
    assert np.allclose([score(1.0), score(1.0 + step)], exact, rtol=1e-5, atol=0)
    assert np.isclose(score(1.0 + 0.49 * step), exact[0], rtol=1e-5)
    assert exact[1] - exact[0] > 10 * 1e-5 * exact[0]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_what_is_stated(kind):
    """A large bias turns the noise of a reading into the error of its square."""
    one, bias = np.ones((1, 1)), np.full(1, 30.0)
    if kind == "polynomial":
        layer = Layer(np.zeros((1, 1)), np.zeros(1), np.zeros(1), of_forms=True, weights=one, bias=bias)
        model = Circuit(kind, (1,), np.zeros((1, 1)), np.zeros(1), layer)
    else:
        model = Circuit(kind, (1,), one, bias if kind == "quadratic" else np.zeros(1))
    service, tenant = both_sides(model)
    batch, key = tenant.encrypt(np.zeros((4000, 1)))
    errors = (key.decrypt(service.score(batch)) - model.evaluate(np.zeros((1, 1)))) / (1 if kind == "linear" else 60)
    assert 0.9 < errors.std() / READING_NOISE[kind] < 1.1


def test_sizes_are_those_that_the_shape_tells():
    service, tenant = both_sides(circuit())
    batch, key = tenant.encrypt(np.zeros((1, 4)))
    shape = service.shape
    assert (len(batch), len(service.constants()), len(service.score(batch))) == (
        shape.batch_bytes,
        shape.constant_bytes,
        shape.answer_bytes,
    )
    wide = Shape("quadratic", 30, 1, shape.weight_bits)
    assert wide.batch_bytes / wide.events <= 365
    assert wide.answer_bytes / wide.events <= 48
    key.close()


@pytest.mark.parametrize(
    "model",
    [
        circuit("quadratic", (33, 2), 7),
        circuit("quadratic", (10,), 30),
        circuit("quadratic", (1, 20), 100),
        circuit("linear", (1, 1), 17),
        polynomial(7, 5, 3),
        polynomial(7, 9, 2, of_forms=True),
    ],
)
def test_all_instructions_give_the_same_bytes(model):
    readings = np.random.default_rng(1).normal(size=(100, model.features))
    services = [both_sides(model, which)[0] for which in Instructions if which <= Instructions.best()]
    _, tenant = both_sides(model)
    batch, _ = tenant.encrypt(readings)
    assert len({bytes(service.score(batch)) + service.constants() for service in services}) == 1


@pytest.mark.parametrize("instructions", [each for each in Instructions if each <= Instructions.best()])
@pytest.mark.parametrize("at", [0, -1])
def test_a_residue_that_is_none_is_refused_by_every_output(instructions, at):
    service, tenant = both_sides(circuit("quadratic", (1, 40, 2)), instructions)
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    bad = bytearray(batch)
    np.frombuffer(bad, dtype="<u4")[at] = 2**30
    with pytest.raises(MessageError):
        service.score(bad)
    assert np.all(np.abs(key.decrypt(service.score(batch))) < np.inf)


def test_a_key_decrypts_one_answer():
    service, tenant = both_sides(circuit())
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    answer = service.score(batch)
    key.decrypt(answer)
    for _ in range(2):
        with pytest.raises(ReplayError):
            key.decrypt(answer)
    key.close()


def test_a_bad_answer_spends_the_key():
    service, tenant = both_sides(circuit())
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    answer = service.score(batch)
    with pytest.raises(MessageError):
        key.decrypt(answer[:-4])
    with pytest.raises(ReplayError):
        key.decrypt(answer)


def test_of_many_threads_one_decrypts():
    service, tenant = both_sides(circuit())
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    answer, got = service.score(batch), []

    def decrypt():
        with contextlib.suppress(ReplayError):
            got.append(key.decrypt(answer))

    threads = [threading.Thread(target=decrypt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_closed_key_is_gone():
    service, tenant = both_sides(circuit())
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    key.close()
    key.close()
    with pytest.raises(ReplayError):
        key.decrypt(service.score(batch))


@pytest.mark.parametrize("spread", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_key_is_neither_copied_nor_stored(spread):
    _, tenant = both_sides(circuit())
    _, key = tenant.encrypt(np.zeros((5, 4)))
    with pytest.raises(CryptoError):
        spread(key)
    assert "5 events" in repr(key)


def test_nothing_but_encrypting_makes_a_key_and_nothing_encrypts_under_one():
    from fedanomaly.fhe import tenant

    takes_a_key = [name for name in dir(tenant.BatchKey) if not name.startswith("_")]
    assert sorted(takes_a_key) == ["close", "decrypt"]
    with pytest.raises(TypeError):
        both_sides(circuit())[1].encrypt(np.zeros((1, 4)), key=None)


def test_equal_events_look_unrelated():
    _, tenant = both_sides(circuit())
    first, second = (np.frombuffer(tenant.encrypt(np.zeros((9, 4)))[0], dtype="<u4") for _ in range(2))
    assert np.count_nonzero(first == second) < 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 64.001, -1e300])
def test_readings_that_cannot_be_encrypted_are_refused(bad):
    _, tenant = both_sides(circuit())
    readings = np.zeros((3, 4))
    readings[1, 2] = bad
    with pytest.raises(DataError, match="64"):
        tenant.encrypt(readings)


@pytest.mark.parametrize("shape", [(0, 4), (4097, 4), (3, 5), (4,)])
def test_batches_of_another_shape_are_refused(shape):
    _, tenant = both_sides(circuit())
    with pytest.raises(ShapeError):
        tenant.encrypt(np.zeros(shape))


def test_a_batch_beyond_the_range_has_no_scores():
    service, tenant = both_sides(Circuit("quadratic", (1,), np.ones((1, 1)), np.zeros(1)))
    readings = np.full((4096, 1), 1.01 * np.sqrt(service.shape.range / 2))
    readings[0] = 0.0
    batch, key = tenant.encrypt(readings)
    with pytest.raises(RangeError):
        key.decrypt(service.score(batch))


@pytest.mark.parametrize("bend", [lambda b: b[:-4], lambda b: b + bytes(4), lambda b: b"\xff" * 4 + b[4:]])
def test_what_is_no_batch_is_refused(bend):
    service, tenant = both_sides(circuit())
    batch, _ = tenant.encrypt(np.zeros((5, 4)))
    with pytest.raises(MessageError):
        service.score(bend(bytes(batch)))


@pytest.mark.parametrize("bend", [lambda c: c[:-4], lambda c: b"\xff" * 4 + c[4:], lambda c: c[:-4] + b"\xff" * 4])
def test_what_are_no_constants_are_refused(bend):
    service, _ = both_sides(circuit())
    with pytest.raises(MessageError):
        Tenant(service.shape, SEED, bend(service.constants()))


def test_the_answer_of_another_batch_or_seed_does_not_decrypt_to_scores():
    service, tenant = both_sides(circuit())
    elsewhere = PreparedCircuit(circuit(), seed(b"federation", b"model", b"another"))
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    other, _ = tenant.encrypt(np.zeros((5, 4)))
    with pytest.raises(RangeError):
        key.decrypt(service.score(other))
    batch, key = tenant.encrypt(np.zeros((5, 4)))
    with pytest.raises(RangeError):
        key.decrypt(elsewhere.score(batch))


def test_weights_that_cannot_be_computed_exactly_are_refused():
    with pytest.raises(CapacityError):
        both_sides(Circuit("quadratic", (1,), np.full((1, 2), 3e5), np.zeros(1)))
    with pytest.raises(CapacityError):
        both_sides(Circuit("quadratic", (1,), np.ones((1, 2)), np.full(1, 1e9)))


def test_large_weights_take_a_smaller_scale():
    small, large = (both_sides(Circuit("linear", (1,), np.full((1, 2), w), np.zeros(1)))[0] for w in (1.0, 1000.0))
    assert small.shape.weight_bits > large.shape.weight_bits
    assert large.shape.range > small.shape.range


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_has_32_bytes(length):
    model = circuit()
    with pytest.raises(CryptoError):
        PreparedCircuit(model, bytes(length))
    service, _ = both_sides(model)
    with pytest.raises(CryptoError):
        Tenant(service.shape, bytes(length), service.constants())


def test_seeds_differ_with_every_name():
    names = (b"a", b"b", b"c")
    assert len({seed(*names[:at], b"other", *names[at + 1 :]) for at in range(3)} | {seed(*names)}) == 4
    assert seed(b"ab", b"c", b"d") != seed(b"a", b"bc", b"d")


def test_what_the_objects_say_holds_no_number_of_theirs():
    service, tenant = both_sides(circuit())
    assert repr(service) == "<PreparedCircuit quadratic, 4 features, 1 outputs>"
    assert repr(tenant) == "<Tenant of a quadratic circuit, 4 features>"


def test_peak_is_told_for_instructions_that_this_processor_has():
    best = Instructions.best()
    assert Instructions.PORTABLE.peak() == 0.0
    if best is not Instructions.PORTABLE:
        assert best.peak() > 1e8
    if best is not Instructions.AMX:
        with pytest.raises(CryptoError):
            Instructions.AMX.peak()


def test_a_forked_process_leaves_the_parents_handles_alone(monkeypatch):
    from fedanomaly.fhe import _engine

    called = []
    monkeypatch.setattr(_engine, "call", lambda *arguments: called.append(arguments))
    _engine.free(7, os.getpid() + 1)
    assert called == []
    _engine.free(7, os.getpid())
    assert called == [("fa_free", 7)]
