"""What detectors do with rows that nobody should bring: a correct result, or an error that says what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.rehearsal import federated, light, marks, must, sample, taught
from fedanomaly.errors import CapacityError, DataError, FedAnomalyError
from fedanomaly.types import Floats, Integers

MANY_COLUMNS = 5_000


def few_rows_are_enough(detector: Detector) -> None:
    """Check that one row, two rows and fewer rows than columns train; none is an error."""
    rng = np.random.default_rng(5)
    _refused(detector, [np.zeros((0, 3))] * 3)
    for count, columns in ((1, 1), (1, 6), (2, 1), (20, 60)):
        rows = rng.normal(size=(count, columns)) * [3.0]
        _trained(detector, [rows[:1], rows[1:]])


def columns_that_say_nothing_add_nothing(detector: Detector) -> None:
    """Check that columns without a reading and constant ones train, and are no row's main reason."""
    rng = np.random.default_rng(6)
    for rows in (np.full((4, 2), np.nan), np.full((5, 3), 7.5), np.zeros((3, 1))):
        _trained(detector, np.array_split(rows, 2))
    if detector.reads == "codes":
        return
    rows = rng.normal(size=(60, 4))
    rows[:, 1], rows[:, 3] = np.nan, -1e9
    trained = _trained(detector, np.array_split(rows, 2))
    with _as_errors():
        oddest = trained.explain(rows)[trained.anomaly_scores(rows).argmax()]
    must(oddest[[1, 3]].max() < oddest[[0, 2]].max(), "a column that says nothing is the main reason of a score")


def copies_of_a_column_train(detector: Detector) -> None:
    """Check that columns which determine each other give finite scores."""
    column = np.random.default_rng(7).normal(size=60)
    _trained(detector, np.array_split(np.column_stack([column] * 4 + [-column, 2.0 * column + 1.0]), 3))


def infinite_readings_are_refused(detector: Detector) -> None:
    """Check that an infinite reading is an error that names the column, in training and in scoring."""
    rows = sample(60)
    trained = taught(type(detector)(**detector.params()), rows)
    for sign in (1.0, -1.0):
        odd = rows.copy()
        odd[7, 6] = sign * np.inf
        error = _refused(detector, np.array_split(odd, 3))
        must("6" in str(error), "the error does not name the column")
        for call in (lambda odd=odd: taught(detector, odd), lambda odd=odd: trained.anomaly_scores(odd)):
            must("6" in str(_raised(call)), "the error does not name the column")


def extreme_scales_train(detector: Detector) -> None:
    """Check that readings from 1e-300 to 1e300, in one column or in several, train and score finitely."""
    rng = np.random.default_rng(8)
    normal = rng.normal(size=(60, 3))
    for rows in (
        np.array([[1e308, -1e308], [-1e308, 1e308], [0.0, 1e-308]]),
        normal * [1e-300, 1.0, 1e300],
        normal * 10.0 ** rng.integers(-300, 300, normal.shape),
        normal * 5e-324,
    ):
        _trained(detector, np.array_split(rows, 2))


def large_integers_train(detector: Detector) -> None:
    """Check that integers beyond 2^53 are taken as the numbers that are nearest to them."""
    rows = (1 << 53) + np.random.default_rng(9).integers(0, 1 << 62, size=(60, 3))
    trained, other = (
        _trained(detector, np.array_split(cast("Floats", table), 2)) for table in (rows, rows.astype(np.float64))
    )
    must(trained.state_.to_bytes() == other.state_.to_bytes(), "integers teach something else than the same numbers")


def unseen_codes_score(detector: Detector) -> None:
    """Check that codes which training has not seen score finitely, and, where codes are read, at least as seen ones."""
    rows = np.random.default_rng(10).integers(0, 5, size=(80, 4)).astype(np.float64)
    trained = _trained(detector, np.array_split(rows, 2))
    unseen = np.full((1, 4), 999_999.0)
    with _as_errors():
        score = trained.anomaly_scores(np.concatenate([unseen, -unseen, unseen * 1e290]))
        must(bool(np.isfinite(score).all()), "a score is not finite")
        if detector.reads == "codes":
            must(score[0] >= np.median(trained.anomaly_scores(rows)), "codes never seen are as usual as seen ones")


