"""What every detector must keep, as checks that anybody can run on a new one.

Each check takes an untrained detector and raises AssertionError where it breaks
the contract. scikit-learn's own checks (`sklearn.utils.estimator_checks`) come
on top.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.errors import DataError, FedAnomalyError
from fedanomaly.types import Floats, Integers, Quantiser, State, Step, Total

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


def sample(count: int = 400) -> Floats:
    """Return rows with everything that real ones have: scales, gaps, rare and constant columns, copies."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(count, 8)) * [1, 1e-6, 1e6, 1, 1, 1, 1, 1] + [0, 0, 3e6, 0, 0, 0, 0, 0]
    rows[:, 3] = rows[:, 0] * 2.0 + 1.0
    rows[:, 4] = rng.random(count) < 0.03
    rows[:, 5] = 4.25
    rows[:, 6] = np.where(rng.random(count) < 0.8, 0.0, np.exp(rows[:, 6] * 3))
    rows[rng.random(rows.shape) < 0.02] = np.nan
    return rows


def marks(rows: Floats) -> Integers:
    """Return labels that follow from each row alone, so that they travel with it."""
    return ((rows[:, 0] > 1.2) | (rows[:, -1] > 1.2)).astype(np.int64)


def taught(detector: Detector, rows: Floats) -> Detector:
    """Return the detector fitted on the rows, with their `marks` if it learns from labels."""
    return detector.fit(rows, marks(rows) if detector.learns_from_labels else None)


def opened(step: Step, contributions: Sequence[np.ndarray], members: int) -> Total:
    """Return the sum of quantised contributions, as a round would open it."""
    quantiser = Quantiser(step=step, members=members)
    sums = np.zeros(quantiser.entries, dtype=np.uint64)
    for contribution in contributions:
        sums += contribution
    return quantiser.total(sums, len(contributions))


def history(
    detector: Detector, parts: Sequence[Floats], labels: Sequence[Integers] | None = None
) -> Iterator[tuple[Step, Total, State]]:
    """Yield step, opened total and the state before it, over a whole job of members that have `parts`.

    Their labels are `labels`, or else `marks`.
    """
    given = [marks(part) for part in parts] if labels is None else labels
    state = detector.initial_state(parts[0].shape[1])
    while (step := detector.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=len(parts))
        local = [detector.local(step, part, state, y) for part, y in zip(parts, given, strict=True)]
        total = opened(step, [quantiser.quantise(statistics) for statistics in local], len(parts))
        yield step, total, state
        state = detector.merge(step, total, state)


def federated(detector: Detector, parts: Sequence[Floats], labels: Sequence[Integers] | None = None) -> Detector:
    """Return the detector trained on the exact sums over `parts`."""
    state = detector.initial_state(parts[0].shape[1])
    for step, total, before in history(detector, parts, labels):
        _must(total.clipped == 0, f"step {step.name} clips honest statistics")
        state = detector.merge(step, total, before)
    return detector.with_state(state)


def same_as_whole(detector: Detector, parts: Sequence[Floats]) -> None:
    """Check that a federation of parts equals `fit` on the whole, bit for bit."""
    whole = taught(type(detector)(**detector.params()), np.concatenate(parts))
    trained = federated(detector, parts)
    _must(trained.state_.to_bytes() == whole.state_.to_bytes(), "the parts' sums give another state than the whole")
    rows = np.concatenate(parts)
    _must(np.array_equal(trained.anomaly_scores(rows), whole.anomaly_scores(rows)), "equal states score differently")


def parts_equal_the_whole(detector: Detector) -> None:
    """Check that even, uneven and empty parts, in any order, give what `fit` gives on the whole."""
    rows = sample()
    for cuts in ((130, 260), (1, 3), (0, 399), (0, 0)):
        parts = np.split(rows, cuts)
        same_as_whole(detector, parts)
        same_as_whole(detector, parts[::-1])


def merge_is_pure(detector: Detector) -> None:
    """Check that the same total merges into the same state, and the state before stays as it is."""
    for step, total, state in history(detector, np.array_split(sample(), 3)):
        before = state.to_bytes()
        first = detector.merge(step, total, state).to_bytes()
        twin = type(detector)(**detector.params())
        again = twin.merge(step, total, State.from_bytes(before)).to_bytes()
        _must(first == again, f"step {step.name} merges differently the second time")
        _must(state.to_bytes() == before, f"step {step.name} changes the state that it was given")


def local_leaves_rows_alone(detector: Detector) -> None:
    """Check that `local` neither changes the rows nor leaves anything on the detector."""
    rows = sample()
    kept, before = rows.copy(), dict(vars(detector))
    for step, _, state in history(detector, [rows]):
        detector.local(step, rows, state, marks(rows))
    _must(np.array_equal(rows, kept, equal_nan=True), "local changes the rows")
    _must(vars(detector) == before, "local leaves something on the detector")


def steps_are_few(detector: Detector) -> None:
    """Check that a job has few rounds, step names differ, and every step fits 250 members."""
    names = []
    for step, _, _ in history(detector, [sample()]):
        names.append(step.name)
        Quantiser(step=step, members=250)
    _must(len(names) == len(set(names)) <= detector.most_rounds(), f"{len(names)} rounds, or names repeat")


def keeps_no_row(detector: Detector) -> None:
    """Check that what a trained detector holds does not grow with the rows and holds none of them."""
    rows = sample()
    rows[:, 0] = np.random.default_rng(3).normal(size=len(rows)) * 1e3
    blob = pickle.dumps(taught(detector, rows))
    kept = sum(reading.tobytes() in blob for reading in rows[:, 0])
    _must(kept <= 3, "readings of training rows are on the detector")
    # 4 times the rows; states differ a little in the number of cells that were split.
    larger = len(pickle.dumps(taught(type(detector)(**detector.params()), np.concatenate([rows] * 4))))
    _must(larger < 1.1 * len(blob), "a trained detector grows with its rows")


