"""How far a decrypted output may be from what the circuit gives in the clear."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from fedanomaly.fhe.scoring import READING_NOISE, Shape
from fedanomaly.types import Circuit, Floats, Layer
from fedanomaly.types.circuit import LAYER_BITS, rounded

DEVIATIONS = 8.0
"""Noise beyond so many standard deviations is not met: once in 10^14 readings."""


class Bounds(Protocol):
    """Bounds of the errors of a circuit's outputs."""

    def known(self, readings: Floats) -> Floats:
        """Return what follows from the readings alone.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)
            What was encrypted.

        Returns
        -------
        float64 array of shape (n_events, 1)
            For `of`.
        """
        ...

    def of(self, known: Floats, outputs: Floats) -> Floats:
        """Return a bound for every output.

        Parameters
        ----------
        known : float64 array of shape (n_events, 1)
            Of the same events.
        outputs : float64 array of shape (n_events, n_outputs)
            What came back, or what should have.

        Returns
        -------
        float64 array of shape (n_events, n_outputs)
            Largest distance of the two.
        """
        ...


def bounds_of(circuit: Circuit, shape: Shape) -> Bounds:
    """Return the bounds of a circuit that is computed with such a shape."""
    if circuit.layer is not None:
        return PolynomialBounds(circuit, circuit.layer, shape)
    return FormBounds(circuit, shape)


class FormBounds:
    """Bounds for affine forms and sums of their squares.

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
        noise = DEVIATIONS * READING_NOISE[circuit.kind] * np.sqrt(np.square(circuit.weights).sum(axis=1))
        self._noise = noise
        self._squares = np.add.reduceat(np.square(noise), self._starts)
        self._sums = np.add.reduceat(noise, self._starts)
        self._counts = np.array(circuit.rows, dtype=np.float64)
        self._rounding = math.ldexp(1.0, -shape.weight_bits - 1)

    def known(self, readings: Floats) -> Floats:
        """Return what rounding moves a form by."""
        # As a product with ones the sums take half as long.
        return self._rounding * (1.0 + np.abs(readings) @ np.ones((readings.shape[1], 1)))

    def of(self, known: Floats, outputs: Floats) -> Floats:
        """Return a bound for every output."""
        if self._kind == "linear":
            return self._noise + known
        errors = self._squares + 2.0 * known * self._sums + np.square(known) * self._counts
        # The output itself is off by the bound: that much is added under the root.
        root = np.sqrt(errors)
        return 2.0 * (np.sqrt(np.maximum(outputs, 0.0)) + root) * root + errors


class PolynomialBounds:
    """Bounds for a polynomial of degree 4.

    Parameters
    ----------
    circuit : Circuit
        What is computed.
    layer : Layer
        Its own.
    shape : Shape
        How finely.

    Notes
    -----
    Let y be the forms, r the rows and z the plain forms of an event, and s = |r|^2
    + |z|^2. Noise of the readings moves s to the first order by a normal number of
    standard deviation ``READING_NOISE |ds/dx|``; the derivative is taken, so that
    rows which depend on the same readings are not counted as if they erred apart.
    Weights are off by what rounding makes of them, which is known: form j by at
    most ``P_j = |dW_j| . |x|``. With E_j the sum of both errors of a form and R_i
    what a row is off by beyond the first order or by its own weights, s is off by
    the first order, ``sum |ds/dy_j| P_j + sum 2 |r_i| R_i + sum 2 |z_k| P_k``, and
    the squares of the errors of all rows and plain forms.
    """

    def __init__(self, circuit: Circuit, layer: Layer, shape: Shape) -> None:
        self._circuit, self._layer = circuit, layer
        self._noise = DEVIATIONS * READING_NOISE["polynomial"]
        self._mix, self._mix_error = np.abs(layer.mix).T, _moved(layer.mix, shape.weight_bits).T
        self._direct, self._direct_error = np.abs(layer.direct), _moved(layer.direct, LAYER_BITS)
        self._error, self._plain_error = _moved(circuit.weights, LAYER_BITS).T, _moved(layer.weights, LAYER_BITS).T
        self._lengths, self._plain_lengths = (
            self._noise * np.sqrt(np.square(weights).sum(axis=1)) for weights in (circuit.weights, layer.weights)
        )

    def of(self, known: Floats, outputs: Floats) -> Floats:  # noqa: ARG002 - it follows from the readings
        """Return a bound for every output."""
        return known

    def known(self, readings: Floats) -> Floats:
        """Return the bounds."""
        circuit, layer = self._circuit, self._layer
        forms = readings @ circuit.weights.T + circuit.bias
        through = forms if layer.of_forms else readings
        rows = np.square(forms) @ layer.mix.T + through * layer.direct + layer.shift
        plain = readings @ layer.weights.T + layer.bias
        by_forms = 4.0 * (rows @ layer.mix) * forms
        by_readings = 2.0 * plain @ layer.weights
        if layer.of_forms:
            by_forms += 2.0 * rows * layer.direct
        else:
            by_readings += 2.0 * rows * layer.direct
        by_readings += by_forms @ circuit.weights
        # Readings with their noise are what weights multiply.
        far = np.abs(readings) + self._noise
        rounded, plain_rounded = far @ self._error + BIAS_ERROR, far @ self._plain_error + BIAS_ERROR
        errors, plain_errors = rounded + self._lengths, plain_rounded + self._plain_lengths
        off = errors if layer.of_forms else np.full_like(readings, self._noise)
        largest = np.square(np.abs(forms) + errors)
        later = np.square(errors) @ self._mix + largest @ self._mix_error
        later += (np.abs(through) + off) * self._direct_error + BIAS_ERROR
        whole = later + 2.0 * (np.abs(forms) * errors) @ self._mix + off * self._direct
        return (
            self._noise * np.sqrt(np.square(by_readings).sum(axis=1))
            + (np.abs(by_forms) * rounded).sum(axis=1)
            + 2.0 * ((np.abs(rows) * later).sum(axis=1) + (np.abs(plain) * plain_rounded).sum(axis=1))
            + np.square(whole).sum(axis=1)
            + np.square(plain_errors).sum(axis=1)
        )[:, None]


BIAS_ERROR = 2.0**-34
"""What a polynomial's biases and shifts are rounded by, at most: their scale is that of readings times weights."""


def _moved(weights: Floats, bits: int) -> Floats:
    """Return how far rounding to so many bits moves every weight."""
    return np.abs(rounded(weights, bits) - weights)
