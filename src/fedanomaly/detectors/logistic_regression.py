"""Log-odds that are linear in the readings, for labelled rows."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.newton import EVALUATIONS, Line, Newton, line_of
from fedanomaly.detectors.odds import shared, surprise
from fedanomaly.detectors.scaling import Scale, scale_of
from fedanomaly.types import Circuit, Floats, State

MOST_FEATURES = 1023


class LogisticRegression(Detector):
    """Logistic regression on robustly scaled features, for labelled rows.

    The idea: every feature adds its weight times its scaled reading to the
    log-odds of an anomaly. The weights that make the labels most probable are
    found by Newton's method: each round sums gradient and Hessian over all rows.

    It fails where a feature is odd at both ends, or only in combination with
    others: then take `GradientBoosting`. It finds what was labelled, no fraud of
    a new kind.

    Cost: one job of about 12 rounds, (d + 1)(d + 4) / 2 numbers in the widest
    step of its own; scoring takes d multiplications an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    l2 : float in [1e-6, 1e6], default=1.0
        Penalty on the squared weights, against the sum of all rows' losses
        (1 / C of scikit-learn).

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.

    Notes
    -----
    The score is ``log(1 + exp(F))``, F being the log-odds. Rare anomalies need no
    weights: the search starts at the log-odds of their share, which no penalty
    holds back, and the threshold is set by `contamination` whatever F is. A
    feature's share is its part of F, in proportion to the score; the score of
    the weight of no feature is shared equally. A missing reading counts as the
    median. There may be 1,023 columns.

    References
    ----------
    D. R. Cox, "The regression analysis of binary sequences", Journal of the
    Royal Statistical Society B 20, 1958.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import LogisticRegression
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = X[:, 0] + X[:, 1] > 2.0
    >>> detector = LogisticRegression(contamination=0.08).fit(X, y)
    >>> detector.predict([[0.0, 0.0], [2.0, 2.0]])
    array([ 1, -1])
    """

    name = "logistic_regression"
    version = 1
    why_no_circuit = ""
    most_features = MOST_FEATURES
    learns_from_labels = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "l2": [Interval(Real, 1e-6, 1e6, closed="both")],
    }

    def __init__(self, *, contamination: float = 0.01, l2: float = 1.0) -> None:
        super().__init__(contamination=contamination)
        self.l2 = l2

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, classes, steps of Newton, threshold."""
        return 11 + EVALUATIONS

    def stages(self) -> tuple[Newton]:
        """Return the one stage: Newton steps."""
        return (Newton(),)

    def derive(self, state: State) -> LinearOdds:
        """Return the line that was found."""
        return LinearOdds(scale_of(state), line_of(state, "newton/weights"))


@dataclass(frozen=True, eq=False)
class LinearOdds:
    """The learnt log-odds, ready to score.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    line : Line
        The weights.
    """

    scale: Scale
    line: Line
    outputs_suffice: ClassVar[bool] = True

    def scores(self, X: Floats) -> Floats:
        """Return ``log(1 + exp(F))`` of every row."""
        out = np.empty(len(X))
        at = 0
        for rows in self.scale.chunks(X):
            out[at : at + len(rows)] = surprise(self.line.odds(rows))
            at += len(rows)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return what every feature adds to F, in proportion to the score."""
        out = np.empty(X.shape)
        start = float(self.line.odds(np.zeros((1, X.shape[1])))[0])
        at = 0
        for rows in self.scale.chunks(X):
            parts = rows * (self.line.weights[1:] * self.line.unit)
            out[at : at + len(rows)] = shared(parts, start, self.line.odds(rows))
            at += len(rows)
        return out

    def circuit(self) -> Circuit:
        """Return the log-odds as a form of readings in robust deviations."""
        slope = self.line.unit * self.line.grid
        return Circuit("linear", (1,), self.line.weights[None, 1:] * slope, self.line.weights[:1] * slope)

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations."""
        return self.scale.readings(X)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:  # noqa: ARG002 - the log-odds are enough
        """Return ``log(1 + exp(F))``, from the log-odds."""
        return surprise(outputs[:, 0])
