"""Events that are encrypted alike have one score: noise must not put them in an order.

A table of flows or payments repeats itself, and a detector gives equal events
equal scores. Ciphertexts of equal events carry different noise, so what comes back
differs in the last digits, and whoever ranks events by it ranks equal ones by
chance: of the 11,183 rows of mammography in ADBench 3,329 are the same, and the
AUROC moved by a thousandth. What their bounds have in common holds for all of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import WrongAnswerError
from fedanomaly.scoring.scored import Scored
from fedanomaly.types import Floats, Integers

EXACT_BITS = 53
"""Whole numbers up to 2^53 are added in float64 without rounding, in any order."""
KEY_BITS = 64
"""Two events that differ have the same keys with a probability of at most 2^-64: a bound of a score fails sooner."""


class Keys:
    """Random sums of an event's readings: the same for the same readings, others for others.

    Parameters
    ----------
    steps : float64 array of shape (n_features,)
        Powers of two; times these, readings are whole numbers.
    most : int
        Largest magnitude of these.
    """

    def __init__(self, steps: Floats, most: int) -> None:
        bits = EXACT_BITS - math.ceil(math.log2(most)) - math.ceil(math.log2(len(steps)))
        self.count = math.ceil(KEY_BITS / bits)
        # Drawn anew for every scorer: nobody can make events whose keys are those of others.
        self._weights = np.random.default_rng().integers(0, 1 << bits, (self.count, len(steps))) * steps

    def of(self, readings: Floats) -> Floats:
        """Return the keys of readings.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)
            What is encrypted.

        Returns
        -------
        float64 array of shape (n_keys, n_events)
        """
        out = np.empty((self.count, len(readings)))
        for weights, keys in zip(self._weights, out, strict=True):
            np.dot(readings, weights, out=keys)  # takes less than one product of all
        return out


def levelled(scored: Scored, keys: Floats) -> Scored:
    """Return scores that are the same for all events with the same keys.

    Parameters
    ----------
    scored : Scored
        Of all events of a call.
    keys : float64 array of shape (n_keys, n_events)
        Of their readings.

    Returns
    -------
    Scored
        With the means of the scores, and what the bounds have in common.

    Raises
    ------
    WrongAnswerError
        If bounds of events that are the same have nothing in common.
    """
    ordered = np.sort(keys[0])
    if not (ordered[1:] == ordered[:-1]).any():
        return scored
    order = np.argsort(keys[0])
    differs = _differs(keys, order)
    if (differs.any(axis=0) & ~differs[0]).any():  # first keys that coincide by chance could keep equal events apart
        order = np.lexsort(keys[::-1])
        differs = _differs(keys, order)
    first = np.append(True, differs.any(axis=0))
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(order))
    lower = np.maximum.reduceat(scored.lower[order], starts)
    upper = np.minimum.reduceat(scored.upper[order], starts)
    if (lower > upper).any():
        raise WrongAnswerError("the service gave scores to equal events that cannot both be this model's")
    mean = np.add.reduceat(scored.scores[order], starts) / counts
    out = replace(scored, scores=scored.scores.copy(), lower=scored.lower.copy(), upper=scored.upper.copy())
    for to, common in ((out.scores, np.clip(mean, lower, upper)), (out.lower, lower), (out.upper, upper)):
        to[order] = np.repeat(common, counts)
    return out


def _differs(keys: Floats, order: Integers) -> npt.NDArray[np.bool_]:
    """Return whether each key of an event is another one than that of the event before it in an order."""
    ordered = keys[:, order]
    return ordered[:, 1:] != ordered[:, :-1]
