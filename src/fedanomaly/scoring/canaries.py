"""Events of a batch that are scored locally as well, to see whether the service tells the truth.

Which ones is drawn afresh for every batch and never leaves this machine, and a
ciphertext does not show where they are. So a service that falsifies m of n
events without knowing them is missed with probability C(n - m, c) / C(n, c) by
c canaries; one that falsifies all of them, never. (In a batch of more than half
its places the two halves have one each at least; for m spread at random that
changes nothing to speak of.)
"""

from __future__ import annotations

import secrets

import numpy as np

from fedanomaly.scoring.bounds import Bounds
from fedanomaly.types import Circuit, Floats, Integers

CANARIES = 8


def drawn(events: int, canaries: int, half: int) -> Integers:
    """Return the places of the canaries among the events of a batch, from the system's randomness.

    Parameters
    ----------
    events : int
        Events of the batch.
    canaries : int
        How many, if there are as many events.
    half : int
        Events from that place on share slots with those before. Scores that left
        the range are off in one of the two halves at least, so each has a canary.
    """
    system = secrets.SystemRandom()
    first = [system.randrange(0, min(half, events))]
    if canaries > 1 and events > half:
        first.append(system.randrange(half, events))
    rest = [place for place in system.sample(range(events), min(canaries, events)) if place not in first]
    return np.array((first + rest)[: min(canaries, events)], dtype=np.int64)


def agree(circuit: Circuit, bounds: Bounds, readings: Floats, outputs: Floats, places: Integers) -> bool:
    """Tell whether some outputs are no farther from what is computed here than noise and rounding explain.

    Parameters
    ----------
    circuit : Circuit
        What the service should have computed.
    bounds : Bounds
        Of its outputs.
    readings : float64 array of shape (n_events, n_features)
        What was encrypted.
    outputs : float64 array of shape (n_events, n_outputs)
        What came back.
    places : int64 array of shape (n_canaries,)
        Which events to look at.
    """
    wanted = circuit.evaluate(readings[places])
    return bool((np.abs(outputs[places] - wanted) <= bounds.of(readings[places], wanted)).all())
