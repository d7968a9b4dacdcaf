"""From log-odds to probabilities and scores, the same to the last bit for a row alone and among others.

Log-odds are whole steps, so probabilities come from one table and what a row
adds to a sum is a whole number that follows from the row and the state.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import expit

from fedanomaly.types import Floats, Integers

STEPS = 1 << 16
"""Steps of log-odds in 1."""
REACH = 32
"""The table ends that far from 0; beyond, a probability is 0 or 1 for all that a sum shows."""
_FINE = 1 << 10
"""Entries of the table for log-odds of 1."""


def prior(anomalies: int, rows: int) -> int:
    """Return the log-odds of the share of anomalies, in steps."""
    # Logarithms differ in the last bit from machine to machine; a step is 2^36 times that.
    return round(float(np.log(anomalies / (rows - anomalies))) * STEPS)


def places(odds: Integers) -> Integers:
    """Return where log-odds, in steps, are in the tables."""
    step = STEPS // _FINE
    return np.clip((odds + step // 2) // step, -REACH * _FINE, REACH * _FINE) + REACH * _FINE


@lru_cache(maxsize=4)
def probabilities() -> Floats:
    """Return the probability at every place."""
    table = expit(np.arange(-REACH * _FINE, REACH * _FINE + 1) / _FINE)
    table.flags.writeable = False
    return table


def surprise(odds: Floats) -> Floats:
    """Return ``log(1 + exp(odds))``: minus the logarithm of the probability of a normal row; high is anomalous.

    Parameters
    ----------
    odds : float64 array of shape (n_samples,)
        Log-odds of an anomaly.
    """
    return np.logaddexp(0.0, odds)


def shared(parts: Floats, start: float, odds: Floats) -> Floats:
    """Return every feature's share of the score.

    What lies between the score of `start` and that of `odds` is shared like the
    log-odds; the score of `start` equally.

    Parameters
    ----------
    parts : float64 array of shape (n_samples, n_features)
        What every feature adds to the log-odds; each row sums to ``odds - start``.
    start : float
        Log-odds before any feature was looked at.
    odds : float64 array of shape (n_samples,)
        Log-odds of every row.
    """
    still = np.abs(odds - start) < 1e-9
    score, first = surprise(odds), float(surprise(np.array([start]))[0])
    slope = np.where(still, expit(start), (score - first) / np.where(still, 1.0, odds - start))
    return parts * slope[:, None] + first / parts.shape[1]
