import numpy as np
import pytest

from fedanomaly.detectors import occlusion
from fedanomaly.detectors.occlusion import occluded

ROWS = np.random.default_rng(0).normal(size=(50, 4))
ROWS[::3, 1] = 0.0


def test_a_sum_of_parts_is_given_back_part_by_part():
    def scores(rows):
        return (np.square(rows) * [1.0, 2.0, 0.0, 0.5]).sum(axis=1)

    assert np.allclose(occluded(scores, ROWS), np.square(ROWS) * [1.0, 2.0, 0.0, 0.5])


def test_shares_sum_to_the_score_and_none_is_negative():
    def scores(rows):
        return 3.0 + np.tanh(np.abs(rows[:, 0] * rows[:, 2]) - rows[:, 3])

    shares = occluded(scores, ROWS)
    assert np.allclose(shares.sum(axis=1), scores(ROWS))
    assert (shares >= 0).all()


def test_where_one_feature_less_does_not_help_what_it_does_alone_counts():
    def scores(rows):
        return np.minimum(np.square(rows).sum(axis=1), 4.0)

    shares = occluded(scores, np.array([[9.0, -9.0, 0.0, 0.1]]))[0]
    assert shares[:3].tolist() == pytest.approx([2.0, 2.0, 0.0], abs=0.01)


def test_what_is_odd_only_together_is_shared_by_both():
    shares = occluded(lambda rows: np.abs(rows[:, 0] * rows[:, 1]), np.array([[2.0, 3.0, 1.0, 1.0]]))[0]
    assert shares.tolist() == [3.0, 3.0, 0.0, 0.0]


def test_equal_shares_where_nothing_weighs():
    shares = occluded(lambda rows: np.full(len(rows), 2.0), ROWS)
    assert np.array_equal(shares, np.full((50, 4), 0.5))
    assert occluded(lambda rows: np.full(len(rows), 2.0), ROWS[:0]).shape == (0, 4)


def test_the_number_of_rows_at_a_time_changes_nothing(monkeypatch):
    def scores(rows):
        assert len(rows) <= 50
        return np.square(rows.sum(axis=1))

    monkeypatch.setattr(occlusion, "READINGS", 4 * 50)
    many = occluded(scores, ROWS)
    monkeypatch.setattr(occlusion, "READINGS", 1)
    assert np.array_equal(occluded(scores, ROWS), many)
