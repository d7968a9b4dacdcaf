"""Samples of rows follow from the rows alone."""

import numpy as np
import pytest

from fedanomaly.detectors.sampling import sample
from fedanomaly.errors import DataError

ROWS = np.random.default_rng(0).integers(0, 50, size=(4000, 3)).astype(float)


def taken(rows, most):
    return np.sort(rows[sample(rows, most)].view("f8,f8,f8"), axis=0).tobytes()


def test_the_order_of_the_rows_does_not_matter():
    assert taken(ROWS, 300) == taken(np.random.default_rng(1).permutation(ROWS), 300)


def test_a_larger_sample_holds_the_smaller_one():
    assert set(sample(ROWS, 200)) < set(sample(ROWS, 300))


def test_rows_are_taken_in_their_order_and_all_where_there_are_not_more():
    assert (np.diff(sample(ROWS, 300)) > 0).all()
    assert len(sample(ROWS, 300)) == 300
    assert sample(ROWS[:7], 7).tolist() == sample(ROWS[:7], 9).tolist() == list(range(7))


def test_every_row_has_the_same_chance():
    chosen = np.zeros(len(ROWS), dtype=bool)
    chosen[sample(ROWS, 2000)] = True
    for column in ROWS.T:
        shares = [chosen[(column >= low) & (column < low + 10)].mean() for low in range(0, 50, 10)]
        assert np.abs(np.array(shares) - 0.5).max() < 0.07  # over 4 deviations
    # Rows next to each other are as good as independent.
    assert abs((chosen[1:] == chosen[:-1]).mean() - 0.5) < 0.04


def test_a_missing_reading_and_a_zero_have_one_spelling_each():
    rows = np.array([[np.nan, 0.0], [1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    other = rows.copy()
    other[0, 0] = np.frombuffer(np.uint64(0x7FF8000000000001).tobytes())[0]
    other[[0, 3], 1] = -0.0
    assert np.isnan(other[0, 0])
    assert all(sample(rows, most).tolist() == sample(other, most).tolist() for most in (1, 2, 3))


def test_a_sample_of_nothing_is_refused():
    with pytest.raises(DataError, match="sample of 0 rows"):
        sample(ROWS, 0)
