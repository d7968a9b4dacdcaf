"""Density of a few normal components."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.centres import Lloyd
from fedanomaly.detectors.mixture import MOST_COMPONENTS, START_ROUNDS, Maximisation, Mixture, mixture_of
from fedanomaly.detectors.scaling import Scale, scale_of
from fedanomaly.types import Circuit, Floats, State


class GaussianMixture(Detector):
    """Low density under a mixture of normal components.

    The idea: normal rows form a few groups, each with its own way in which
    features vary together. Each row counts towards a component by the part that
    the component has in its density; members send sums of rows and of their
    products by these parts, round after round.

    It fails where groups are far from normal, such as rings or many small
    clusters, where anomalies form a large group, and where rows are few against
    the square of the number of features.

    Cost: one job of about 15 rounds, ``n_components d (d + 3) / 2`` numbers in
    the widest model step (2 d for each diagonal component), 12,000 counters in the
    widest other one; scoring takes d^2 multiplications a component.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    n_components : int in [1, 16], default=4
        Number of components.
    covariance : {"full", "diagonal"}, default="full"
        Whether features vary together within a component. Tables of more than
        500 features have diagonal components in any case.
    n_rounds : int in [1, 50], default=8
        Most rounds of sums, after two that find centres. They end earlier once
        the mean log density changes by less than 1/1024.
    min_share : float in [0, 1], default=0.6
        A component is left out of the score if it has less than that share of the
        rows of an average one: a small one may be made of anomalies.

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
    The score is ``-log(p(z) / top)``, z being the scaled row, p the density and
    top what p would be if all components were densest at z. With r_k the part of
    component k in p(z) and Q_k its squared distance, feature j adds its terms in
    ``sum_k r_k Q_k / 2``, and what is left, which is at least 0, in proportion to
    the magnitude of these. A feature's term can be negative where it excuses another.

    Covariances are drawn to the one that all components have in common, which
    counts as four times the rows of an average component, and correlations by
    0.1 to zero. Parts are counted in at most 12 bits, and rows for the products
    the more coarsely the more rows there are. `min_share` needs no new sums.

    References
    ----------
    A. P. Dempster, N. M. Laird and D. B. Rubin, "Maximum likelihood from
    incomplete data via the EM algorithm", Journal of the Royal Statistical
    Society B 39, 1977. C. Fraley and A. E. Raftery, "Bayesian regularization for
    normal mixture estimation and model-based clustering", 2007: a common prior.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import GaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = GaussianMixture(contamination=0.02).fit(np.vstack([X, X + 20]))
    >>> detector.predict([[0.0, 0.0], [20.0, 20.0], [10.0, 10.0]])
    array([ 1,  1, -1])
    """

    name = "gaussian_mixture"
    version = 1
    why_no_circuit = ""
    free = Detector.free | {"min_share"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "n_components": [Interval(Integral, 1, MOST_COMPONENTS, closed="both")],
        "covariance": [StrOptions({"full", "diagonal"})],
        "n_rounds": [Interval(Integral, 1, 50, closed="both")],
        "min_share": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        *,
        contamination: float = 0.01,
        n_components: int = 4,
        covariance: str = "full",
        n_rounds: int = 8,
        min_share: float = 0.6,
    ) -> None:
        super().__init__(contamination=contamination)
        self.n_components = n_components
        self.covariance = covariance
        self.n_rounds = n_rounds
        self.min_share = min_share

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, a start, one for each step of EM, threshold."""
        return 10 + START_ROUNDS + self.n_rounds

    def stages(self) -> tuple[Lloyd, Maximisation]:
        """Return two stages: centres, then components."""
        start = Lloyd("gaussian_start", self.n_components, START_ROUNDS)
        return (start, Maximisation(self.n_rounds, start))

    def derive(self, state: State) -> Density:
        """Return the density of the components that are large enough."""
        mixture = mixture_of(state)
        # The largest has an equal share or more, so one is left.
        least = min(float(state.params["min_share"]) / len(mixture.share), float(mixture.share.max()))
        return Density(scale_of(state), mixture.without(least))


@dataclass(frozen=True, eq=False)
class Density:
    """The learnt density, ready to score.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    mixture : Mixture
        The components that count.
    """

    scale: Scale
    mixture: Mixture
    outputs_suffice: ClassVar[bool] = True

    def scores(self, X: Floats) -> Floats:
        """Return how far the log density of every row is below the top."""
        out = np.empty(len(X))
        at = 0
        for rows in self.scale.chunks(X):
            _, out[at : at + len(rows)] = self.mixture.parts(rows)
            at += len(rows)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return each feature's terms of the distances, and its part of what is left."""
        out = np.empty(X.shape)
        at = 0
        for rows in self.scale.chunks(X):
            parts, scores = self.mixture.parts(rows)
            terms = np.zeros(rows.shape)
            for part, normal in zip(parts.T, self.mixture.normals, strict=True):
                terms += 0.5 * part[:, None] * normal.terms(rows)
            reach = np.abs(terms)
            whole = reach.sum(axis=1, keepdims=True)
            spread = np.where(whole > 0, reach / np.where(whole > 0, whole, 1.0), 1.0 / rows.shape[1])
            out[at : at + len(rows)] = terms + spread * (scores - terms.sum(axis=1))[:, None]
            at += len(rows)
        return out

    def circuit(self) -> Circuit:
        """Return the squared distances from every component."""
        forms = [normal.matrix() * self.scale.grid for normal in self.mixture.normals]
        bias = [-(normal.matrix() * normal.mean).sum(axis=1) for normal in self.mixture.normals]
        return Circuit("quadratic", tuple(map(len, forms)), np.vstack(forms), np.concatenate(bias))

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations."""
        return self.scale.readings(X)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:  # noqa: ARG002 - the distances are enough
        """Return how far the log density is below the top, from the distances."""
        return self.mixture.below(np.maximum(outputs, 0.0))[1]
