"""How far a decrypted output may be from what the circuit gives in the clear."""

from __future__ import annotations

import math

import numpy as np

from fedanomaly.fhe.scoring import READING_NOISE, Shape
from fedanomaly.types import Circuit, Floats

DEVIATIONS = 8.0
"""Noise beyond so many standard deviations is not met: once in 10^15 readings."""


class Bounds:
    """Bounds of the errors of a circuit's outputs.

    Parameters
    ----------
    circuit : Circuit
        What is computed.
    shape : Shape
        How finely.

    Notes
    -----
    A form w . x + b is off by the noise of the encrypted readings, of standard
    deviation ``READING_NOISE |w|``, and by the rounding of its weights, at most
    ``|x|_1 2^-(weight_bits + 1)``. With E_r the sum of both for form r and y_r its
    value, a sum of squares s is off by at most ``sum 2 |y_r| E_r + E_r^2 <=
    2 sqrt(s sum E_r^2) + sum E_r^2`` (Cauchy and Schwarz).
    """

    def __init__(self, circuit: Circuit, shape: Shape) -> None:
        self._kind = circuit.kind
        self._starts = np.cumsum((0, *circuit.rows[:-1]))
        # sum over the forms of an output of (a_r + t)^2 = A + 2 B t + n t^2, t being the same for all.
        noise = DEVIATIONS * READING_NOISE * np.sqrt(np.square(circuit.weights).sum(axis=1))
        self._noise = noise
        self._squares = np.add.reduceat(np.square(noise), self._starts)
        self._sums = np.add.reduceat(noise, self._starts)
        self._counts = np.array(circuit.rows, dtype=np.float64)
        self._rounding = math.ldexp(1.0, -shape.weight_bits - 1)

    def of(self, readings: Floats, outputs: Floats) -> Floats:
        """Return a bound for every output.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)
            What was encrypted.
        outputs : float64 array of shape (n_events, n_outputs)
            What came back, or what should have.

        Returns
        -------
        float64 array of shape (n_events, n_outputs)
            Largest distance of the two.
        """
        rounding = self._rounding * (1.0 + np.abs(readings).sum(axis=1))[:, None]
        if self._kind == "linear":
            return self._noise + rounding
        errors = self._squares + 2.0 * rounding * self._sums + np.square(rounding) * self._counts
        # The output itself is off by the bound: that much is added under the root.
        known = np.sqrt(np.maximum(outputs, 0.0)) + np.sqrt(errors)
        return 2.0 * known * np.sqrt(errors) + errors
