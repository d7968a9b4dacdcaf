"""Boosted trees from gradient sums, for labelled rows."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.boosted_trees import NEVER, Trees
from fedanomaly.detectors.boosting import Boosting
from fedanomaly.detectors.class_bins import Bins, ClassBins, bins_of
from fedanomaly.detectors.odds import STEPS, prior, shared, surprise
from fedanomaly.detectors.scaling import Scale, rows_of, scale_of
from fedanomaly.types import Floats, State

TIE = 2.0**-6
"""Log-odds by which rows of the same leaves may differ: all features at their farthest from the median."""


class GradientBoosting(Detector):
    """Gradient boosted decision trees on labelled rows.

    The idea: trees are added one after the other, each fitted to what the ones
    before got wrong, by gradient and Hessian sums over the bins of every column.
    Several trees grow at the same time, one level a round, so that a round ends
    a tree: a tree learns from those before it as far as they have grown.

    It fails where labels are wrong or late, and on frauds of a new kind: it
    finds what was labelled. It needs some dozens of anomalies over all members.

    Cost: one job of about 75 rounds (`n_trees` + `depth` + 10 at most), of up to
    ``2^(depth - 1)`` times 2 `max_bins` numbers a column each; scoring takes
    `n_trees` times `depth` look-ups an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_trees : int in [1, 1000], default=60
        Trees; fewer once nothing is left to split.
    depth : int in [1, 8], default=5
        Questions from the root of a tree to a leaf.
    learning_rate : float in (0, 1], default=0.15
        Part of a Newton step that a tree adds.
    l2 : float in [0, 1e6], default=1.0
        Penalty on what a leaf adds; in rows of probability 1/2 it weighs as four.
    min_weight : float in [1e-3, 1e6], default=1.0
        Smallest Hessian sum, p (1 - p) over its rows, of a leaf.
    max_bins : int in [2, 254], default=64
        Most bins of a column.

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
    The score is ``log(1 + exp(F))``, F being the log-odds of an anomaly: minus
    the logarithm of the probability that the row is normal. Rows that trees
    cannot tell apart are ranked by their distance from the medians, which weighs
    at most 1/64 of log-odds. F is shared along the paths of the trees (Saabas),
    the score in proportion; the score of the share of anomalies in the training
    rows is shared equally. A missing reading counts as the median.

    References
    ----------
    J. H. Friedman, "Greedy function approximation: a gradient boosting machine",
    Annals of Statistics 29, 2001. T. Chen and C. Guestrin, "XGBoost", KDD 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import GradientBoosting
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = X[:, 0] * X[:, 1] > 1.0
    >>> detector = GradientBoosting(contamination=0.1).fit(X, y)
    >>> detector.predict([[0.0, 0.0], [2.0, 2.0]])
    array([ 1, -1])
    """

    name = "gradient_boosting"
    version = 1
    why_no_circuit = "its trees compare readings with thresholds"
    learns_from_labels = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_trees": [Interval(Integral, 1, 1000, closed="both")],
        "depth": [Interval(Integral, 1, 8, closed="both")],
        "learning_rate": [Interval(Real, 0, 1, closed="right")],
        "l2": [Interval(Real, 0, 1e6, closed="both")],
        "min_weight": [Interval(Real, 1e-3, 1e6, closed="both")],
        "max_bins": [Interval(Integral, 2, 254, closed="both")],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.01,
        n_trees: int = 60,
        depth: int = 5,
        learning_rate: float = 0.15,
        l2: float = 1.0,
        min_weight: float = 1.0,
        max_bins: int = 64,
    ) -> None:
        super().__init__(contamination=contamination)
        self.n_trees = n_trees
        self.depth = depth
        self.learning_rate = learning_rate
        self.l2 = l2
        self.min_weight = min_weight
        self.max_bins = max_bins

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, bins, levels of all trees in flight, threshold."""
        return 14 + self.n_trees + self.depth - 1

    def stages(self) -> tuple[ClassBins, Boosting]:
        """Return two stages: bins, then trees."""
        return (ClassBins(), Boosting())

    def derive(self, state: State) -> BoostedOdds:
        """Return the trees, ready to score."""
        grows = (state["boost/cut"] < NEVER).any(axis=1)
        trees = Trees(state["boost/feature"][grows], state["boost/cut"][grows], state["boost/value"][grows])
        return BoostedOdds(
            scale_of(state), bins_of(state), trees, prior(int(state["bins/anomalies"][0]), rows_of(state))
        )


@dataclass(frozen=True, eq=False)
class BoostedOdds:
    """The learnt log-odds, ready to score.

    Parameters
    ----------
    scale : Scale
        Tells how far rows are from the medians.
    bins : Bins
        Bins of every column.
    trees : Trees
        What they add.
    start : int
        Log-odds of the share of anomalies, in steps.
    """

    scale: Scale
    bins: Bins
    trees: Trees
    start: int

    def scores(self, X: Floats) -> Floats:
        """Return ``log(1 + exp(F))`` of every row."""
        out = np.empty(len(X))
        for here, binned in self.bins.chunks(X):
            leaves = self.trees.leaves(binned)
            added = self.trees.values(leaves, np.full(len(leaves), self.trees.depth)).sum(axis=0)
            out[here] = surprise((self.start + added) / STEPS + self._apart(X[here]).sum(axis=1))
        return out

    def shares(self, X: Floats) -> Floats:
        """Return what every feature adds along the paths, in proportion to the score."""
        out = np.empty(X.shape)
        paths = self.trees.paths(X.shape[1])
        start = self.start + int(self.trees.value[:, 0].sum())
        for here, binned in self.bins.chunks(X):
            steps = np.zeros((binned.shape[1], binned.shape[0]), dtype=np.int64)
            for path, leaf in zip(paths, self.trees.leaves(binned), strict=True):
                steps += path[leaf]
            parts = steps / STEPS + self._apart(X[here])
            out[here] = shared(parts, start / STEPS, start / STEPS + parts.sum(axis=1))
        return out

    def _apart(self, rows: Floats) -> Floats:
        return np.abs(self.scale.standardise(rows)) * (TIE / (self.scale.limit * rows.shape[1]))
