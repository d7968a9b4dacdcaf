"""Scoring with an encrypted model, both sides in one process."""

import copy
import pickle

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
from fedanomaly.fhe.hidden import EncryptedModel, HiddenShape, PreparedModel
from fedanomaly.fhe.model_key import encrypt_model
from fedanomaly.fhe.scoring import Instructions
from fedanomaly.types.canonical import begin, item, item_int


def weights(forms=3, features=4):
    return np.random.default_rng(forms + features).normal(size=(forms, features))


def both_sides(rows, instructions=None):
    model, key = encrypt_model(rows)
    return PreparedModel(EncryptedModel.from_bytes(model.to_bytes()), instructions=instructions), key


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (40, 2), (10, 30)])
@pytest.mark.parametrize("events", [1, 2048, 2049, 4096])
def test_what_is_decrypted_is_the_product_with_the_weights(shape, events):
    rows = weights(*shape)
    service, key = both_sides(rows)
    readings = np.random.default_rng(events).normal(size=(events, shape[1]))
    batch, batch_key = key.encrypt(readings)
    forms, wanted = batch_key.decrypt(service.score(batch)), readings @ rows.T
    assert forms.shape == wanted.shape
    assert np.max(np.abs(forms - wanted) / np.maximum(1, np.abs(wanted))) < 1e-3


def test_sizes_are_those_that_the_shape_tells():
    service, key = both_sides(weights())
    batch, batch_key = key.encrypt(np.zeros((1, 4)))
    shape = service.shape
    assert (len(batch), len(service.score(batch)), shape.events) == (shape.batch_bytes, shape.answer_bytes, 4096)
    batch_key.close()
    wide = HiddenShape(30, 10)
    assert (wide.batch_bytes / 4096, wide.answer_bytes / 4096, wide.model_bytes) == (240, 88, 300 * 32768)


def test_all_instructions_give_the_same_bytes():
    model, key = encrypt_model(weights(7, 11))
    batch, _ = key.encrypt(np.random.default_rng(1).normal(size=(100, 11)))
    found = [PreparedModel(model, instructions=each) for each in Instructions if each <= Instructions.best()]
    assert len({bytes(service.score(batch)) for service in found}) == 1


def test_a_key_of_a_batch_opens_one_answer():
    service, key = both_sides(weights())
    batch, batch_key = key.encrypt(np.zeros((5, 4)))
    answer = service.score(batch)
    batch_key.decrypt(answer)
    with pytest.raises(ReplayError):
        batch_key.decrypt(answer)


