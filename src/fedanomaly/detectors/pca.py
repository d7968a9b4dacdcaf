"""Principal components: distance inside their plane, and from it."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.mahalanobis import MOST_FEATURES, Covariance, Metric, Moments, no_data, opened_moments
from fedanomaly.detectors.scaling import scale_of
from fedanomaly.types import Floats, State

QUIETEST = 0.01
"""Least variance that a direction is taken to have, in those of a feature: what keeps a rank-deficient score finite."""
ROUNDING = 1e-6
"""Eigenvalues of opened moments may fall that far below 0 for each feature; no data have such that fall farther."""


class PCA(Detector):
    """Squared distance from the plane of the principal components, and from the mean inside it.

    The idea: a few directions carry nearly all variation of normal events. What
    leaves their plane breaks the relations between features; what lies far out
    in it is extreme. It needs two sums only, of the readings and of their products.

    It fails where relations between features are not linear, and where the
    normal events form several clusters (an event between them looks normal).

    Cost: one job of about 6 rounds, d (d + 3) / 2 numbers in the widest model
    step, 12,000 counters in the widest other one; scoring takes d^2
    multiplications an event. Other values of `n_components` and `distance` need no
    new sums of the rows, but for the threshold.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_components : int >= 1 or float in (0, 1), default=0.9
        Number of components, or the share of the variance that the fewest
        components explain.
    distance : {"both", "reconstruction", "whitened"}, default="both"
        "reconstruction" is the squared distance from the plane, "whitened" that
        from the mean inside it, each component in its own deviations. "both" is
        the second plus the first over the mean variance outside the plane.

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
    Components are eigenvectors of the correlations of the robustly scaled
    features; columns that do not vary take no part. "both" is the squared
    distance of probabilistic principal components, whose noise is the mean of
    the variances left out. Variances below 0.01 count as 0.01. Every score is a
    sum of squares of affine forms; feature j adds ``z_j (F' F z)_j``, of which
    one can be negative where a feature excuses another. Where nothing is left
    out, "reconstruction" is 0 throughout.

    References
    ----------
    M. E. Tipping and C. M. Bishop, "Probabilistic principal component analysis",
    Journal of the Royal Statistical Society B 61, 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import PCA
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1)) + 0.1 * rng.normal(size=(500, 3))
    >>> detector = PCA(contamination=0.02).fit(X)
    >>> detector.predict([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    array([ 1, -1])
    """

    name = "pca"
    version = 1
    why_no_circuit = ""
    most_features = MOST_FEATURES
    free = Detector.free | {"n_components", "distance"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_components": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="neither")],
        "distance": [StrOptions({"both", "reconstruction", "whitened"})],
    }

    def __init__(self, *, contamination: float = 0.01, n_components: float = 0.9, distance: str = "both") -> None:
        super().__init__(contamination=contamination)
        self.n_components = n_components
        self.distance = distance

    def stages(self) -> tuple[Moments, ...]:
        """Return the one stage: first and second moments."""
        return (Moments(),)

    def derive(self, state: State) -> Metric:
        """Return the squared distances as one sum of squares."""
        moments = opened_moments(state)
        variances, forms = _components(moments)
        inside = _inside(variances, state.params["n_components"])
        divisor = np.ones(len(variances))
        divisor[:inside] = np.maximum(variances[:inside], QUIETEST)
        if state.params["distance"] == "both" and inside < len(variances):
            divisor[inside:] = max(float(variances[inside:].mean()), QUIETEST)
        forms /= np.sqrt(divisor)[:, None]
        chosen = {"both": forms, "whitened": forms[:inside], "reconstruction": forms[inside:]}
        return Metric.of(scale_of(state), moments.mean, chosen[state.params["distance"]])


def _components(moments: Covariance) -> tuple[Floats, Floats]:
    """Return falling variances, shape (n,), and the forms, shape (n, d), that give a row's place along each."""
    live = np.flatnonzero(moments.deviation > 0)
    variances, vectors = np.linalg.eigh(moments.correlation[np.ix_(live, live)])
    if len(live) and variances[0] < -ROUNDING * len(live):
        raise no_data()
    forms = np.zeros((len(live), len(moments.mean)))
    forms[:, live] = vectors.T[::-1] / moments.deviation[live]
    return np.maximum(variances[::-1], 0.0), forms


def _inside(variances: Floats, wanted: float) -> int:
    """Return how many components span the plane."""
    if isinstance(wanted, int):
        return min(wanted, len(variances))
    explained = np.cumsum(variances)
    return int(np.searchsorted(explained, wanted * explained[-1])) + 1 if len(variances) else 0
