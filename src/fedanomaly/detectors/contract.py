"""What every detector must keep, as checks that anybody can run on a new one.

Each check takes an untrained detector and raises AssertionError where it breaks
the contract. scikit-learn's own checks (`sklearn.utils.estimator_checks`) come
on top.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable

import numpy as np

from fedanomaly.detectors.bad_input import BAD_INPUT
from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.rehearsal import federated, history, marks, must, opened, sample, taught
from fedanomaly.detectors.splits import parts_equal_the_whole, same_as_whole
from fedanomaly.errors import FedAnomalyError
from fedanomaly.types import Quantiser, State

__all__ = [
    "CHECKS",
    "NOT_WITHOUT_LABELS",
    "federated",
    "history",
    "marks",
    "opened",
    "same_as_whole",
    "sample",
    "taught",
]

DOCSTRING = ("It fails", "Cost:", "Parameters\n", "Attributes\n", "Notes\n", "References\n", "Examples\n")


def merge_is_pure(detector: Detector) -> None:
    """Check that the same total merges into the same state, and the state before stays as it is."""
    for step, total, state in history(detector, np.array_split(sample(), 3)):
        before = state.to_bytes()
        first = detector.merge(step, total, state).to_bytes()
        twin = type(detector)(**detector.params())
        again = twin.merge(step, total, State.from_bytes(before)).to_bytes()
        must(first == again, f"step {step.name} merges differently the second time")
        must(state.to_bytes() == before, f"step {step.name} changes the state that it was given")


def local_leaves_rows_alone(detector: Detector) -> None:
    """Check that `local` neither changes the rows nor leaves anything on the detector."""
    rows = sample()
    kept, before = rows.copy(), dict(vars(detector))
    for step, _, state in history(detector, [rows]):
        detector.local(step, rows, state, marks(rows))
    must(np.array_equal(rows, kept, equal_nan=True), "local changes the rows")
    must(vars(detector) == before, "local leaves something on the detector")


def steps_are_few(detector: Detector) -> None:
    """Check that a job has few rounds, step names differ, and every step fits 250 members."""
    names = []
    for step, _, _ in history(detector, [sample()]):
        names.append(step.name)
        Quantiser(step=step, members=250)
    must(len(names) == len(set(names)) <= detector.most_rounds(), f"{len(names)} rounds, or names repeat")


def keeps_no_row(detector: Detector) -> None:
    """Check that what a trained detector holds does not grow with the rows and holds none of them."""
    rows = sample()
    rows[:, 0] = np.random.default_rng(3).normal(size=len(rows)) * 1e3
    blob = pickle.dumps(taught(detector, rows))
    kept = sum(reading.tobytes() in blob for reading in rows[:, 0])
    must(kept <= 3, "readings of training rows are on the detector")
    # 4 times the rows; states differ a little in the number of cells that were split.
    larger = len(pickle.dumps(taught(type(detector)(**detector.params()), np.concatenate([rows] * 4))))
    must(larger < 1.1 * len(blob), "a trained detector grows with its rows")


def state_is_all(detector: Detector) -> None:
    """Check that a detector made from the state's bytes scores to the last bit like the one that learnt it."""
    rows = sample()
    trained = taught(detector, rows)
    copy = type(detector)(**detector.params()).with_state(State.from_bytes(trained.state_.to_bytes()))
    must(np.array_equal(copy.anomaly_scores(rows), trained.anomaly_scores(rows)), "the state does not hold everything")
    must(copy.offset_ == trained.offset_, "the state does not hold the threshold")


def explanations_add_up(detector: Detector) -> None:
    """Check that shares of the features sum to the score."""
    rows = sample()
    trained = taught(detector, rows)
    scores, shares = trained.anomaly_scores(rows), trained.explain(rows)
    must(shares.shape == rows.shape, "there is not one share for every feature")
    must(np.allclose(shares.sum(axis=1), scores, rtol=1e-9, atol=1e-9), "the shares do not sum to the score")


def reasons_are_given(detector: Detector) -> None:
    """Check that what is unusual in a row above the threshold is told, in few sentences that name features."""
    rows = sample()
    trained = taught(type(detector)(**{**detector.params(), "contamination": 0.1}), rows)
    names = [f"column {letter}" for letter in "abcdefgh"]
    told = trained.reasons(rows, names, most=2)
    alarms = np.flatnonzero(trained.predict(rows) == -1)
    must(len(told) == len(rows), "there are not reasons for every row")
    must(all(told[row] for row in alarms), "a row above the threshold has no reason")
    for sentence in (sentence for row in told for sentence in row):
        must(any(name in sentence for name in names), f"{sentence!r} names no feature")
    must(max(map(len, told)) <= 2, "a row has more reasons than wanted")
    must(trained.reasons(rows[:0]) == [], "no rows must have no reasons")