def state_is_all(detector: Detector) -> None:
    """Check that a detector made from the state's bytes scores to the last bit like the one that learnt it."""
    rows = sample()
    trained = taught(detector, rows)
    copy = type(detector)(**detector.params()).with_state(State.from_bytes(trained.state_.to_bytes()))
    _must(np.array_equal(copy.anomaly_scores(rows), trained.anomaly_scores(rows)), "the state does not hold everything")
    _must(copy.offset_ == trained.offset_, "the state does not hold the threshold")


def explanations_add_up(detector: Detector) -> None:
    """Check that shares of the features sum to the score."""
    rows = sample()
    trained = taught(detector, rows)
    scores, shares = trained.anomaly_scores(rows), trained.explain(rows)
    _must(shares.shape == rows.shape, "there is not one share for every feature")
    _must(np.allclose(shares.sum(axis=1), scores, rtol=1e-9, atol=1e-9), "the shares do not sum to the score")


def reasons_are_given(detector: Detector) -> None:
    """Check that what is unusual in a row above the threshold is told, in few sentences that name features."""
    rows = sample()
    trained = taught(type(detector)(**{**detector.params(), "contamination": 0.1}), rows)
    names = [f"column {letter}" for letter in "abcdefgh"]
    told = trained.reasons(rows, names, most=2)
    alarms = np.flatnonzero(trained.predict(rows) == -1)
    _must(len(told) == len(rows), "there are not reasons for every row")
    _must(all(told[row] for row in alarms), "a row above the threshold has no reason")
    for sentence in (sentence for row in told for sentence in row):
        _must(any(name in sentence for name in names), f"{sentence!r} names no feature")
    _must(max(map(len, told)) <= 2, "a row has more reasons than wanted")
    _must(trained.reasons(rows[:0]) == [], "no rows must have no reasons")


def scores_do_not_depend_on_the_batch(detector: Detector) -> None:
    """Check that a row scores the same alone, among others, and in any order; scores are at least 0 and finite."""
    rows = sample()
    trained = taught(detector, rows)
    scores = trained.anomaly_scores(rows)
    alone = np.concatenate([trained.anomaly_scores(rows[at : at + 1]) for at in range(20)])
    _must(np.array_equal(alone, scores[:20]), "a row scores differently alone")
    _must(np.array_equal(trained.anomaly_scores(rows[::-1])[::-1], scores), "the order of rows changes scores")
    _must(trained.anomaly_scores(rows[:0]).shape == (0,), "no rows must give no scores")
    extreme = np.vstack([rows[:1] * 0 + np.finfo(np.float64).max, rows[:1] * 0 - 1e300, rows[:1] * np.nan])
    for some in (scores, trained.anomaly_scores(extreme)):
        _must(bool(np.isfinite(some).all() and (some >= 0).all()), "scores must be finite and at least 0")


def odd_data_works(detector: Detector) -> None:
    """Check that one row, one column, many columns, nothing but constants or gaps: trained without an error."""
    rng = np.random.default_rng(5)
    for rows in (
        np.zeros((1, 1)),
        np.full((5, 3), 7.5),
        np.full((4, 2), np.nan),
        rng.normal(size=(50, 1)),
        rng.normal(size=(40, 200)),
        np.array([[1e308, -1e308], [-1e308, 1e308], [0.0, 1e-308]]),
    ):
        try:
            trained = federated(detector, [rows[: len(rows) // 2], rows[len(rows) // 2 :], rows[:0]])
        except DataError:
            _must(detector.learns_from_labels and len(set(marks(rows))) == 1, "odd rows are refused")
            continue
        _must(bool(np.isfinite(trained.anomaly_scores(rows)).all()), "a score is not finite")
        _must(set(trained.predict(rows)) <= {-1, 1}, "predictions are -1 and +1")


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
    _must(np.allclose(trained.anomaly_scores(gap), trained.anomaly_scores(filled), rtol=0.02), "a gap is no median")


def contamination_is_kept(detector: Detector) -> None:
    """Check that the wanted share of all training rows lies above the threshold, near enough."""
    rows = np.random.default_rng(13).normal(size=(3000, 4))
    for share in (0.01, 0.1):
        trained = taught(type(detector)(**{**detector.params(), "contamination": share}), rows)
        found = float((trained.predict(rows) == -1).mean())
        _must(abs(found - share) <= 0.05 * share, f"{found:.4f} of the rows are outliers instead of {share}")


def params_are_plain(detector: Detector) -> None:
    """Check that parameters survive the state, and another version or detector is refused."""
    state = detector.initial_state(2)
    _must(State.from_bytes(state.to_bytes()).params == state.params, "the parameters are not JSON")
    for other in (
        State("another", state.version, state.params, state.arrays),
        State(state.detector, state.version + 1, state.params, state.arrays),
        State(state.detector, state.version, {**state.params, "contamination": 0.37}, state.arrays),
    ):
        _must(_refuses(detector.next_step, other), "a state of something else is accepted")


def is_documented(detector: Detector) -> None:
    """Check that the docstring says the idea, when it fails, its cost, and has the sections of the house."""
    text = inspect.getdoc(type(detector)) or ""
    missing = [section for section in DOCSTRING if section not in text]
    _must(not missing, f"the docstring lacks {missing}")


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
    odd_data_works,
    a_gap_is_the_median,
    contamination_is_kept,
    params_are_plain,
    is_documented,
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


def _must(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)
