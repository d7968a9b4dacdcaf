"""Polynomials that follow tables and are never negative."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.detectors.quartic import fitted

REACH = 10.0
MIDDLES = np.linspace(-REACH, REACH, 513)[1::2]


def normal_counts(center=0.0, deviation=1.0, rows=10_000):
    density = np.exp(-0.5 * ((MIDDLES - center) / deviation) ** 2)
    return np.rint(rows * density / density.sum())


def at(quartic, places):
    return quartic(np.asarray(places)[:, None])[:, 0]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), emptiness=st.floats(0, 1))
def test_it_is_nowhere_negative_whatever_the_table_is(seed, emptiness):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 100, 256) * (rng.random(256) > emptiness)
    quartic = fitted(rng.exponential(size=(1, 256)) * 5, counts[None].astype(np.float64), REACH)
    values = at(quartic, np.linspace(-70, 70, 9001))
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (quartic.constant >= 0).all()


@pytest.mark.parametrize(
    "polynomial",
    [
        lambda y: 1.5 + 0.5 * y**2,
        lambda y: 0.02 * (y**2 - 4.0) ** 2 + 0.1,
        lambda y: 0.05 * (y - 1.0) ** 4 + 0.3 * y**2 + 2.0,
        lambda y: 3.0 + 0.0 * y,
    ],
)
def test_what_is_a_polynomial_comes_back(polynomial):
    quartic = fitted(polynomial(MIDDLES)[None], np.ones((1, 256)), REACH)
    places = np.linspace(-3, 3, 50)
    assert np.allclose(at(quartic, places), polynomial(places), atol=0.05)


def test_it_follows_the_table_where_rows_lie_and_keeps_rising_beyond():
    counts = normal_counts()
    table = np.minimum(0.5 * MIDDLES**2, 8.0)  # flat where no row lies, as a histogram's logarithm is
    quartic = fitted(table[None], counts[None], REACH)
    near = np.abs(MIDDLES) < 2.5
    assert np.sqrt(np.average((at(quartic, MIDDLES) - table) ** 2, weights=counts)) < 0.05
    assert np.abs(at(quartic, MIDDLES) - table)[near].max() < 0.25
    assert (at(quartic, [5.0, 10.0, 40.0]) > at(quartic, [4.0, 5.0, 10.0])).all()


def test_every_table_has_its_own():
    tables = 1.0 + np.stack([0.5 * MIDDLES**2, 0.5 * (MIDDLES - 2.0) ** 2])
    both = fitted(tables, np.stack([normal_counts(), normal_counts(2.0)]), REACH)
    values = both(np.array([[0.0, 0.0], [2.0, 2.0]]))
    assert np.allclose(values, [[1.0, 3.0], [3.0, 1.0]], atol=0.05)


def test_a_projection_that_nobody_counted_has_one_as_well():
    quartic = fitted(np.full((1, 256), 4.0), np.zeros((1, 256)), REACH)
    assert np.allclose(at(quartic, [-5.0, 0.0, 5.0]), 4.0, atol=0.05)