def scores_do_not_depend_on_the_batch(detector: Detector) -> None:
    """Check that a row scores the same alone, among others, and in any order; scores are at least 0 and finite."""
    rows = sample()
    trained = taught(detector, rows)
    scores = trained.anomaly_scores(rows)
    alone = np.concatenate([trained.anomaly_scores(rows[at : at + 1]) for at in range(20)])
    must(np.array_equal(alone, scores[:20]), "a row scores differently alone")
    must(np.array_equal(trained.anomaly_scores(rows[::-1])[::-1], scores), "the order of rows changes scores")
    must(trained.anomaly_scores(rows[:0]).shape == (0,), "no rows must give no scores")
    extreme = np.vstack([rows[:1] * 0 + np.finfo(np.float64).max, rows[:1] * 0 - 1e300, rows[:1] * np.nan])
    for some in (scores, trained.anomaly_scores(extreme)):
        must(bool(np.isfinite(some).all() and (some >= 0).all()), "scores must be finite and at least 0")


def a_gap_is_the_median(detector: Detector) -> None:
    """Check that a missing reading scores like the column's median; codes have none."""
    if detector.reads == "codes":
        return
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(301, 3))
    trained = taught(detector, rows)
    filled = rows[:1].copy()
    filled[0, 1] = np.median(rows[:, 1])
    gap = filled.copy()
    gap[0, 1] = np.nan
    must(np.allclose(trained.anomaly_scores(gap), trained.anomaly_scores(filled), rtol=0.02), "a gap is no median")


def contamination_is_kept(detector: Detector) -> None:
    """Check that the wanted share of all training rows lies above the threshold, near enough."""
    rows = np.random.default_rng(13).normal(size=(3000, 4))
    for share in (0.01, 0.1):
        trained = taught(type(detector)(**{**detector.params(), "contamination": share}), rows)
        found = float((trained.predict(rows) == -1).mean())
        must(abs(found - share) <= 0.05 * share, f"{found:.4f} of the rows are outliers instead of {share}")


def params_are_plain(detector: Detector) -> None:
    """Check that parameters survive the state, and another version or detector is refused."""
    state = detector.initial_state(2)
    must(State.from_bytes(state.to_bytes()).params == state.params, "the parameters are not JSON")
    for other in (
        State("another", state.version, state.params, state.arrays),
        State(state.detector, state.version + 1, state.params, state.arrays),
        State(state.detector, state.version, {**state.params, "contamination": 0.37}, state.arrays),
    ):
        must(_refuses(detector.next_step, other), "a state of something else is accepted")


def is_documented(detector: Detector) -> None:
    """Check that the docstring says the idea, when it fails, its cost, and has the sections of the house."""
    text = inspect.getdoc(type(detector)) or ""
    missing = [section for section in DOCSTRING if section not in text]
    must(not missing, f"the docstring lacks {missing}")


CHECKS: tuple[Callable[[Detector], None], ...] = (
    parts_equal_the_whole,
    merge_is_pure,
    local_leaves_rows_alone,
    steps_are_few,
    keeps_no_row,
    state_is_all,
    explanations_add_up,
    reasons_are_given,
    scores_do_not_depend_on_the_batch,
    a_gap_is_the_median,
    contamination_is_kept,
    params_are_plain,
    is_documented,
    *BAD_INPUT,
)
"""Every check of the contract; each gets a fresh, untrained detector."""

NOT_WITHOUT_LABELS = {
    "check_fit_score_takes_y": "calls fit_predict without labels, as outlier detectors may be called",
    "check_outliers_fit_predict": "calls fit_predict without labels, as outlier detectors may be called",
    "check_outliers_train": "fits without labels, as outlier detectors are fitted",
    "check_estimators_dtypes": "its labels 1 and 2 are both anomalies",
    "check_classifier_data_not_an_array": "its labels 1 and 2 are both anomalies",
    "check_fit2d_1feature": "its labels 1 and 2 are both anomalies, which is said before the one column is",
}
"""Checks of scikit-learn that a detector of labelled rows cannot pass, and why."""


def _refuses(call: Callable[[State], object], state: State) -> bool:
    try:
        call(state)
    except FedAnomalyError:
        return True
    return False
