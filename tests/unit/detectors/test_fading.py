import numpy as np
import pytest

from fedanomaly.detectors.fading import Fade
from fedanomaly.types import State


def state_of(rows, **arrays):
    return State("any", 1, {}, {"rows": np.array([rows]), **arrays})


def test_a_share_of_one_leaves_everything_and_of_nothing_leaves_nothing():
    counts = np.random.default_rng(0).integers(0, 9, size=(4, 50))
    state = state_of(7, counts=counts)
    assert np.array_equal(Fade.of(state, 1.0).counts(state, "counts"), counts)
    assert not Fade.of(state, 0.0).counts(state, "counts").any()


def test_a_histogram_of_all_rows_still_adds_up_to_the_rows():
    counts = np.random.default_rng(0).multinomial(1001, np.full(300, 1 / 300), size=20)
    state = state_of(1001, counts=counts)
    fade = Fade.of(state, 0.37)
    assert fade.kept in {370, 371}
    assert np.array_equal(fade.counts(state, "counts").sum(axis=1), np.full(20, fade.kept))


def test_counts_of_one_fade_like_all_others():
    # Rounded to the nearest, 0.9 would stay 1 for ever.
    counts = np.ones((2000, 40), dtype=np.int64)
    for _ in range(10):
        state = state_of(40, counts=counts)
        counts = Fade.of(state, 0.9).counts(state, "counts")
    # The first cells and the last as well; the standard deviation of a mean is 0.011.
    assert np.abs(counts.mean(axis=0) - 0.9**10).max() < 0.05


def test_members_thin_alike_and_lines_differently():
    counts = np.ones((20, 400), dtype=np.int64)
    state = state_of(400, counts=counts)
    left = Fade.of(state, 0.1).counts(state, "counts")
    assert np.array_equal(Fade.of(State.from_bytes(state.to_bytes()), 0.1).counts(state, "counts"), left)
    assert len(np.unique(left, axis=0)) > 5


@pytest.mark.parametrize("rows", [1000, (1 << 40) + 1])
def test_sums_are_exact_whatever_their_size(rows):
    sums = np.array([0, 1, -1, 10**6 + 1, -(10**6), 1 << 60, -(1 << 60) + 1])
    state = state_of(rows, sums=sums)
    fade = Fade.of(state, 0.3)
    exact = [(2 * value * fade.kept + rows) // (2 * rows) for value in sums.tolist()]
    assert fade.sums(state, "sums").tolist() == exact


def test_the_mean_of_a_small_group_stays_where_it_is():
    counts = np.array([1, 2, 3, 5, 0, 989])
    state = state_of(1000, counts=counts, sums=counts[:, None] * np.array([[4000, -77]]))
    left = Fade.of(state, 0.4).groups(state, "counts", ["sums"])
    assert np.array_equal(left["sums"], left["counts"][:, None] * np.array([[4000, -77]]))
    assert left["counts"].sum() == Fade.of(state, 0.4).kept
