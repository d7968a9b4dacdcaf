"""Circuits as plain data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.errors import MessageError, ShapeError
from fedanomaly.types import Circuit, Layer
from fedanomaly.types.canonical import begin, item, item_int
from fedanomaly.types.circuit import LAYER_BITS, MIX_BITS, MOST_DIVISOR_BITS, rounded


@settings(deadline=None)
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


def polynomial(rng, features=3, forms=2, plain=1, of_forms=False):
    rows = forms if of_forms else features
    layer = Layer(
        rng.normal(size=(rows, forms)),
        rng.normal(size=rows),
        rng.normal(size=rows),
        of_forms=of_forms,
        weights=rng.normal(size=(plain, features)),
        bias=rng.normal(size=plain),
    )
    return Circuit("polynomial", (forms,), rng.normal(size=(forms, features)), rng.normal(size=forms), layer)


@settings(deadline=None)
@given(
    features=st.integers(1, 4),
    forms=st.integers(1, 4),
    plain=st.integers(0, 2),
    of_forms=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_polynomial_is_what_its_layer_says_term_by_term(features, forms, plain, of_forms, seed):
    rng = np.random.default_rng(seed)
    circuit = polynomial(rng, features, forms, plain, of_forms)
    layer, (event,) = circuit.layer, rng.normal(size=(1, features))
    y = [row @ event + b for row, b in zip(circuit.weights, circuit.bias, strict=True)]
    through, wanted = y if of_forms else event, 0.0
    for i, (direct, shift) in enumerate(zip(layer.direct, layer.shift, strict=True)):
        wanted += (sum(m * v**2 for m, v in zip(layer.mix[i], y, strict=True)) + direct * through[i] + shift) ** 2
    for row, b in zip(layer.weights, layer.bias, strict=True):
        wanted += (sum(w * x for w, x in zip(row, event, strict=True)) + b) ** 2
    assert np.allclose(circuit.evaluate(event[None]), [[wanted]])
    assert circuit.outputs == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: {"mix": p["mix"][1:]},
        lambda p: {"mix": p["mix"][:, 1:]},
        lambda p: {"mix": p["mix"].ravel()},
        lambda p: {"direct": p["direct"][1:]},
        lambda p: {"shift": p["shift"][1:]},
        lambda p: {"of_forms": True},
        lambda p: {"weights": p["weights"][:, 1:]},
        lambda p: {"weights": p["weights"].ravel()},
        lambda p: {"bias": np.ones(2)},
        lambda p: {"mix": p["mix"] * np.inf},
        lambda p: {"direct": p["direct"] * np.nan},
        lambda p: {"shift": p["shift"] * np.nan},
        lambda p: {"weights": p["weights"] * np.nan},
        lambda p: {"bias": p["bias"] * np.inf},
    ],
)
def test_layers_that_do_not_fit_are_refused(spoil):
    circuit = polynomial(np.random.default_rng(0))
    parts = vars(circuit.layer)
    with pytest.raises(ShapeError):
        Circuit("polynomial", (2,), circuit.weights, circuit.bias, Layer(**{**parts, **spoil(parts)}))


def test_a_polynomial_has_a_layer_and_no_other_circuit_has():
    circuit = polynomial(np.random.default_rng(0))
    for kind, rows, layer in (
        ("polynomial", (2,), None),
        ("polynomial", (1, 1), circuit.layer),
        ("quadratic", (2,), circuit.layer),
        ("linear", (1, 1), circuit.layer),
    ):
        with pytest.raises(ShapeError):
            Circuit(kind, rows, circuit.weights, circuit.bias, layer)


def test_the_digest_of_a_polynomial_follows_every_part():
    circuit = polynomial(np.random.default_rng(0), of_forms=True)
    parts, digests = vars(circuit.layer), {circuit.digest}
    for name in ("mix", "direct", "shift", "weights", "bias"):
        changed = parts[name].copy()
        changed.flat[-1] += 1.0
        layer = Layer(**{**parts, name: changed})
        digests.add(Circuit("polynomial", (2,), circuit.weights, circuit.bias, layer).digest)
    assert len(digests) == 6
    square = polynomial(np.random.default_rng(0), features=2)
    turned = Layer(**{**vars(square.layer), "of_forms": True})
    assert Circuit("polynomial", (2,), square.weights, square.bias, turned).digest != square.digest


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


@settings(deadline=None)
@given(seed=st.integers(0, 1000), plain=st.integers(0, 2), of_forms=st.booleans())
def test_a_polynomial_survives_the_way_over_a_wire(seed, plain, of_forms):
    circuit = polynomial(np.random.default_rng(seed), plain=plain, of_forms=of_forms)
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
        sent(features=1 << 63, weights=b"", bias=b"", rows=b""),
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


@settings(deadline=None)
@given(at=st.integers(0, 10_000), to=st.binary(max_size=9), whole=st.booleans())
def test_bent_bytes_of_a_polynomial_are_refused_or_those_of_another(at, to, whole):
    data = polynomial(np.random.default_rng(0)).to_bytes()
    at %= len(data) + 1
    bent = data[:at] + to if whole else data[:at] + to + data[at + len(to) :]
    try:
        circuit = Circuit.from_bytes(bent)
    except MessageError:
        return
    assert circuit.to_bytes() == bent


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (item_int("of forms", 0), item_int("of forms", 2)),
        (item_int("of forms", 0), item_int("of forms", 1)),
        (item_int("of forms", 0), b""),
        (item("layer direct", np.ones(3).tobytes()), item("layer direct", np.ones(2).tobytes())),
        (item("layer shift", np.zeros(3).tobytes()), item("layer shift", bytes(23))),
        (item("layer shift", np.zeros(3).tobytes()), item("layer shift", np.full(3, np.nan).tobytes())),
        (item("layer bias", b""), item("layer bias", bytes(8))),
        (item("layer bias", b""), item("layer bias", b"") + b"\0"),
    ],
)
def test_other_layers_are_no_circuit(old, new):
    layer = Layer(np.ones((3, 2)), np.ones(3), np.zeros(3), of_forms=False, weights=np.empty((0, 3)), bias=np.empty(0))
    data = Circuit("polynomial", (2,), np.ones((2, 3)), np.ones(2), layer).to_bytes()
    assert data.count(old) == 1
    with pytest.raises(MessageError):
        Circuit.from_bytes(data.replace(old, new))


@settings(deadline=None)
@given(seed=st.integers(0, 1000), of_forms=st.booleans())
def test_a_balanced_polynomial_gives_the_same_for_divided_readings(seed, of_forms):
    rng = np.random.default_rng(seed)
    circuit = polynomial(rng, features=4, forms=4, of_forms=of_forms)
    small = Circuit("polynomial", (4,), circuit.weights / [1, 8, 64, 512], circuit.bias, circuit.layer)
    balanced, divisors = small.balanced()
    readings = rng.normal(size=(4, 4))
    assert np.allclose(balanced.evaluate(readings / divisors), small.evaluate(readings), rtol=1e-12)
    assert (divisors >= 1).all()


def test_what_is_computed_as_it_is_needs_no_balance():
    base = polynomial(np.random.default_rng(0))
    fine = {name: rounded(getattr(base.layer, name) / 100, bits) for name, bits in GRID.items()}
    layer = Layer(**{**vars(base.layer), **fine})
    exact = Circuit("polynomial", (2,), rounded(base.weights / 100, LAYER_BITS), base.bias, layer)
    assert exact.balanced()[0].digest == exact.digest
    assert (exact.balanced()[1] == 1).all()
    coarse = Circuit("polynomial", (2,), exact.weights + 1e-6, base.bias, layer)
    assert coarse.balanced()[1].max() > 1


@pytest.mark.parametrize("of_forms", [False, True])
@pytest.mark.parametrize(
    ("reach", "bits", "divisor"), [(8.0, 3, 1 / 8), (8.0, 1, 1 / 2), (5.0, 3, 1 / 8), (64.0, 3, 1)]
)
def test_readings_that_end_early_are_encrypted_larger_as_far_as_weights_stay_what_they_are(
    of_forms, reach, bits, divisor
):
    base = polynomial(np.random.default_rng(1), of_forms=of_forms)
    fine = {name: rounded(getattr(base.layer, name), each - bits * (name != "mix")) for name, each in GRID.items()}
    layer = Layer(**{**vars(base.layer), **fine})
    circuit = Circuit("polynomial", (2,), rounded(base.weights, LAYER_BITS - bits), base.bias, layer, reach=reach)
    balanced, divisors = circuit.balanced()
    assert (divisors == divisor).all()
    assert balanced.is_exact
    assert balanced.reach == 64.0
    readings = np.random.default_rng(2).uniform(-reach, reach, (20, circuit.features))
    assert np.abs(readings / divisors).max() <= 64.0
    assert np.allclose(balanced.evaluate(readings / divisors), circuit.evaluate(readings), rtol=1e-12)


GRID = {"mix": MIX_BITS, "direct": LAYER_BITS, "weights": LAYER_BITS}


@settings(deadline=None)
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
    most = divisors == 2.0**MOST_DIVISOR_BITS
    assert (ones[~most] == 1).all()
    assert most.any() or again.digest == balanced.digest
