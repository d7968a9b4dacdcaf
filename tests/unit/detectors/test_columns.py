"""What is done for all columns together is what `Cells` does for each."""

import numpy as np
import pytest

from fedanomaly.detectors.cells import EVERYWHERE, histogram, histogram_of, keys, numbers
from fedanomaly.detectors.columns import FINE, Columns

BUDGET = 50


def readings(seed):
    """Return columns of all kinds: wide, narrow, constant, of few values, and without a reading."""
    rng = np.random.default_rng(seed)
    lists = [rng.normal(size=40) * 10.0 ** rng.integers(-300, 300) for _ in range(4)]
    return [*lists, rng.integers(0, 3, 30) * 1.1, np.full(9, 7.5), np.zeros(0), np.array([1e308, -1e308, 5e-324])]


def split_one_by_one(cells):
    """Return which cells of one column are coarse, and their finer ones."""
    if not cells.total:
        return []
    found = [cells.locate((cells.total - 1) * quarter // 4) for quarter in (1, 2, 3)]
    low, high = (np.array([at], dtype=np.int64) for _, at in (found[0], found[2]))
    with np.errstate(over="ignore"):
        distance = float((numbers(high) - numbers(low))[0])
    coarse = sorted({cell for cell, _ in found})
    return [cell for cell in coarse if not cells.is_point(cell) and not cells.width(cell) * FINE <= distance]


@pytest.mark.parametrize("seed", range(5))
def test_columns_are_refined_together_as_one_by_one(seed):
    values = [keys(column) for column in readings(seed)]
    columns = Columns.everywhere(np.stack([histogram(column, EVERYWHERE) for column in values]))
    for _ in range(4):
        wanted = {at: found for at, cells in enumerate(columns.cells()) if (found := split_one_by_one(cells))}
        finer = columns.split(BUDGET)
        assert columns.open_columns().tolist() == finer.columns.tolist() == list(wanted)
        counted, expected = [], columns.cells()
        for at, split in zip(finer.columns, finer.lists(), strict=True):
            assert np.array_equal(split, expected[at].split(wanted[at], BUDGET))
            counted.append(histogram_of(values[at], split))
            expected[at] = expected[at].refined(split, counted[-1])
        columns = columns.refined(finer, np.concatenate([*counted, np.zeros(0, dtype=np.int64)]))
        for one, other in zip(columns.cells(), expected, strict=True):
            assert np.array_equal(one.edges, other.edges)
            assert np.array_equal(one.counts, other.counts)
            assert one.total == other.total


def test_counters_of_a_row_belong_to_the_finer_cells_in_front():
    columns = Columns.everywhere(np.stack([histogram(keys(np.arange(9) * 1.7), EVERYWHERE)] * 2))
    finer = columns.split(BUDGET)
    assert finer.used(BUDGET).sum(axis=1).tolist() == finer.sizes.tolist()
    assert finer.used(BUDGET)[:, 0].all()