@pytest.mark.parametrize("bend", [lambda a: bytes(len(a)), lambda a: a[: len(a) // 2] * 2], ids=["zeros", "halves"])
def test_an_answer_that_lies_ends_the_key_of_the_model(bend):
    service, key = both_sides(weights())
    batch, batch_key = key.encrypt(np.ones((5, 4)))
    with pytest.raises(RangeError):
        batch_key.decrypt(bend(bytes(service.score(batch))))
    with pytest.raises(RangeError):
        key.encrypt(np.ones((5, 4)))


def test_what_is_no_answer_ends_the_key_of_the_batch_alone():
    service, key = both_sides(weights())
    for bend in (lambda answer: answer[:-4], lambda answer: b"\xff" * 4 + answer[4:]):
        batch, batch_key = key.encrypt(np.ones((5, 4)))
        answer = bytes(service.score(batch))
        with pytest.raises(MessageError):
            batch_key.decrypt(bend(answer))
        with pytest.raises(ReplayError):
            batch_key.decrypt(answer)
    batch, batch_key = key.encrypt(np.ones((5, 4)))
    assert np.allclose(batch_key.decrypt(service.score(batch)), np.ones((5, 4)) @ weights().T, atol=1e-3)


def test_a_closed_key_encrypts_and_decrypts_nothing():
    service, key = both_sides(weights())
    batch, batch_key = key.encrypt(np.zeros((5, 4)))
    key.close()
    key.close()
    with pytest.raises(CryptoError):
        batch_key.decrypt(service.score(batch))
    with pytest.raises(CryptoError):
        key.encrypt(np.zeros((5, 4)))


@pytest.mark.parametrize("spread", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_key_is_neither_copied_nor_stored(spread):
    _, key = both_sides(weights())
    with pytest.raises(CryptoError):
        spread(key)


def test_nothing_encrypts_a_model_under_secrets_that_exist():
    _, key = both_sides(weights())
    assert sorted(name for name in dir(key) if not name.startswith("_")) == [
        "close", "decrypting", "encrypt", "encrypting", "handle", "shape", "weight_bits",
    ]  # fmt: skip


def test_equal_weights_look_unrelated():
    models = [encrypt_model(np.ones((2, 3)))[0] for _ in range(2)]
    first, second = (np.frombuffer(model.words, dtype="<u4") for model in models)
    assert models[0].seed != models[1].seed
    assert models[0].digest != models[1].digest
    assert np.count_nonzero(first == second) < 5
    one, other = np.split(first, 2)  # the two forms, which are the same
    assert np.count_nonzero(one == other) < 5
    assert abs(first.mean() / 2**29 - 1) < 0.02


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(bad):
    rows = weights()
    rows[1, 2] = bad
    with pytest.raises(DataError, match="weight"):
        encrypt_model(rows)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,), (2, 2, 2)])
def test_weights_of_a_shape_that_cannot_be_are_refused(shape):
    with pytest.raises(ShapeError):
        encrypt_model(np.zeros(shape))


@pytest.mark.parametrize("shape", [(1001, 1), (1, 10_001), (300, 300)])
def test_weights_that_are_too_many_are_refused(shape):
    with pytest.raises(CapacityError, match="is too large"):
        encrypt_model(np.zeros(shape))


def test_weights_that_are_too_large_are_refused():
    with pytest.raises(CapacityError, match="too large"):
        encrypt_model(np.full((1, 2), 1e6))


def test_large_weights_take_a_smaller_scale():
    small, large = (encrypt_model(np.full((1, 2), w))[1].weight_bits for w in (1.0, 1000.0))
    assert small > large


def test_a_model_reads_back_and_its_name_is_its_hash():
    model, _ = encrypt_model(weights())
    again = EncryptedModel.from_bytes(model.to_bytes())
    assert (again.shape, again.seed, again.words, again.digest) == (model.shape, model.seed, model.words, model.digest)
    assert EncryptedModel.recognises(model.to_bytes())


def described(features=4, forms=3, seed=bytes(32), words=None, label="encrypted model"):
    words = bytes(HiddenShape(4, 3).model_bytes) if words is None else words
    return (
        begin(label)
        + item_int("features", features)
        + item_int("forms", forms)
        + item("seed", seed)
        + item("words", words)
    )


@pytest.mark.parametrize("data", [
    b"", described()[:-1], described() + b"x", described(features=3), described(forms=4), described(features=0),
    described(forms=2**63), described(features=2**64 - 1), described(seed=bytes(31)), described(words=b""),
    described(words=bytes(5)), described(features=2**32 + 4), described(label="circuit"),
], ids=range(13))  # fmt: skip
def test_bytes_that_are_no_encrypted_model_are_refused(data):
    with pytest.raises(MessageError):
        EncryptedModel.from_bytes(data)


@pytest.mark.parametrize("at", [0, 1000, -4])
def test_a_residue_that_is_not_below_its_prime_is_refused(at):
    words = bytearray(HiddenShape(4, 3).model_bytes)
    words[at : at + 4 or None] = b"\xff" * 4
    with pytest.raises(MessageError):
        PreparedModel(EncryptedModel.from_bytes(described(words=bytes(words))))


@pytest.mark.parametrize("bend", [lambda b: b[:-4], lambda b: b + bytes(4), lambda b: b"\xff" * 4 + b[4:]])
def test_what_is_no_batch_is_refused(bend):
    service, key = both_sides(weights())
    batch, _ = key.encrypt(np.zeros((5, 4)))
    with pytest.raises(MessageError):
        service.score(bend(bytes(batch)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 64.001])
def test_readings_that_cannot_be_encrypted_are_refused(bad):
    _, key = both_sides(weights())
    with pytest.raises(DataError, match="64"):
        key.encrypt(np.full((3, 4), bad))


def test_what_the_objects_say_holds_no_number_of_theirs():
    model, key = encrypt_model(weights())
    assert repr(model) == "<EncryptedModel, 4 features, 3 forms>"
    assert repr(key) == "<ModelKey, 4 features, 3 forms>"
    assert repr(PreparedModel(model)) == "<PreparedModel, 4 features, 3 forms>"
