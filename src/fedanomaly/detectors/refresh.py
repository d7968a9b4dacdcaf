"""A trained detector learns new rows, and the old ones fade: no round for what has not changed."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self, cast

import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.fading import Fade, Renewable, reopened
from fedanomaly.errors import ConfigError, ShapeError
from fedanomaly.types import Floats, State, Statistics, Step, Total


class Refresh:
    """What a job that refreshes a trained detector does; learns as a `Detector` does.

    Parameters
    ----------
    detector : Detector
        Its parameters are those of `old`.
    old : State
        Trained; the same at every member.
    keep : float in [0, 1]
        Share of the old rows that still count.

    Raises
    ------
    ConfigError
        If this detector can only be trained anew, or `keep` is no share.
    DataError
        If the old state is not trained.
    """

    def __init__(self, detector: Detector, old: State, keep: float) -> None:
        if not 0 <= keep <= 1:
            raise ConfigError(f"a share of {keep:g} of the old rows cannot be kept", hint="choose keep from 0 to 1")
        self._detector = detector.with_state(old)
        self._start = reopened(detector.name, detector.all_stages(), old)
        self._old = old
        self._fade = Fade.of(old, keep)

    @classmethod
    def of(cls, fitted: Detector, keep: float) -> Self:
        """Return what refreshes a fitted detector.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(fitted, "state_")
        return cls(fitted, fitted.state_, keep)

    def initial_state(self, n_features: int) -> State:
        """Return the old state without its sums and its threshold.

        Raises
        ------
        ShapeError
            If the old rows had another number of columns.
        """
        if n_features != self._detector.n_features_in_:
            raise ShapeError(f"the detector learnt {self._detector.n_features_in_} columns, there are {n_features}")
        return self._start

    def stage_of(self, step: Step, state: State) -> object:
        """Return the stage of a step."""
        return self._detector.stage_of(step, state)

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once trained."""
        return self._detector.next_step(state)

    def local(self, step: Step, X: Floats, state: State, y: npt.ArrayLike | None = None) -> Statistics:
        """Return one member's plaintext statistic over its new rows."""
        return self._detector.local(step, X, state, y)

    def local_batches(
        self, step: Step, batches: Iterable[tuple[Floats, npt.ArrayLike | None]], state: State
    ) -> Statistics:
        """Return what `local` gives of all new rows, of rows that come in batches."""
        return self._detector.local_batches(step, batches, state)

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the next state; where a stage ends, what is left of its old sums is added to the new ones."""
        stage = self._detector.stage_of(step, state)
        merged = self._detector.merge(step, total, state)
        if stage.next_step(merged) is None:
            merged = cast("Renewable", stage).joined(merged, self._old, self._fade)
        return merged

    def with_state(self, state: State, feature_names: Sequence[str] | None = None) -> Detector:
        """Return the refreshed detector."""
        return self._detector.with_state(state, feature_names)
