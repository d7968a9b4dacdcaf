"""A trained network whose score is a polynomial of the readings, with nothing cut on the way."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from fedanomaly.detectors.network import EXACT_BITS, REACH, UNIT_BITS, Network
from fedanomaly.detectors.scaling import Scale
from fedanomaly.types import Circuit, Floats, Layer, State
from fedanomaly.types.circuit import LAYER_BITS, MAX_READING, MIX_BITS, rounded

BITS = LAYER_BITS - int(math.log2(MAX_READING / REACH))
"""Bits of weights: readings end at 8, so they are encrypted eight times as large, and weights of them an eighth."""


@dataclass(frozen=True, eq=False)
class PolynomialNetwork:
    """Both layers, ready to score rows that are cut at 8 deviations.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    polynomial : Circuit
        Its weights are rounded as a service computes with them, so that on
        ciphertexts nothing but noise is added.
    layer : Layer
        Its own.
    bits : int
        Squares of projections are whole steps of ``2^-bits``, far finer than noise:
        their sums are then exact, in any order.
    """

    scale: Scale
    polynomial: Circuit
    layer: Layer
    bits: int
    outputs_suffice: ClassVar[bool] = True

    @classmethod
    def of(cls, state: State) -> Self:
        """Return the network of a state."""
        network = Network.of(state)
        hidden = network.hidden
        scale, root = hidden.scale, np.sqrt(network.weight)
        weights = rounded(np.ldexp(hidden.weights.T * scale.grid, -hidden.exponent), BITS)
        mix = rounded(-np.ldexp((network.output * network.step * root).T, UNIT_BITS), MIX_BITS)
        direct, none = rounded(root * scale.grid, BITS), np.empty((0, len(root)))
        layer = Layer(mix, direct, -network.offset * root, of_forms=False, weights=none, bias=np.empty(0))
        most = (
            np.square(np.abs(weights).sum(axis=1) * REACH + np.abs(hidden.bias)).max() * np.abs(mix).sum(axis=1).max()
        )
        bits = EXACT_BITS - MIX_BITS - math.frexp(max(float(most), 1.0))[1]
        return cls(scale, Circuit("polynomial", (len(weights),), weights, hidden.bias, layer, reach=REACH), layer, bits)

    def scores(self, X: Floats) -> Floats:
        """Return the sum over features of the squared error by its variance."""
        out = np.empty(len(X))
        at = 0
        for terms in self._terms(X):
            out[at : at + len(terms)] = terms.sum(axis=1)
            at += len(terms)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return every feature's term."""
        out = np.empty(X.shape)
        at = 0
        for terms in self._terms(X):
            out[at : at + len(terms)] = terms
            at += len(terms)
        return out

    def circuit(self) -> Circuit:
        """Return the polynomial of readings in robust deviations."""
        return self.polynomial

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations, cut at 8."""
        return np.clip(self.scale.readings(X), -REACH, REACH)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:  # noqa: ARG002 - the output is the score
        """Return the scores."""
        return np.maximum(outputs[:, 0], 0.0)

    def _terms(self, X: Floats) -> Iterator[Floats]:
        layer = self.layer
        for steps in self.scale.chunks(X):
            rows = np.clip(steps / self.scale.grid, -REACH, REACH)
            forms = rows @ self.polynomial.weights.T + self.polynomial.bias
            squares = np.ldexp(np.rint(np.ldexp(np.square(forms), self.bits)), -self.bits)
            yield np.square(squares @ layer.mix.T + rows * layer.direct + layer.shift)
