import numpy as np
import pytest

from fedanomaly.detectors import Mahalanobis
from fedanomaly.detectors.cells import EVERYWHERE, Cells, histogram, histogram_of, histograms, key, keys, numbers
from fedanomaly.detectors.contract import history
from fedanomaly.detectors.scaling import BLOCK_COLUMNS, BLOCK_ROWS, LIMIT, Scale, scale_of


def learnt(column):
    """Return centre, width and names of the rounds for one column."""
    rows = np.asarray(column, dtype=np.float64).reshape(-1, 1)
    steps = list(history(Mahalanobis(), [rows]))
    scale = scale_of(steps[-1][2])
    return scale.center[0], scale.width[0], [step.name for step, _, _ in steps if step.name.startswith("scale/")]


@pytest.mark.parametrize(("center", "width"), [(0.0, 1.0), (100.0, 1.0), (-5e6, 3.0), (1e-9, 1e-12), (1.7e9, 4e4)])
def test_centre_and_width_are_median_and_robust_deviation(center, width):
    column = np.random.default_rng(0).normal(center, width, 5001)
    found_center, found_width, rounds = learnt(column)
    quartiles = np.quantile(column, [0.25, 0.5, 0.75])
    assert abs(found_center - quartiles[1]) < 0.05 * width
    assert found_width == pytest.approx((quartiles[2] - quartiles[0]) / 1.349, rel=0.05)
    assert len(rounds) <= 6


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 3.0, 1e300])
def test_constant_columns_have_no_weight(value):
    center, width, rounds = learnt([value] * 50)
    assert width == 0.0
    assert center == pytest.approx(value)
    assert len(rounds) <= 6


def test_small_whole_numbers_need_one_histogram_only():
    assert learnt([0.0] * 70 + [1.0] * 30)[2] == ["scale/0"]


def test_a_rare_flag_has_the_deviation_of_a_binary_column():
    _, width, _ = learnt([0.0] * 970 + [1.0] * 30)
    assert width == pytest.approx(np.sqrt(0.03))


def test_a_rare_amount_is_scaled_by_its_median_distance():
    amounts = np.exp(np.random.default_rng(1).normal(4.0, 1.0, 100))
    _, width, _ = learnt([*[0.0] * 900, *amounts])
    assert width == pytest.approx(np.sqrt(0.1) * np.median(amounts), rel=0.25)


def test_extreme_ranges_stay_finite():
    _, width, _ = learnt([-1.7e308, 1.7e308, -1.7e308, 1.7e308])
    assert np.isfinite(width)
    _, width, _ = learnt([*[0.0] * 9, 1.7e308])
    assert np.isfinite(width)


def test_readings_keep_their_order_and_stay_within_the_limit():
    scale = Scale(np.array([2.0]), np.array([0.5]), 256)
    readings = np.array([[-1e300], [-50.0], [0.0], [2.0], [2.25], [4.5], [4.75], [50.0], [1e9], [1e300]])
    steps = scale.standardise(readings)[:, 0]
    assert (np.diff(steps) >= 0).all()
    assert np.abs(steps).max() == LIMIT * 256 == scale.limit
    assert steps[3:6].tolist() == [0.0, 128.0, 1280.0]
    assert steps[7] > steps[6] > steps[5]


def test_missing_readings_and_dead_columns_are_zero():
    scale = Scale(np.array([2.0, 3.0]), np.array([0.5, 0.0]), 256)
    assert scale.standardise(np.array([[np.nan, 99.0], [3.0, np.nan]])).tolist() == [[0.0, 0.0], [512.0, 0.0]]


def odd_readings():
    """Return readings on and beside all edges, the farthest ones, both zeros, and missing ones of both signs."""
    beside = [np.clip(EVERYWHERE + off, EVERYWHERE[0], EVERYWHERE[-1] - 1) for off in (-1, 0, 1)]
    return np.concatenate([numbers(np.concatenate(beside)), [0.0, -0.0, np.nan, np.copysign(np.nan, -1.0)]])


def counted(readings, lower, upper):
    """Return how many readings lie in every cell, one reading and one cell after the other."""
    found = [key(reading) for reading in readings if not np.isnan(reading)]
    return [sum(low <= each < high for each in found) for low, high in zip(lower, upper, strict=True)]


def test_every_reading_is_counted_in_its_cell_of_the_first_histogram():
    readings = np.stack([odd_readings(), -odd_readings()])
    counts = histograms(keys(readings))
    for row, found in zip(readings, counts, strict=True):
        assert found.tolist() == counted(row, EVERYWHERE[:-1], EVERYWHERE[1:])
        assert found.tolist() == histogram(keys(row), EVERYWHERE).tolist()


def test_every_reading_is_counted_in_the_finer_cell_that_holds_it():
    cells = Cells(EVERYWHERE, np.ones(len(EVERYWHERE) - 1, dtype=np.int64))
    chosen = [cell for cell in (0, 40, 41, 120, 250, 378) if not cells.is_point(cell)]
    finer = cells.split(chosen, 60)
    readings = np.concatenate([odd_readings(), numbers(finer[:, 0]), numbers(finer[:, 1] - 1)])
    assert histogram_of(keys(readings), finer).tolist() == counted(readings, finer[:, 0], finer[:, 1])


@pytest.mark.parametrize("rows", [BLOCK_ROWS - 1, BLOCK_ROWS + 1])
def test_columns_and_rows_beyond_a_block_are_counted_as_well(rows):
    columns = np.random.default_rng(2).normal(size=(rows, BLOCK_COLUMNS + 1)) * np.arange(1, BLOCK_COLUMNS + 2)
    columns[::7, 1::2] = np.nan
    for _, total, _ in list(history(Mahalanobis(), [columns]))[1:3]:
        assert (total["counts"].sum(axis=1) > 0).all()
    *_, (_, _, state) = history(Mahalanobis(), [columns])
    assert state["scale/present"].tolist() == (~np.isnan(columns)).sum(axis=0).tolist()
    quartiles = np.nanquantile(columns, [0.25, 0.75], axis=0)
    assert scale_of(state).width == pytest.approx((quartiles[1] - quartiles[0]) / 1.349, rel=0.05)


def test_far_and_missing_readings_beside_each_other_keep_their_places():
    scale = Scale(np.array([2.0]), np.array([0.5]), 256)
    far = 5.0 * (1.0 + np.log(96.0 / 5.0))
    steps = scale.standardise(np.array([[50.0], [np.nan], [3.0], [-46.0], [2.0]]))[:, 0]
    assert steps.tolist() == [round(far * 256), 0.0, 512.0, -round(far * 256), 0.0]
