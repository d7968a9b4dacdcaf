# ruff: noqa: N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fedanomaly.detectors import GaussianMixture
from fedanomaly.detectors.contract import history
from fedanomaly.detectors.mixture import Grid, mixture_of
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import Quantiser, State


def groups(each=600, seed=0):
    """Return two groups that vary along the diagonal."""
    rng = np.random.default_rng(seed)
    tilted = rng.normal(size=(2 * each, 2)) @ np.array([[1.0, 0.95], [0.0, 0.3]])
    tilted[each:] += [12, -12]
    return tilted


def with_arrays(state, **arrays):
    return State(state.detector, state.version, state.params, {**state.arrays, **arrays})


def opened(detector, rows):
    """Return what every round of the components opened, by step."""
    return {step.name: total for step, total, _ in history(detector, [rows]) if step.name.startswith("gaussian_mix")}


def test_components_find_the_groups():
    X = groups()
    state = GaussianMixture(n_components=2).fit(X).state_
    scale, mixture = scale_of(state), mixture_of(state)
    wanted = [scale.standardise(part).mean(axis=0) for part in (X[:600], X[600:])]
    means = sorted((normal.mean for normal in mixture.normals), key=lambda mean: mean[0])
    for mean, place in zip(means, wanted, strict=True):
        assert np.allclose(mean, place, atol=0.02 * scale.grid)
    assert np.allclose(mixture.share, 0.5, atol=0.01)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_score_is_the_log_density_under_the_components(covariance):
    X = groups()
    detector = GaussianMixture(n_components=3, covariance=covariance, min_share=0.0).fit(X)
    mixture, scale = mixture_of(detector.state_), scale_of(detector.state_)
    density, top = np.zeros(len(X)), 0.0
    for share, normal in zip(mixture.share, mixture.normals, strict=True):
        forms = np.diag(normal.forms) if normal.forms.ndim == 1 else normal.forms * normal.unit[:, None]
        component = multivariate_normal(normal.mean, np.linalg.inv(forms.T @ forms))
        density += share * component.pdf(scale.standardise(X))
        top += share * component.pdf(normal.mean)
    assert np.allclose(detector.anomaly_scores(X), np.log(top) - np.log(density), rtol=1e-6, atol=1e-6)


def test_moments_are_those_of_the_rows_weighted_by_their_parts():
    X = np.random.default_rng(1).normal(size=(500, 3)) * [1, 2, 3] + 40
    detector = GaussianMixture(n_components=1, n_rounds=1).fit(X)
    rows = scale_of(detector.state_).standardise(X)
    (normal,) = mixture_of(detector.state_).normals
    forms = normal.forms * normal.unit[:, None]
    expected = np.cov(rows.T, bias=True)
    expected = 0.9 * expected + 0.1 * np.diag(expected.diagonal())
    assert np.allclose(normal.mean, rows.mean(axis=0), atol=1e-6 * np.abs(rows).max())
    # A deviation of 1/32 is added to each column.
    assert np.allclose(np.linalg.inv(forms.T @ forms), expected, rtol=0.01, atol=0.003 * np.trace(expected))


def test_coarse_steps_give_the_covariance_of_the_coarse_rows():
    X = np.random.default_rng(8).normal(size=(500, 2))
    moved = X + np.array([0.3, -0.4])
    detector = GaussianMixture(n_components=1, n_rounds=1)
    state = next(state for step, _, state in history(detector, [X]) if step.name == "gaussian_mixture/0")
    state = with_arrays(state, rows=np.array([1 << 31]))
    steps = 2.0 ** Grid.of(state).shift
    rows = np.rint(scale_of(state).standardise(moved) / steps)
    step = detector.next_step(state)
    quantiser = Quantiser(step=step, members=1)
    told = quantiser.quantise(detector.local(step, moved, state))
    mixture = mixture_of(detector.merge(step, quantiser.total(told, 1), state))
    narrowest = max(scale_of(state).grid / steps / 32, 12**-0.5)
    (normal,) = mixture.normals
    assert np.allclose(normal.mean, rows.mean(axis=0) * steps)
    # The first form is the first feature's own.
    assert np.isclose(1 / (normal.forms[0, 0] * normal.unit[0]), np.sqrt(rows[:, 0].var() + narrowest**2) * steps)


