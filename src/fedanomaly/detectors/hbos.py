"""Histogram-based outlier score: how few rows have the readings of a row."""

from __future__ import annotations

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.marginals import Histograms, LookUp, Marginals
from fedanomaly.detectors.scaling import LIMIT
from fedanomaly.types import Floats, State

SMOOTHING = (1.0, 4.0, 16.0)
"""Widths, in robust deviations, of the boxes over which the logarithms of density are averaged."""
PRIOR = 2.0
"""Rows that every robust deviation has beforehand, so that no density is 0."""


class HBOS(Detector):
    """Histogram-based outlier score.

    The idea: a reading where its column has few others is anomalous, and what
    the columns say is added up. Unlike a tail, a histogram also finds readings
    in a gap between two clusters.

    It fails where an anomaly shows only in a combination of features, each
    within its usual range, and it counts the same news twice where columns
    repeat each other.

    Cost: one job of about 6 rounds, 257 counters a feature in the model step;
    scoring takes two look-ups a feature.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.

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
    What a feature adds is ``-log p(cell)`` less its least value, p being the
    density on the robust scale, smoothed by boxes of three widths. Goldstein and
    Dengel take ten bins between minimum and maximum, which one far reading
    spoils and which all members would learn.

    References
    ----------
    M. Goldstein and A. Dengel, "Histogram-based outlier score (HBOS): a fast
    unsupervised anomaly detection algorithm", KI 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import HBOS
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = HBOS(contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "hbos"
    version = 1
    why_no_circuit = "its score looks up densities in histograms"

    def stages(self) -> tuple[Marginals, ...]:
        """Return the one stage: the histograms."""
        return (Marginals(),)

    def derive(self, state: State) -> LookUp:
        """Return the surprise of every cell."""
        return LookUp.of(state, _surprise(Histograms.of(state)))


def _surprise(histograms: Histograms) -> Floats:
    """Return the smoothed -log density of every cell, 0 where it is least."""
    middle = (histograms.edges[1:] + histograms.edges[:-1]) / 2
    out = np.zeros(histograms.counts.shape)
    for box in SMOOTHING:
        inside = histograms.upto(middle + box / 2) - histograms.upto(middle - box / 2)
        out -= np.log((inside / box + PRIOR) / (histograms.rows + PRIOR * 2 * LIMIT))
    out /= len(SMOOTHING)
    return out - out.min(axis=1, keepdims=True)
