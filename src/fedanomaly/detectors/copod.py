"""Tail probabilities of the empirical copula."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.marginals import Histograms, LookUp, Marginals, Ruler
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.types import Floats, State


class COPOD(Detector):
    """Copula-based outlier detection.

    The idea: as ECOD, but the tail that counts is mostly the long one, the one
    that the skewness of the feature names; the other tail counts by half.

    It fails where anomalies lie in a gap between clusters, or in the short tail,
    or show only in a combination of features, each within its usual range.

    Cost: one job of about 6 rounds, 257 counters a feature in the model step;
    scoring takes two look-ups a feature. Another `reach` needs no new sums.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    reach : float in [0, 16], default=1
        Readings up to so many robust deviations nearer to the bulk count as being
        as far out; 0 gives the tails of the paper.

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
    With ``L = -log P(x_j <= x)``, ``R = -log P(x_j >= x)`` and S the one that the
    skewness names (R where it is positive, L where it is negative, their sum
    where it is 0), feature j adds ``max(S, (L + R) / 2)``, as the authors' code in
    PyOD does. The skewness is that of the histogram on the robust scale; its
    sign is computed in whole numbers.

    References
    ----------
    Z. Li et al., "COPOD: copula-based outlier detection", ICDM 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import COPOD
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = COPOD(contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "copod"
    version = 1
    why_no_circuit = "its score looks up how rare every reading is in a table"
    free = Detector.free | {"reach"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "reach": [Interval(Real, 0, 16, closed="both")],
    }

    def __init__(self, *, contamination: float = 0.01, reach: float = 1.0) -> None:
        super().__init__(contamination=contamination)
        self.reach = reach

    def stages(self) -> tuple[Marginals, ...]:
        """Return the one stage: the histograms."""
        return (Marginals(),)

    def derive(self, state: State) -> LookUp:
        """Return the tail of every cell that the skewness names, or half of both."""
        left, right = Histograms.of(state).tails(float(state.params["reach"]))
        skewness = _skewness(state)[:, None]
        named = np.where(skewness >= 0, right, 0.0) + np.where(skewness <= 0, left, 0.0)
        return LookUp.of(state, np.maximum(named, (left + right) / 2))


def _skewness(state: State) -> Floats:
    """Return the sign of every column's skewness."""
    edges = Ruler.of(scale_of(state)).edges
    # Whole numbers of any size: a third central moment cancels badly in floating point.
    place = (edges[1:] + edges[:-1]).astype(object)
    counts = state["marginals/counts"].astype(object)
    n, first, second, third = (counts @ place**power for power in range(4))
    return np.sign(n * n * third - 3 * n * first * second + 2 * first**3).astype(np.float64)