def test_log_density_settles_and_that_ends_the_rounds():
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.normal(size=(400, 2)), rng.normal(loc=2.0, size=(400, 2))])
    totals = opened(GaussianMixture(n_components=3, n_rounds=50), X)
    fits = [int(total["fit"][0]) / 64 / len(X) for total in totals.values() if "fit" in total.integers]
    changes = np.abs(np.diff(fits))
    assert 4 < len(totals) < 50
    assert changes[-1] < 1 / 1024 <= changes[:-1].min()


def test_a_small_component_is_left_out():
    X = np.concatenate([groups(), np.random.default_rng(3).normal(size=(40, 2)) * 0.1 + 30])
    few = np.array([[30.0, 30.0]])
    kept, left_out = (GaussianMixture(min_share=share).fit(X) for share in (0.0, 0.6))
    assert kept.predict(few)[0] == 1
    assert left_out.anomaly_scores(few)[0] > np.quantile(left_out.anomaly_scores(X), 0.96)
    shared = set(kept.state_.arrays) - {"score/threshold"}
    assert all(np.array_equal(kept.state_[name], left_out.state_[name]) for name in shared)


def test_what_breaks_the_correlation_of_its_group_is_seen_and_blamed():
    X = np.column_stack([groups(), np.random.default_rng(4).normal(size=1200)])
    odd = np.array([[1.5, -1.5, 0.0]])
    full, diagonal = (GaussianMixture(covariance=kind).fit(X) for kind in ("full", "diagonal"))
    assert full.predict(odd)[0] == -1
    assert diagonal.predict(odd)[0] == 1
    assert np.abs(full.explain(odd)[0, :2]).min() > 20 * abs(full.explain(odd)[0, 2])


def test_copies_constants_and_fewer_rows_than_columns_do_not_break_it():
    X = np.random.default_rng(5).normal(size=(20, 15))
    wide = np.hstack([X, X, X[:, :1] * 3 - 1, np.ones((20, 1))])
    for kind in ("full", "diagonal"):
        scores = GaussianMixture(covariance=kind).fit(wide).anomaly_scores(wide)
        assert np.isfinite(scores).all()
        assert np.ptp(scores) > 0


def test_a_very_wide_table_has_diagonal_components():
    X = np.random.default_rng(6).normal(size=(30, 501))
    detector = GaussianMixture(n_rounds=2).fit(X)
    assert detector.state_["gaussian_mixture/products"].shape == (4, 501)
    assert np.allclose(detector.explain(X).sum(axis=1), detector.anomaly_scores(X))


@pytest.mark.parametrize("rows", [1, 7000, 1 << 20, (1 << 32) - 1, 250 * ((1 << 32) - 1)])
def test_any_number_of_rows_fits_250_members(rows):
    detector = GaussianMixture()
    state = detector.initial_state(3)
    for _ in range(20):
        step = detector.next_step(state)
        if step is None or step.name == "gaussian_mixture/1":
            break
        quantiser = Quantiser(step=step, members=250)
        nothing = {field.name: np.zeros(field.shape, dtype=np.int64) for field in step.fields}
        total = quantiser.total(quantiser.quantise(nothing), 1)
        if step.name == "rows/all":
            total.integers["rows"] = np.array([rows])
        if step.name in {"gaussian_start/0", "gaussian_start/1"}:
            total.integers["counts"] += 1
        state = detector.merge(step, total, state)
    assert step.name == "gaussian_mixture/1"
    grid = Grid.of(state)
    assert min(rows, (1 << 32) - 1) * grid.part * grid.most**2 <= 1 << 50
    assert grid.part >= 64
    assert grid.most >= 64


def test_sums_of_no_row_are_refused():
    detector = GaussianMixture().fit(groups(50))
    state = detector.state_
    nothing = with_arrays(state, **{"gaussian_mixture/counts": state["gaussian_mixture/counts"] * 0})
    with pytest.raises(DataError, match="of no row"):
        detector.derive(nothing)


def test_wild_sums_are_refused_or_give_finite_scores():
    X = groups(50)
    for kind in ("full", "diagonal"):
        detector = GaussianMixture(covariance=kind).fit(X)
        state = detector.state_
        products = state["gaussian_mixture/products"].copy()
        products[:, 1] = 10 * products[:, 0] + 5
        for name, array in (("products", products), ("products", -products), ("sums", products[:, :2])):
            wild = with_arrays(state, **{f"gaussian_mixture/{name}": array})
            try:
                scores = detector.derive(wild).scores(X)
            except DataError:
                continue
            assert np.isfinite(scores).all()
            assert (scores >= 0).all()
