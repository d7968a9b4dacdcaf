import warnings

import numpy as np
import pandas as pd
import pytest

from fedanomaly.detectors import Loda, Mahalanobis, from_params, registry
from fedanomaly.detectors.contract import history, marks, opened
from fedanomaly.errors import (
    ConfigError,
    DataError,
    FedAnomalyError,
    NotFoundError,
    RefusedError,
    ShapeError,
    VersionError,
)
from fedanomaly.types import Quantiser, State, Step, Total

ROWS = np.random.default_rng(0).normal(size=(60, 3))


def test_registry_finds_every_detector_by_name():
    assert registry()["loda"] is Loda
    assert registry()["mahalanobis"] is Mahalanobis
    assert all(kind.name == name for name, kind in registry().items())


def test_params_give_the_same_detector_back():
    detector = Loda(n_projections=7, random_state=np.int64(3), contamination=0.2)
    again = from_params("loda", detector.params())
    assert again.params() == {"n_projections": 7, "random_state": 3, "contamination": 0.2, "polynomial": False}
    assert type(detector.params()["random_state"]) is int


def test_a_state_from_before_a_parameter_has_its_default():
    trained = Loda(n_projections=3).fit(np.random.default_rng(0).normal(size=(50, 2)))
    state = trained.state_
    params = {name: value for name, value in state.params.items() if name != "polynomial"}
    before = State(state.detector, state.version, params, state.arrays)
    assert np.array_equal(Loda(n_projections=3).with_state(before).offset_, trained.offset_)
    with pytest.raises(VersionError):
        Loda(n_projections=3, polynomial=True).with_state(before)


def test_unknown_names_and_parameters_are_refused():
    with pytest.raises(NotFoundError, match="'other'") as refused:
        from_params("other")
    assert all(name in str(refused.value.hint) for name in registry())
    for params in ({"other": 1}, {"contamination": 0}, {"contamination": 0.6}, {"n_projections": 1.5}):
        with pytest.raises(ConfigError):
            from_params("loda", params)


def test_rows_that_do_not_fit_the_job_are_refused():
    detector = Mahalanobis()
    state = detector.initial_state(3)
    step = detector.next_step(state)
    for rows in (ROWS[:, :2], ROWS[0]):
        with pytest.raises(ShapeError):
            detector.local(step, rows, state)
    infinite = ROWS.copy()
    infinite[4, 1] = np.inf
    with pytest.raises(DataError, match=r"columns \[1\]"):
        detector.local(step, infinite, state)
    with pytest.raises(ShapeError):
        detector.initial_state(0)


def test_steps_that_do_not_follow_from_the_state_are_refused():
    detector = Mahalanobis()
    state = detector.initial_state(3)
    step = detector.next_step(state)
    other = Step(name="scale/0", fields=step.fields)
    with pytest.raises(RefusedError):
        detector.local(other, ROWS, state)
    with pytest.raises(RefusedError):
        detector.merge(other, Total(other, {"rows": np.array([1])}, 1, 0), state)


def test_a_job_without_any_row_ends_with_a_clear_error():
    detector = Mahalanobis()
    state = detector.initial_state(3)
    step = detector.next_step(state)
    nothing = Quantiser(step=step, members=3).quantise(detector.local(step, ROWS[:0], state))
    with pytest.raises(DataError, match="no member has a row"):
        detector.merge(step, opened(step, [nothing] * 3, 3), state)


def test_a_state_scores_only_when_its_training_has_ended():
    detector = Mahalanobis()
    *_, (_, _, unfinished) = history(detector, [ROWS])
    with pytest.raises(DataError, match="not trained"):
        detector.with_state(unfinished)


def test_a_state_of_other_parameters_is_refused():
    with pytest.raises(VersionError):
        Mahalanobis(ridge=0.2).with_state(Mahalanobis().fit(ROWS).state_)


@pytest.mark.parametrize("name", registry())
def test_steps_fit_as_many_rows_as_members_may_bring(name):
    # Statistics are sums: those of many copies of a few rows are a multiple of theirs, offsets included.
    copies = 250 * ((1 << 32) - 1) // len(ROWS)
    detector = from_params(name)
    state = detector.initial_state(ROWS.shape[1])
    while (step := detector.next_step(state)) is not None:
        assert Quantiser(step=step, members=250).field_bits <= 60
        statistics = detector.local(step, ROWS, state, marks(ROWS))
        many = {
            field.name: np.rint(np.asarray(statistics[field.name]) / field.resolution).astype(np.int64) * copies
            for field in step.fields
        }
        state = detector.merge(step, Total(step, many, copies, 0), state)


def test_the_threshold_means_the_same_at_every_member():
    # One member's rows are all odd to the others; the share holds over all of them.
    odd = ROWS[:6] + 40.0
    detector = Mahalanobis(contamination=0.1).fit(np.concatenate([ROWS, odd]))
    assert (detector.predict(odd) == -1).all()
    assert (detector.predict(ROWS) == 1).mean() > 0.95


@pytest.mark.parametrize("lie", [0, 1, 7, 1 << 20])
@pytest.mark.parametrize("name", registry())
def test_opened_sums_that_a_liar_spoilt_end_in_our_errors_or_finite_scores(name, lie):
    detector = from_params(name)
    state = detector.initial_state(3)
    try:
        while (step := detector.next_step(state)) is not None:
            honest = detector.local(step, ROWS, state, marks(ROWS))
            spoilt = {field.name: np.asarray(honest[field.name], dtype=np.int64) for field in step.fields}
            if step.name != "rows/all":
                spoilt = {
                    key: np.where(np.arange(value.size).reshape(value.shape) % 3, lie, value)
                    for key, value in spoilt.items()
                }
            state = detector.merge(step, Total(step, spoilt, 3, 0), state)
        scores = detector.with_state(state).anomaly_scores(ROWS)
    except FedAnomalyError:
        return
    assert np.isfinite(scores).all()


def test_names_given_to_a_trained_detector_hold_for_frames_and_are_no_matter_for_arrays():
    rows = np.random.default_rng(0).normal(size=(200, 2))
    trained = Mahalanobis().with_state(Mahalanobis().fit(rows).state_, ["amount", "age"])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = trained.anomaly_scores(rows)
        np.testing.assert_array_equal(trained.anomaly_scores(pd.DataFrame(rows, columns=["amount", "age"])), scores)
    with pytest.raises(ValueError, match="feature names should match"):
        trained.anomaly_scores(pd.DataFrame(rows, columns=["age", "amount"]))
    assert any("amount" in sentence for sentence in trained.reasons([[9.0, 0.0]])[0])
