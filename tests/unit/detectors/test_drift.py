import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from fedanomaly.detectors.drift import Drift, drift, psi, wasserstein
from fedanomaly.errors import ShapeError

COUNTS = st.integers(2, 60).flatmap(
    lambda cells: st.tuples(*[arrays(np.int64, cells, elements=st.integers(0, 10**9))] * 2)
)


@given(COUNTS)
def test_distances_are_symmetric_and_not_negative(counts):
    a, b = counts
    edges = np.linspace(-3, 5, len(a) + 1)
    if not (a.sum() and b.sum()):
        assert math.isnan(psi(a, b))
        assert math.isnan(wasserstein(edges, a, b))
        return

    assert psi(a, b) >= 0
    assert psi(a, b) == pytest.approx(psi(b, a))
    assert wasserstein(edges, a, b) == pytest.approx(wasserstein(edges, b, a))
    assert psi(a, a) == wasserstein(edges, a, a) == 0.0


@given(COUNTS)
def test_the_wasserstein_distance_is_that_of_scipy(counts):
    a, b = counts
    if not (a.sum() and b.sum()):
        return
    edges = np.cumsum(np.arange(1.0, len(a) + 2))
    middle = (edges[:-1] + edges[1:]) / 2

    assert wasserstein(edges, a, b) == pytest.approx(wasserstein_distance(middle, middle, a, b), rel=1e-6, abs=1e-9)


def test_the_index_is_that_of_the_formula_where_bands_are_cells():
    a, b = np.array([300, 500, 200]), np.array([100, 500, 400])
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (a, b))

    assert psi(a, b, bands=1000) == pytest.approx(((p - q) * np.log(p / q)).sum())


def test_thin_cells_do_not_make_chance_a_shift():
    rng = np.random.default_rng(1)
    fine = np.linspace(-5, 5, 4001)
    a, b = (np.histogram(rng.normal(size=3000), fine)[0] for _ in range(2))

    assert psi(a, b) < 0.02
    assert psi(a, b, bands=4000) > 0.5


def test_the_table_says_what_moved_and_leaves_chance_alone():
    rng = np.random.default_rng(2)
    edges = np.linspace(-8, 8, 65)

    def counts(rows, shift):
        return np.histogram(rng.normal(shift, size=rows), edges)[0]

    a = np.stack([counts(5000, 0), counts(5000, 0), counts(12, 0), np.zeros(64, np.int64)])
    b = np.stack([counts(9000, 0), counts(9000, 1), counts(9000, 0.3), counts(9000, 0)])

    found = drift(["same", "moved", "few", "none"], edges, a, b)

    assert [row.word for row in found] == ["stable", "shifted", "stable", "no rows"]
    assert found[1].wasserstein == pytest.approx(1.0, abs=0.1)
    assert found[3].to_dict() == {"name": "none", "psi": None, "wasserstein": None, "word": "no rows"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: psi(np.ones(3, np.int64), np.ones(4, np.int64)),
        lambda: wasserstein(np.arange(3.0), np.ones(3, np.int64), np.ones(3, np.int64)),
        lambda: drift(["a"], np.arange(4.0), np.ones((2, 3), np.int64), np.ones((2, 3), np.int64)),
    ],
)
def test_histograms_on_other_cells_are_refused(call):
    with pytest.raises(ShapeError):
        call()


def test_a_line_is_plain():
    assert Drift(name="a", psi=0.5, wasserstein=1.0, word="shifted").to_dict()["psi"] == 0.5
