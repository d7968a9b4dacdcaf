"""What a job trains, and the loop that trains it."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import column_or_1d

from fedanomaly.errors import DataError, ShapeError
from fedanomaly.types import Floats, Integers, Quantiser, State, Statistics, Step, Total

if TYPE_CHECKING:
    from fedanomaly.detectors.base import Detector


class Learning(Protocol):
    """What a job trains: a detector, or a trained one anew."""

    def initial_state(self, n_features: int) -> State:
        """Return the state before the first step; the same at every member."""
        ...

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once trained."""
        ...

    def local(self, step: Step, X: Floats, state: State, y: npt.ArrayLike | None = None) -> Statistics:
        """Return one member's plaintext statistic."""
        ...

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the next state; pure."""
        ...

    def with_state(self, state: State, feature_names: Sequence[str] | None = None) -> Detector:
        """Return the fitted detector."""
        ...


def learnt(learning: Learning, rows: Floats, labels: Integers | None = None, *, state: State | None = None) -> State:
    """Return the trained state of a job with one member and no encryption; `state` if some of it is done."""
    state = learning.initial_state(rows.shape[1]) if state is None else state
    while (step := learning.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=1)
        sums = quantiser.quantise(learning.local(step, rows, state, labels))
        state = learning.merge(step, quantiser.total(sums, 1), state)
    return state


def labels_of(detector: str, y: npt.ArrayLike | None, rows: int) -> Integers:
    """Return 1 for every anomaly, else 0.

    Raises
    ------
    DataError
        If there are no labels, or they are no numbers.
    ShapeError
        If there is not one for every row.
    """
    if y is None:
        # These words, and "Unknown label type" below, are scikit-learn's.
        text = f"{detector} requires y to be passed, but the target y is None"
        raise DataError(text, hint="it learns from labels: 0 is normal, 1 an anomaly")
    labels = column_or_1d(y)
    if len(labels) != rows:
        raise ShapeError(f"{len(labels)} labels for {rows} rows", hint="there is one label for every row")
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        raise DataError("Unknown label type: labels are numbers, none missing", hint="0 is normal, 1 an anomaly")
    return (labels != 0).astype(np.int64)
