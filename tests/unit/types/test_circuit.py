"""Circuits as plain data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.errors import MessageError, ShapeError
from fedanomaly.types import Circuit
from fedanomaly.types.canonical import begin, item, item_int


@given(
    kind=st.sampled_from(["linear", "quadratic"]),
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    features=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_outputs_are_forms_or_sums_of_their_squares(kind, rows, features, seed):
    rows = (1,) * len(rows) if kind == "linear" else tuple(rows)
    rng = np.random.default_rng(seed)
    circuit = Circuit(kind, rows, rng.normal(size=(sum(rows), features)), rng.normal(size=sum(rows)))
    readings = rng.normal(size=(3, features))
    forms = readings @ circuit.weights.T + circuit.bias
    cuts = np.cumsum(rows)[:-1]
    wanted = [part[:, 0] if kind == "linear" else (part**2).sum(axis=1) for part in np.split(forms, cuts, axis=1)]
    assert np.allclose(circuit.evaluate(readings), np.stack(wanted, axis=1))
    assert (circuit.features, circuit.outputs) == (features, len(rows))


@pytest.mark.parametrize(
    ("kind", "rows", "weights", "bias"),
    [
        ("linear", (2,), np.ones((2, 3)), np.ones(2)),
        ("quadratic", (), np.ones((0, 3)), np.ones(0)),
        ("quadratic", (0, 1), np.ones((1, 3)), np.ones(1)),
        ("quadratic", (2,), np.ones((1, 3)), np.ones(2)),
        ("quadratic", (1,), np.ones((1, 0)), np.ones(1)),
        ("quadratic", (1,), np.ones(3), np.ones(1)),
        ("quadratic", (1,), np.ones((1, 3)), np.ones(2)),
        ("quadratic", (1,), np.full((1, 3), np.nan), np.ones(1)),
        ("quadratic", (1,), np.ones((1, 3)), np.full(1, np.inf)),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(kind, rows, weights, bias):
    with pytest.raises(ShapeError):
        Circuit(kind, rows, weights, bias)


def test_the_digest_names_exactly_one_circuit():
    base = ("quadratic", (1, 1), np.arange(4.0).reshape(2, 2), np.zeros(2))
    others = [
        ("quadratic", (2,), base[2], base[3]),
        ("linear", (1, 1), base[2], base[3]),
        ("quadratic", (1, 1), base[2] + np.eye(2), base[3]),
        ("quadratic", (1, 1), base[2], base[3] + [0, 1]),
    ]
    digests = {Circuit(*parts).digest for parts in (base, *others)}
    assert len(digests) == 5
    assert Circuit(*base).digest in digests


def test_a_circuit_survives_the_way_over_a_wire():
    rng = np.random.default_rng(0)
    for kind, rows in (("linear", (1, 1)), ("quadratic", (3, 1, 2))):
        circuit = Circuit(kind, rows, rng.normal(size=(sum(rows), 3)), rng.normal(size=sum(rows)))
        again = Circuit.from_bytes(circuit.to_bytes())
        assert again.to_bytes() == circuit.to_bytes()
        assert np.array_equal(again.evaluate(np.ones((2, 3))), circuit.evaluate(np.ones((2, 3))))


def sent(kind=b"linear", features=1, rows=b"\1\0\0\0", weights=bytes(8), bias=bytes(8)):
    parts = item("kind", kind) + item_int("features", features)
    return begin("circuit") + parts + item("rows", rows) + item("weights", weights) + item("bias", bias)


def test_the_bytes_that_the_bent_ones_come_from_are_right():
    assert Circuit.from_bytes(sent()).features == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        sent() + b"\0",
        sent()[:-1],
        sent().replace(b"circuit", b"circuid"),
        sent(kind=b"cubic"),
        sent(features=0),
        sent(features=0, weights=b""),
        sent(features=2),
        sent(features=1 << 63),
        sent(rows=b"\1\0\0"),
        sent(rows=b""),
        sent(rows=b"\2\0\0\0"),
        sent(weights=bytes(7), bias=bytes(7)),
        sent(bias=b"\xff" * 8),
    ],
)
def test_other_bytes_are_no_circuit(data):
    with pytest.raises(MessageError):
        Circuit.from_bytes(data)


@given(seed=st.integers(0, 1000), features=st.integers(1, 6), forms=st.integers(1, 5))
def test_a_balanced_circuit_gives_the_same_for_divided_readings(seed, features, forms):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(forms, features)) * 2.0 ** rng.integers(-9, 30, size=features)
    weights[:, 0] *= rng.integers(0, 2)
    circuit = Circuit("quadratic", (forms,), weights, rng.normal(size=forms))
    balanced, divisors = circuit.balanced()
    readings = rng.normal(size=(4, features))
    assert np.array_equal(balanced.evaluate(readings / divisors), circuit.evaluate(readings))
    assert (divisors >= 1).all()
    assert (np.log2(divisors) % 1 == 0).all()
    again, ones = balanced.balanced()
    assert (ones == 1).all()
    assert again.digest == balanced.digest
