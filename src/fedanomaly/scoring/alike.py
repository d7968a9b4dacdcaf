"""Events that are encrypted alike have one score: noise must not put them in an order.

A table of flows or payments repeats itself, and a detector gives equal events
equal scores. Ciphertexts of equal events carry different noise, so what comes back
differs in the last digits, and whoever ranks events by it ranks equal ones by
chance: of the 11,183 rows of mammography in ADBench 3,329 are the same, and the
AUROC moved by a thousandth. What their bounds have in common holds for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fedanomaly.errors import WrongAnswerError
from fedanomaly.scoring.scored import Scored
from fedanomaly.types import Floats, Integers

EXACT_BITS = 53
"""Whole numbers below 2^53 are added in float64 without rounding, in any order."""
PIECE = 1 << 12
"""Events that are looked at again at a time."""


class Keys:
    """One number for an event: the same for the same readings, nearly always another for others.

    Parameters
    ----------
    steps : float64 array of shape (n_features,)
        Powers of two; times these, readings are whole numbers.
    most : int
        Largest magnitude of these.
    """

    def __init__(self, steps: Floats, most: int) -> None:
        bits = EXACT_BITS - 1 - math.ceil(math.log2(most)) - math.ceil(math.log2(len(steps)))
        # Which ones does not matter: events are compared before they are taken for the same.
        self._weights = np.random.default_rng(0).integers(1, 1 << bits, len(steps)) * steps

    def of(self, readings: Floats) -> Floats:
        """Return the keys of readings.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)
            What is encrypted.

        Returns
        -------
        float64 array of shape (n_events,)
        """
        return readings @ self._weights


def levelled(scored: Scored, keys: Floats, readings: Callable[[Integers], Floats]) -> Scored:
    """Return scores that are the same for all events which were encrypted alike.

    Parameters
    ----------
    scored : Scored
        Of all events of a call.
    keys : float64 array of shape (n_events,)
        Of their readings.
    readings : callable
        Returns what was encrypted of the events in these places.

    Returns
    -------
    Scored
        With the means of the scores, and what the bounds have in common.

    Raises
    ------
    WrongAnswerError
        If bounds of events that are the same have nothing in common.
    """
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return scored
    order, first = _runs(keys)
    for start in range(1, len(order), PIECE):
        rows = readings(order[start - 1 : start + PIECE])
        first[start : start + PIECE] |= (rows[1:] != rows[:-1]).any(axis=1)
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


def _runs(keys: Floats) -> tuple[Integers, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return the places of all events that share a key, one key after the other, and which are the first of theirs."""
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.ones(len(order) + 1, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:-1])
    shared = ~(first[:-1] & first[1:])
    return order[shared], first[:-1][shared]
