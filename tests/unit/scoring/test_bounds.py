"""Bounds of decrypted outputs hold, and are not much wider than what happens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.fhe.scoring import PreparedCircuit
from fedanomaly.fhe.tenant import Tenant
from fedanomaly.scoring.bounds import BIAS_ERROR, bounds_of
from fedanomaly.types import Circuit, Layer
from fedanomaly.types.circuit import LAYER_BITS, MIX_BITS, rounded


def polynomial(rng, features, forms, plain, *, of_forms, fine=False, size=0.3):
    """Return a polynomial; a fine one is computed without rounding."""
    rows = forms if of_forms else features
    parts = [size * rng.normal(size=shape) for shape in ((rows, forms), (rows,), (plain, features), (forms, features))]
    if fine:
        parts = [rounded(part, bits) for part, bits in zip(parts, (MIX_BITS, *[LAYER_BITS] * 3), strict=True)]
    mix, direct, plain_weights, weights = parts
    shift, plain_bias, bias = (rng.normal(size=n) for n in (rows, plain, forms))
    layer = Layer(mix, direct, shift, of_forms=of_forms, weights=plain_weights, bias=plain_bias)
    return Circuit("polynomial", (forms,), weights, bias, layer)


def errors_and_bounds(circuit, readings):
    """Return what one batch is off by, and the bounds."""
    service = PreparedCircuit(circuit, bytes(32))
    batch, key = Tenant(service.shape, bytes(32), service.constants()).encrypt(readings)
    outputs = key.decrypt(service.score(batch))
    bounds = bounds_of(circuit, service.shape)
    return np.abs(outputs - circuit.evaluate(readings)), bounds.of(bounds.known(readings), outputs)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(1, 8), st.integers(1, 6), st.integers(0, 3)),
    of_forms=st.booleans(),
    fine=st.booleans(),
    spread=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
)
def test_no_output_of_a_polynomial_is_farther_off_than_its_bound(seed, sizes, of_forms, fine, spread):
    rng = np.random.default_rng(seed)
    circuit = polynomial(rng, *sizes, of_forms=of_forms, fine=fine)
    errors, bounds = errors_and_bounds(circuit, spread * rng.normal(size=(300, sizes[0])))
    assert (errors <= bounds).all()


@pytest.mark.parametrize("of_forms", [False, True])
def test_noise_reaches_half_of_its_bound(of_forms):
    """The largest of 4,095 normal numbers is about 3.7 deviations; the bound is 8 of them."""
    rng = np.random.default_rng(3)
    errors, bounds = errors_and_bounds(
        polynomial(rng, 6, 3, 2, of_forms=of_forms, fine=True), rng.normal(size=(4095, 6))
    )
    assert 0.35 < (errors / bounds).max() < 0.75


@pytest.mark.parametrize("part", ["weights", "mix", "direct", "plain"])
@pytest.mark.parametrize("of_forms", [False, True])
def test_what_rounding_moves_is_within_the_bound_and_near_it(part, of_forms):
    """One reading; each kind of weight lies half a step beside the grid, and the readings are as far as they may be."""
    half, fourth = 2.0 ** -(LAYER_BITS + 1), 2.0 ** -(MIX_BITS + 1)
    weight, mix, direct, plain = 0.0625, 0.0, 0.0, 0.0
    if part == "weights":
        weight, mix = 0.0625 + half, 0.25
    elif part == "mix":
        mix = 1.0 + fourth
    elif part == "direct":
        direct = 1.0 + half
    else:
        plain = 1.0 + half
    layer = Layer(
        np.array([[mix]]),
        np.array([direct]),
        np.zeros(1),
        of_forms=of_forms,
        weights=np.array([[plain]]),
        bias=np.zeros(1),
    )
    circuit = Circuit("polynomial", (1,), np.array([[weight]]), np.zeros(1), layer)
    errors, bounds = errors_and_bounds(circuit, np.full((2, 1), 64.0))
    assert (errors <= bounds).all()
    assert (errors > 0.5 * bounds).all()


def test_biases_are_rounded_as_little_as_stated():
    layer = Layer(
        np.zeros((1, 1)),
        np.zeros(1),
        np.array([1.0 / 3.0]),
        of_forms=True,
        weights=np.zeros((1, 1)),
        bias=np.array([1.0 / 7.0]),
    )
    errors, bounds = errors_and_bounds(
        Circuit("polynomial", (1,), np.zeros((1, 1)), np.ones(1), layer), np.zeros((1, 1))
    )
    assert (errors <= bounds).all()
    assert (bounds < 4.0 * BIAS_ERROR).all()


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_no_form_is_farther_off_than_its_bound(kind):
    rng = np.random.default_rng(4)
    rows = (1, 1) if kind == "linear" else (3, 1)
    circuit = Circuit(kind, rows, rng.normal(size=(sum(rows), 5)), rng.normal(size=sum(rows)))
    errors, bounds = errors_and_bounds(circuit, rng.normal(size=(4096, 5)))
    assert (errors <= bounds).all()
    assert (errors / bounds).max() > 0.2


@pytest.mark.parametrize("through", ["direct", "plain"])
def test_an_output_of_0_is_off_by_the_square_of_the_noise(through):
    direct, plain = (1.0, 0.0) if through == "direct" else (0.0, 1.0)
    layer = Layer(
        np.zeros((1, 1)),
        np.array([direct]),
        np.zeros(1),
        of_forms=False,
        weights=np.array([[plain]]),
        bias=np.zeros(1),
    )
    circuit = Circuit("polynomial", (1,), np.zeros((1, 1)), np.zeros(1), layer)
    errors, bounds = errors_and_bounds(circuit, np.zeros((4095, 1)))
    assert (errors <= bounds).all()
    assert errors.max() > 0.1 * bounds.max()
