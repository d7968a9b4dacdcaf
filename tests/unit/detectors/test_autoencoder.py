import numpy as np
import pytest

from fedanomaly.detectors import Autoencoder
from fedanomaly.detectors.contract import CHECKS, history
from fedanomaly.detectors.network import WEIGHT_BITS, first_weights

RNG = np.random.default_rng(0)


def curve(count, noise=0.05):
    """Return rows near a parabola: what is normal depends on squares."""
    t = np.random.default_rng(1).normal(size=count)
    rows = np.stack([t, t**2, 0.5 * t], axis=1)
    return rows + np.random.default_rng(2).normal(size=rows.shape) * noise


def test_what_lies_off_a_curve_is_anomalous():
    detector = Autoencoder(n_hidden=2).fit(curve(2000))
    on = curve(100)
    off = on + np.array([0.0, -2.0, 0.0])
    assert np.median(detector.anomaly_scores(off)) > 10 * np.median(detector.anomaly_scores(on))


def lost(detector, rows):
    """Return the opened error of every epoch."""
    return [int(total["loss"][0]) for step, total, _ in history(detector, [rows]) if "encode" in step.name]


def test_training_lowers_the_error():
    found = lost(Autoencoder(n_hidden=2, n_epochs=8), curve(2000))
    assert found[-1] < 0.8 * found[0]


def test_what_made_it_worse_is_taken_back():
    rows = RNG.normal(size=(300, 1)) + RNG.normal(size=(300, 12)) * 0.05
    found = lost(Autoencoder(n_epochs=9), rows)
    assert found != sorted(found, reverse=True), "no step made it worse: the test shows nothing"
    steps = list(history(Autoencoder(n_epochs=9), [rows]))
    best = next(state for step, _, state in steps if step.name == f"network/encode-{int(np.argmin(found))}")
    trained = Autoencoder(n_epochs=9).fit(rows).state_
    assert np.array_equal(trained["network/weights"], best["network/weights"])
    kept = {name for name in trained.arrays if name.startswith("network/")}
    assert kept == {f"network/{name}" for name in ("weights", "units", "squares", "products", "trained")}


def test_first_weights_are_the_whitened_principal_directions():
    mixed = RNG.normal(size=(4000, 5)) @ np.diag([3.0, 2.0, 1.0, 0.5, 0.25]) @ np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    state = next(
        state for step, _, state in history(Autoencoder(n_hidden=3), [mixed]) if step.name.startswith("network")
    )
    weights = first_weights(state)[:, :-1] / 2.0**WEIGHT_BITS
    values, vectors = np.linalg.eigh(np.corrcoef(mixed.T))
    for at in range(3):
        found = weights[at] / np.linalg.norm(weights[at])
        assert abs(found @ vectors[:, -1 - at]) > 0.99
        assert abs(np.linalg.norm(weights[at]) ** -2 / values[-1 - at] - 1) < 0.05


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_polynomial_keeps_the_contract(check):
    check(Autoencoder(polynomial=True))


def test_the_polynomial_is_the_score_of_rows_that_nothing_cuts():
    """Between rounding of weights and of squares the two scores differ a little; beyond 8 deviations by the cut."""
    network = Autoencoder(n_hidden=2).fit(curve(2000))
    polynomial = network.resettled(curve(2000), polynomial=True)
    usual = curve(200)[np.abs(network._scorer.hidden.scale.readings(curve(200))).max(axis=1) < 8]
    assert len(usual) > 150
    wanted = network.anomaly_scores(usual)
    assert np.max(np.abs(polynomial.anomaly_scores(usual) - wanted) / np.maximum(1.0, wanted)) < 0.1
    far = np.array([[1e3, 0.0, 0.0], [1e9, 0.0, 0.0]])
    assert np.unique(polynomial.anomaly_scores(far)).size == 1
    assert np.unique(network.anomaly_scores(far)).size == 2


def test_sums_of_squares_are_exact_in_any_order():
    detector = Autoencoder(polynomial=True).fit(curve(500))
    rows = curve(300)
    alone = np.concatenate([detector.anomaly_scores(row[None]) for row in rows])
    assert np.array_equal(detector.anomaly_scores(rows), alone)
