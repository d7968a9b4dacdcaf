"""The key of a number sorts like the number, and cells count every reading once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedanomaly.detectors.cells import EVERYWHERE, Cells, histogram, histogram_of, key, keys, number, numbers

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SOME = arrays(np.float64, st.integers(1, 60), elements=FINITE)


@given(FINITE, FINITE)
def test_keys_sort_like_numbers(left, right):
    assert (left < right) == (key(left) < key(right))
    assert (left == right) == (key(left) == key(right))


@given(SOME)
def test_numbers_is_the_inverse_of_keys(values):
    assert np.array_equal(numbers(keys(values)), values)


@given(SOME)
def test_the_first_histogram_counts_every_finite_number(values):
    assert histogram(keys(values), EVERYWHERE).sum() == len(values)


@given(SOME, st.integers(1, 600), st.data())
def test_splitting_cells_keeps_the_count_and_the_order(values, budget, data):
    cells = Cells(EVERYWHERE, histogram(keys(values), EVERYWHERE))
    wide = [int(at) for at in np.flatnonzero(cells.counts) if not cells.is_point(int(at))]
    if not wide:
        return
    chosen = sorted(data.draw(st.sets(st.sampled_from(wide), min_size=1, max_size=min(3, len(wide), budget))))
    finer = cells.split(chosen, budget)
    assert len(finer) <= budget
    assert (finer[:, 0] < finer[:, 1]).all()
    refined = cells.refined(finer, histogram_of(keys(values), finer))
    assert refined.total == len(values)
    assert (np.diff(refined.edges) > 0).all()
    assert np.array_equal(refined.counts, histogram(keys(values), refined.edges))


@given(SOME, st.data())
def test_a_rank_is_found_in_the_cell_that_holds_it(values, data):
    cells = Cells(EVERYWHERE, histogram(keys(values), EVERYWHERE))
    rank = data.draw(st.integers(0, len(values) - 1))
    cell, at = cells.locate(rank)
    assert cells.edges[cell] <= key(float(np.sort(values)[rank])) < cells.edges[cell + 1]
    assert cells.edges[cell] <= at < cells.edges[cell + 1]
    assert np.isfinite(number(at))


def test_a_number_on_an_edge_belongs_to_the_upper_cell():
    cells = Cells(np.array([0, 10, 20, 30]), np.array([1, 1, 1]))
    on_edges = np.array([0, 5, 10, 15, 20, 29])
    assert histogram(on_edges, cells.edges).tolist() == [2, 2, 2]
    finer = cells.split([1], 2)
    assert finer.tolist() == [[10, 15], [15, 20]]
    assert histogram_of(on_edges, finer).tolist() == [1, 1]
