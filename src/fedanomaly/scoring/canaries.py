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
from dataclasses import dataclass
from typing import Self

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


@dataclass(frozen=True, eq=False)
class Canaries:
    """Some events of a batch, and what the service should give for them.

    Parameters
    ----------
    places : int64 array of shape (n_canaries,)
        Where they are.
    wanted : float64 array of shape (n_canaries, n_outputs)
        Their outputs as computed here.
    off : float64 array of shape (n_canaries, n_outputs)
        How far from that noise and rounding explain.
    """

    places: Integers
    wanted: Floats
    off: Floats

    @classmethod
    def of(cls, circuit: Circuit, bounds: Bounds, readings: Floats, places: Integers) -> Self:
        """Compute them from a batch of readings, shape (n_events, n_features)."""
        wanted = circuit.evaluate(readings[places])
        return cls(places, wanted, bounds.of(bounds.known(readings[places]), wanted))

    def agree(self, outputs: Floats) -> bool:
        """Tell whether the outputs of a batch, shape (n_events, n_outputs), are right in these places."""
        return bool((np.abs(outputs[self.places] - self.wanted) <= self.off).all())
