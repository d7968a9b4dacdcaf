"""Events of a batch that are scored locally as well, to see whether the service tells the truth.

Which ones is drawn afresh for every batch and never leaves this machine, and a
ciphertext does not show where they are. So a service that falsifies m of n
events without knowing them is caught with probability 1 - C(n - m, c) / C(n, c)
by c canaries; one that falsifies all of them, always.
"""

from __future__ import annotations

import secrets

import numpy as np

from fedanomaly.errors import WrongAnswerError
from fedanomaly.scoring.bounds import Bounds
from fedanomaly.types import Circuit, Floats, Integers

CANARIES = 8


def drawn(events: int, canaries: int) -> Integers:
    """Return the places of the canaries among the events of a batch, from the system's randomness."""
    places = secrets.SystemRandom().sample(range(events), min(canaries, events))
    return np.array(places, dtype=np.int64)


def check(circuit: Circuit, bounds: Bounds, readings: Floats, outputs: Floats, places: Integers) -> None:
    """Hold the outputs of some events against those that are computed here.

    Raises
    ------
    WrongAnswerError
        If one is farther off than noise and rounding can explain.
    """
    wanted = circuit.evaluate(readings[places])
    if (np.abs(outputs[places] - wanted) > bounds.of(readings[places], wanted)).any():
        raise WrongAnswerError("the service's scores are not those of this model")
