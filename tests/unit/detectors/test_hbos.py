import numpy as np
import pytest

from fedanomaly.detectors import COPOD, ECOD, HBOS
from fedanomaly.detectors.marginals import Histograms, Ruler
from fedanomaly.detectors.scaling import LIMIT, Scale, scale_of
from fedanomaly.types import State


def ruler(grid, features=1):
    return Ruler.of(Scale(np.zeros(features), np.ones(features), grid))


@pytest.mark.parametrize("grid", [1, 8, 64, 256])
def test_cells_are_symmetric_and_every_step_lies_between_the_edges_of_its_cell(grid):
    cells = ruler(grid)
    steps = np.arange(-cells.scale.limit, cells.scale.limit + 1)
    inside = steps[np.abs(steps) <= 5 * grid] / grid

    (bins,) = cells.chunks(inside[:, None][:1024])

    assert (np.diff(cells.edges) > 0).all()
    assert (cells.edges % 2 != 0).all()
    np.testing.assert_array_equal(cells.edges, -cells.edges[::-1])
    place = 2 * np.rint(inside[:1024] * grid)
    assert (cells.edges[bins[:, 0]] < place).all()
    assert (place < cells.edges[bins[:, 0] + 1]).all()


def test_the_farthest_reading_has_the_last_cell():
    cells = ruler(256)
    (bins,) = cells.chunks(np.array([[1e308], [-1e308], [0.0]]))
    assert bins[:, 0].tolist() == [cells.cells - 1, 0, cells.cells // 2]
    assert cells.edges[-1] > 2 * LIMIT * 256


def test_missing_readings_are_in_no_cell_and_columns_that_do_not_vary_count_for_nothing():
    rows = np.random.default_rng(0).normal(size=(500, 3))
    rows[:100, 0] = np.nan
    rows[:, 1] = 4.0

    histograms = Histograms.of(HBOS().fit(rows).state_)

    assert histograms.counts.sum(axis=1).tolist() == [400, 0, 500]


def test_readings_below_a_place_are_counted_in_part_where_it_lies_within_a_cell():
    histograms = Histograms(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([[4.0, 10.0, 6.0]]))
    places = np.array([-9.0, -2.0, -1.5, 0.0, 2.0, 9.0])
    assert histograms.upto(places).tolist() == [[0.0, 0.0, 2.0, 9.0, 20.0, 20.0]]


def test_a_reading_in_the_gap_between_two_clusters_is_surprising_and_no_tail():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(-4, 0.2, size=(1000, 2)), rng.normal(4, 0.2, size=(1000, 2))])
    gap = np.zeros((1, 2))
    assert HBOS().fit(rows).predict(gap) == [-1]
    assert ECOD().fit(rows).predict(gap) == [1]


def test_each_level_of_a_column_is_as_surprising_as_it_is_rare():
    levels = np.repeat([0.0, 1.0, 2.0, 3.0], [5000, 2500, 500, 20])
    scores = HBOS().fit(levels[:, None]).anomaly_scores(np.arange(4.0)[:, None])
    assert (np.diff(scores) > 0).all()
    assert scores[0] == 0


def test_shares_are_those_of_each_feature_alone():
    rows = np.random.default_rng(2).normal(size=(800, 3)) ** 3
    for kind in (HBOS, ECOD, COPOD):
        together = kind().fit(rows).explain(rows)
        alone = np.hstack([kind().fit(rows[:, [at]]).explain(rows[:, [at]]) for at in range(3)])
        np.testing.assert_array_equal(together, alone)


def test_totals_that_no_data_give_still_score():
    rows = np.random.default_rng(3).normal(size=(300, 2))
    for kind in (HBOS, ECOD, COPOD):
        state = kind().fit(rows).state_
        for spoilt in (np.zeros_like, lambda counts: np.full_like(counts, 1 << 40)):
            arrays = {**state.arrays, "marginals/counts": spoilt(state["marginals/counts"])}
            lied = kind().with_state(State(state.detector, state.version, state.params, arrays))
            scores = lied.anomaly_scores(rows)
            assert np.isfinite(scores).all()
            assert (scores >= 0).all()


def test_a_federation_of_four_thousand_million_rows_has_fewer_cells():
    few = HBOS().fit(np.random.default_rng(4).normal(size=(50, 1))).state_
    many = State(few.detector, few.version, few.params, {**few.arrays, "rows": np.array([1 << 32])})
    assert Ruler.of(scale_of(many)).cells < Ruler.of(scale_of(few)).cells == 257
