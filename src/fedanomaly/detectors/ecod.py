"""Tail probabilities of every feature, added up."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.marginals import Histograms, LookUp, Marginals
from fedanomaly.types import State


class ECOD(Detector):
    """Outlier detection by empirical cumulative distributions.

    The idea: a reading is anomalous if few readings of its column are as large,
    or few as small; the logarithms of these shares are added over the features.

    It fails where anomalies lie in a gap between clusters, or show only in a
    combination of features, each within its usual range.

    Cost: one job of about 6 rounds, 257 counters a feature in the model step;
    scoring takes two look-ups a feature. Another `reach` needs no new sums.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    reach : float in [0, 16], default=1
        Readings up to so many robust deviations nearer to the bulk count as being
        as far out. 0 gives the tails of the paper; then one reading beyond all
        others scores little more than the next.

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
    With ``L = -log P(x_j <= x)`` and ``R = -log P(x_j >= x)`` feature j adds
    ``max(L, R)``. Li et al. take the largest of three sums, of L, of R, and of
    the tail that the skewness of each feature names; the largest of each feature
    (what their code in PyOD does) leaves the skewness nothing to say, and finds
    rows that are high in one feature and low in another.

    References
    ----------
    Z. Li et al., "ECOD: unsupervised outlier detection using empirical
    cumulative distribution functions", IEEE TKDE, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import ECOD
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = ECOD(contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "ecod"
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
        """Return the rarer tail of every cell."""
        left, right = Histograms.of(state).tails(float(state.params["reach"]))
        return LookUp.of(state, np.maximum(left, right))