def labels_of_one_class_are_refused(detector: Detector) -> None:
    """Check that a federation without an anomaly, or with nothing else, is an error; one such member is none."""
    if not detector.learns_from_labels:
        return
    rows = sample(60)
    parts = np.array_split(rows, 3)
    for only in (0, 1):
        _refused(detector, parts, [np.full(len(part), only) for part in parts])
    labels = [marks(parts[0]), np.zeros(len(parts[1]), dtype=np.int64), np.ones(len(parts[2]), dtype=np.int64)]
    _trained(detector, parts, labels)
    for labels_of_all in (None, np.zeros(3), np.full(len(rows), np.nan)):
        _raised(lambda y=labels_of_all: detector.fit(rows, y))


def many_columns_train_or_are_refused(detector: Detector) -> None:
    """Check that 5,000 columns give finite scores, or an error that says how many are possible."""
    rows = np.random.default_rng(12).integers(0, 9, size=(12, MANY_COLUMNS)).astype(np.float64)
    rows[:, 0] = [3.0, -3.0] * 6  # labels follow from the first column
    try:
        detector.initial_state(MANY_COLUMNS)
    except CapacityError as error:
        must(bool(error.hint) and "at most" in str(error), "the error does not say how many are possible")
        return
    with _as_errors():
        scores = taught(light(detector), rows).anomaly_scores(rows)
    must(bool(np.isfinite(scores).all()), "a score is not finite")


BAD_INPUT: tuple[Callable[[Detector], None], ...] = (
    few_rows_are_enough,
    columns_that_say_nothing_add_nothing,
    copies_of_a_column_train,
    infinite_readings_are_refused,
    extreme_scales_train,
    large_integers_train,
    unseen_codes_score,
    labels_of_one_class_are_refused,
    many_columns_train_or_are_refused,
)
"""What the contract asks of rows that are hard; each gets a fresh, untrained detector."""


@contextmanager
def _as_errors() -> Iterator[None]:
    """Let no warning pass, such as numpy's of an overflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _trained(detector: Detector, parts: Sequence[Floats], labels: Sequence[Integers] | None = None) -> Detector:
    """Return the detector trained on the parts; their scores must be finite.

    One that learns from labels gets as many anomalies as other rows, if there are two.
    """
    if labels is None and detector.learns_from_labels:
        labels = [np.arange(len(part)) % 2 for part in parts]
        if len(np.unique(np.concatenate(labels))) == 1:
            _refused(detector, parts, labels)
            rows = np.concatenate(parts)
            parts, labels = [rows, rows], [np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.int64)]
    with _as_errors():
        trained = federated(detector, parts, labels)
        rows = np.concatenate(parts)
        scores = trained.anomaly_scores(rows)
        must(bool(np.isfinite(scores).all() and (scores >= 0).all()), "scores must be finite and at least 0")
        must(set(trained.predict(rows)) <= {-1, 1}, "predictions are -1 and +1")
        must(np.allclose(trained.explain(rows).sum(axis=1), scores, rtol=1e-9, atol=1e-9), "shares do not add up")
    return trained


def _refused(detector: Detector, parts: Sequence[Floats], labels: Sequence[Integers] | None = None) -> FedAnomalyError:
    return _raised(lambda: federated(detector, parts, labels))


def _raised(call: Callable[[], object]) -> FedAnomalyError:
    """Return the error of ours that the call ends in; it must say what to do."""
    with _as_errors():
        try:
            call()
        except DataError as error:
            must(bool(error.hint), f"{error} does not say what to do")
            return error
    raise AssertionError("what cannot be learnt from is taken without an error")
