"""A trained detector follows new rows, and forgets the old ones."""

import numpy as np
import pytest

from fedanomaly.detectors import Ensemble, Loda, from_params, registry
from fedanomaly.detectors.contract import taught
from fedanomaly.detectors.refresh import Refresh
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.errors import ConfigError, DataError, ShapeError
from fedanomaly.types import State

ANEW = ("autoencoder", "gradient_boosting", "logistic_regression")
FROM_THE_LAST_ROUND = ("ensemble", "gaussian_mixture", "kmeans", "robust_mahalanobis")
ONE_PASS = tuple(sorted(set(registry()) - {*ANEW, *FROM_THE_LAST_ROUND}))


def rows(seed, count=600, shift=0.0):
    return np.round(np.random.default_rng(seed).normal(size=(count, 4)) + shift, 2)


def assert_same(one, other, but=()):
    names = {name for name in one.state_.arrays if not name.startswith(but)}
    assert names == {name for name in other.state_.arrays if not name.startswith(but)}
    for name in names:
        assert np.array_equal(one.state_[name], other.state_[name]), name


@pytest.mark.parametrize("name", ONE_PASS)
def test_keeping_nothing_of_the_same_rows_gives_the_same_detector(name):
    trained = from_params(name).fit(rows(0))
    again = trained.refresh(rows(0), keep=0.0)
    assert_same(trained, again, but=("scale/rows",))
    assert again.offset_ == trained.offset_


@pytest.mark.parametrize("name", [*ONE_PASS, "members"])
def test_keeping_everything_is_training_on_all_rows(name):
    first, second = rows(0), rows(1, shift=0.5)
    detector = Ensemble(detectors=["loda", "mahalanobis"]) if name == "members" else from_params(name)
    trained = detector.fit(first)
    both = trained.refresh(second, keep=1.0)
    # From the layout of the first rows, all rows anew.
    whole = trained.refresh(np.vstack([first, second]), keep=0.0)
    assert_same(both, whole, but=("score/", "spread/"))
    assert both.state_["rows"].tolist() == [1200]


@pytest.mark.parametrize("name", [*ONE_PASS, *FROM_THE_LAST_ROUND])
def test_a_drifting_stream_is_followed(name):
    old, new = rows(0), rows(1, shift=3.0)
    trained = from_params(name).fit(old)
    later = trained
    for seed in range(2, 6):
        later = later.refresh(rows(seed, shift=3.0))
    assert later.anomaly_scores(new).mean() < trained.anomaly_scores(new).mean()
    assert later.anomaly_scores(old).mean() > trained.anomaly_scores(old).mean()
    assert later.anomaly_scores(new).mean() < later.anomaly_scores(old).mean()
    # The threshold is that of the last rows.
    assert (later.predict(rows(5, shift=3.0)) == -1).mean() == pytest.approx(0.01, abs=0.002)


def test_old_rows_fade_by_half_each_time():
    detector = Loda().fit(rows(0, count=1 << 12))
    weights = []
    for seed in range(1, 6):
        detector = detector.refresh(rows(seed, count=1))
        weights.append(int(detector.state_["rows"][0]))
    assert np.abs(np.array(weights) - [2**12 / 2**n + 2 for n in range(1, 6)]).max() <= 2
    assert (detector.state_["loda/counts"].sum(axis=1) == detector.state_["rows"]).all()


def test_a_refreshed_detector_needs_nothing_but_its_state():
    first = Loda().fit(rows(0)).refresh(rows(1))
    copy = Loda().with_state(State.from_bytes(first.state_.to_bytes()))
    assert np.array_equal(copy.anomaly_scores(rows(2)), first.anomaly_scores(rows(2)))
    assert copy.offset_ == first.offset_


def test_grids_stay_those_of_the_first_rows_however_many_come():
    state = Loda().fit(rows(0)).refresh(rows(1)).state_
    many = State(state.detector, state.version, state.params, {**state.arrays, "rows": np.array([1 << 31])})
    assert scale_of(many).grid == scale_of(state).grid
    reached = Loda().derive(many).view, Loda().derive(state).view
    assert np.array_equal(reached[0].low, reached[1].low)
    assert np.array_equal(reached[0].width, reached[1].width)


@pytest.mark.parametrize("name", ANEW)
def test_rounds_that_build_on_each_other_can_only_be_run_anew(name):
    trained = taught(from_params(name), rows(0))
    with pytest.raises(ConfigError, match="cannot be refreshed"):
        trained.refresh(rows(1))


def test_what_cannot_be_is_refused():
    trained = Loda(n_projections=3).fit(rows(0))
    for keep in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="cannot be kept"):
            trained.refresh(rows(1), keep=keep)
    with pytest.raises(ShapeError, match="learnt 4 columns"):
        Refresh(trained, trained.state_, 0.5).initial_state(2)
    with pytest.raises(DataError, match="no member has a row"):
        trained.refresh(rows(1)[:0])
