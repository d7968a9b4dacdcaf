"""`fa.compare`: whether a federation finds more than its organisations alone, and whether anything works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from fedanomaly.detectors import Detector
from fedanomaly.detectors.quality import ALERT_BUDGET, alerts_of
from fedanomaly.errors import DataError, ShapeError
from fedanomaly.features import Schema
from fedanomaly.simulation.comparison import Comparison
from fedanomaly.simulation.judging import Held, Judge, Scored, has_both
from fedanomaly.simulation.simulate import simulate
from fedanomaly.simulation.tables import SchemaLike, arrays_of, schema_of
from fedanomaly.types import Floats, Integers, Quantiser


def compare(
    detectors: Detector | Sequence[Detector],
    parts: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike] | None = None,
    *,
    schema: SchemaLike | None = None,
    test: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    test_labels: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    budget: float = ALERT_BUDGET,
    replicates: int = 500,
    random_state: int = 0,
    encrypted: bool = False,
) -> Comparison:
    """Compare what organisations find alone, together, and on pooled rows; with a verdict in words.

    Every organisation's own model is held against the federation's on that
    organisation's test rows, and the figures are averaged over organisations.

    Parameters
    ----------
    detectors : Detector or sequence of Detector
        What to try; they are not changed.
    parts : sequence of array-likes of shape (n_samples_i, n_features), or of tables
        Training rows of every organisation.
    labels : sequence of array-likes of shape (n_samples_i,), optional
        Labels of the parts: 0 is normal, anything else an anomaly. Detectors that
        learn from labels need them; without `test` they serve to judge.
    schema : Schema or path, optional
        What the columns mean of pandas, polars or pyarrow tables. Every
        organisation encodes its own rows, and its own test rows as what comes after
        them: windows and frequencies go on. One table for all starts afresh.
    test : array-like, or list or tuple of one array-like for each organisation, optional
        Rows to judge with; tables if the parts are. Without, detectors that learn
        from no labels are judged on the parts.
    test_labels : array-like, or list or tuple of one for each organisation, optional
        Labels of `test`. Without any, only ranks and alerts are compared.
    budget : float, default=0.005
        Share of the rows that somebody can look at.
    replicates : int, default=500
        Bootstrap resamplings, each class of each set of test rows by itself.
    random_state : int, default=0
        Seed of the resamplings.
    encrypted : bool, default=False
        Learn the federated models under encryption, as `simulate` does; the exact
        sums are the same, and the wait is longer. Needs three parts.

    Returns
    -------
    Comparison
        Prints as one table; ``plot()`` draws the curves.

    Raises
    ------
    DataError
        If parts, test rows or labels cannot be used.

    Notes
    -----
    *No detector works here*: neither alone nor together does the bootstrap
    interval of the AUROC lie above .5 and the AUROC reach .6. *No gain*: the
    difference of the AUROCs, federated less alone, is below .005, or its interval
    does not lie above 0; overall the best federated detector has to beat the best
    one alone. Intervals are wider the more detectors are tried (Bonferroni), so that trying many finds nothing
    in noise. Cost: one fit for every organisation and two more, and about 30 ns for
    every test row, model and replicate.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 14.

    Examples
    --------
    >>> import numpy as np
    >>> import fedanomaly as fa
    >>> rng = np.random.default_rng(0)
    >>> rows, fraud = rng.normal(size=(900, 3)), (rng.random(900) < 0.1).astype(int)
    >>> shuffled = fa.compare(fa.detectors.Mahalanobis(), np.split(rows, 3), np.split(fraud, 3))
    >>> shuffled.verdict
    'no detector works here'
    """
    tried = [detectors] if isinstance(detectors, Detector) else list(detectors)
    if not tried:
        raise DataError("there is no detector to compare")
    agreed = schema_of(schema)
    arrays = arrays_of(parts, agreed)
    if not arrays:
        raise DataError("there is no part to train on")
    marks = None if labels is None else _labels(labels, [len(array) for array in arrays])
    own = isinstance(test, (list, tuple))
    held = None if test is None else _test_rows(test if own else [test], parts if own else None, arrays, agreed)
    told = test_labels if own or test_labels is None else [test_labels]
    tests = _tests(arrays, marks, held, cast("Sequence[Any] | None", told))
    if any(detector.learns_from_labels for detector in tried) and (marks is None or test is None):
        raise DataError(
            "a detector that learns from labels needs them, and other rows to be judged with",
            hint="give labels, test and test_labels",
        )
    for rows in tests.rows:
        alerts_of(budget, len(rows))
    scored = [
        _scored(name, detector, arrays, marks, tests, encrypted=encrypted)
        for name, detector in zip(_names(tried), tried, strict=True)
    ]
    judge = Judge(tests, budget=budget, replicates=replicates, seed=random_state)
    return judge.compared(scored, encrypted=encrypted)


def _test_rows(
    test: Sequence[Any], histories: Sequence[npt.ArrayLike] | None, arrays: list[Floats], schema: Schema | None
) -> list[Floats]:
    fits = histories is None or len(test) == len(histories)
    rows = arrays_of(test, schema, histories) if fits else []
    if not fits or any(array.shape[1] != arrays[0].shape[1] for array in rows):
        raise ShapeError("test rows have the columns of the parts, and one array for each organisation or for all")
    return rows


def _tests(
    arrays: list[Floats], marks: list[Integers] | None, held: list[Floats] | None, told: Sequence[Any] | None
) -> Held:
    if held is None and told is not None:
        raise DataError("there are labels to test with, and no rows", hint="give test as well")
    rows, labels = (arrays, marks) if held is None else (held, None)
    if told is not None:
        labels = _labels(told, [len(each) for each in rows])
    of = list(range(len(arrays))) if len(rows) == len(arrays) else [0] * len(arrays)
    if labels is None or any(has_both(each) for each in labels):
        return Held(rows, labels, of)
    together = np.concatenate(labels)
    if not has_both(together):
        raise DataError("the labels to judge with hold one class only")
    # No organisation can be judged on its own rows: all are judged on everybody's.
    return Held([np.vstack(rows)], [together], [0] * len(arrays))


def _labels(given: Sequence[Any], lengths: list[int]) -> list[Integers]:
    if len(given) != len(lengths):
        raise ShapeError(f"labels of {len(given)} parts for {len(lengths)} parts")
    out = []
    for number, (labels, length) in enumerate(zip(given, lengths, strict=True)):
        found = np.asarray(labels)
        if found.shape != (length,):
            raise ShapeError(f"part {number} has {found.size} labels for {length} rows")
        if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
            raise DataError(f"the labels of part {number} must be numbers, and none may be missing")
        out.append((found != 0).astype(np.int64))
    return out


def _scored(
    name: str,
    detector: Detector,
    arrays: list[Floats],
    marks: list[Integers] | None,
    tests: Held,
    *,
    encrypted: bool,
) -> Scored:
    taught = marks if detector.learns_from_labels else None
    if encrypted:
        federated = simulate(detector, arrays, taught).detector
    else:
        federated = _federated(_copy(detector), arrays, taught)
    pooled = _copy(detector).fit(np.vstack(arrays), None if taught is None else np.concatenate(taught))
    local, cannot_alone = [], []
    for organisation, rows in enumerate(arrays):
        held = tests.rows[tests.of[organisation]]
        try:
            own = _copy(detector).fit(rows, None if taught is None else taught[organisation])
        except DataError:
            if taught is None:
                raise
            cannot_alone.append(organisation)
            local.append(np.zeros(len(held)))
        else:
            local.append(own.anomaly_scores(held))
    return Scored(
        name,
        local,
        [federated.anomaly_scores(rows) for rows in tests.rows],
        [pooled.anomaly_scores(rows) for rows in tests.rows],
        tuple(cannot_alone),
    )


def _federated(detector: Detector, arrays: list[Floats], marks: list[Integers] | None) -> Detector:
    """Return the detector trained on the exact sums that the members' rounds would open."""
    state = detector.initial_state(arrays[0].shape[1])
    given = [None] * len(arrays) if marks is None else marks
    while (step := detector.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=len(arrays))
        sums = np.zeros(quantiser.entries, dtype=np.uint64)
        for rows, labels in zip(arrays, given, strict=True):
            sums += quantiser.quantise(detector.local(step, rows, state, labels))
        state = detector.merge(step, quantiser.total(sums, len(arrays)), state)
    return detector.with_state(state)


def _copy(detector: Detector) -> Detector:
    return cast("Detector", clone(detector))


def _names(detectors: list[Detector]) -> list[str]:
    """Return a name for each: where two are of one kind, what they differ in is part of it; else their number."""
    given = []
    for detector in detectors:
        alike = [other.params() for other in detectors if other.name == detector.name]
        own = {name: value for name, value in detector.params().items() if any(value != each[name] for each in alike)}
        given.append(" ".join([detector.name, *(f"{name}={value}" for name, value in own.items())]))
    return [f"{name} {given[: at + 1].count(name)}" if given.count(name) > 1 else name for at, name in enumerate(given)]
