"""A network with one hidden layer of squares, in whole numbers.

Inputs are rows in deviations, cut at 8 of them; hidden unit k is the square of
``w_k . x + b_k``; the output layer is the linear regression of the inputs on the
hidden units, solved from sums. Whole numbers everywhere that sums are taken, so
nothing depends on the order of rows or on the machine, except the output layer
itself, which every member derives for its own use.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedanomaly.detectors.draw import Draw
from fedanomaly.detectors.mahalanobis import opened_moments
from fedanomaly.detectors.scaling import Scale, most_rows, rows_of, scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import Floats, Integers, State

REACH = 8.0
"""Inputs are cut at that many robust deviations."""
WEIGHT_BITS = 20
"""A weight of 2^20 stands for 1."""
UNIT_REACH, UNIT_BITS = 16.0, 10
"""A projection is cut at 16 before it is squared; squares are kept in steps of 2^-10."""
ITERATIONS = 40
EXACT_BITS = 52


@dataclass(frozen=True, eq=False)
class Hidden:
    """The hidden layer.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    weights : float64 array of shape (n_features, n_hidden)
        Whole numbers; a projection is ``x @ weights / 2^exponent + bias``.
    bias : float64 array of shape (n_hidden,)
        In units of 1.
    exponent : int
        Bits of the weights' fraction.
    rows : int
        Bound on the rows of one member, which the widths of sums follow.
    """

    scale: Scale
    weights: Floats
    bias: Floats
    exponent: int
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """Features and hidden units."""
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def input_bits(self) -> int:
        """Bits of an input's magnitude where it is summed."""
        return min(int(REACH * self.scale.grid).bit_length(), self.room // 2)

    @property
    def unit_bits(self) -> int:
        """Bits of a hidden unit where it is summed."""
        return min(int(UNIT_REACH**2).bit_length() + UNIT_BITS, self.room // 2)

    @property
    def room(self) -> int:
        """Bits of one row's part in a sum."""
        # n products of two such numbers stay below 2^51, sign and head-room apart.
        return 51 - self.rows.bit_length()

    def chunks(self, X: Floats) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Yield whole rows, the inputs that they are cut to, and projections, of some rows at a time."""
        most = REACH * self.scale.grid
        for rows in self.scale.chunks(X):
            inputs = np.clip(rows, -most, most)
            yield rows, inputs, np.ldexp(inputs @ self.weights, -self.exponent) + self.bias

    def summed_inputs(self, inputs: Floats) -> Floats:
        """Return inputs in the whole steps in which they are summed."""
        return np.rint(np.ldexp(inputs, -(int(REACH * self.scale.grid).bit_length() - self.input_bits)))

    def summed_units(self, units: Floats) -> Floats:
        """Return hidden units in the whole steps in which they are summed."""
        return np.rint(np.ldexp(units, -(int(UNIT_REACH**2).bit_length() + UNIT_BITS - self.unit_bits)))


def squared(projections: Floats) -> Floats:
    """Return the hidden units, in steps of 2^-10."""
    return np.rint(np.ldexp(np.square(np.clip(projections, -UNIT_REACH, UNIT_REACH)), UNIT_BITS))


def hidden_of(state: State) -> Hidden:
    """Return the hidden layer of a state."""
    scale = scale_of(state)
    weights = state["network/weights"] if "network/weights" in state else first_weights(state)
    deviation = opened_moments(state).deviation
    live = deviation > 0
    # Weights multiply inputs in deviations; here the deviation goes into them.
    room = EXACT_BITS - int(REACH * scale.grid).bit_length() - len(deviation).bit_length()
    per_step = np.where(live, weights[:, :-1] / np.where(live, deviation, 1.0), 0.0).T
    largest = float(np.abs(per_step).max(initial=0.0))
    exponent = min(room - math.frexp(largest)[1], 60) if largest else 0
    return Hidden(
        scale,
        np.rint(np.ldexp(per_step, exponent)),
        np.ldexp(weights[:, -1].astype(np.float64), -WEIGHT_BITS),
        exponent + WEIGHT_BITS,
        most_rows(state),
    )


def hidden_sums(hidden: Hidden, X: Floats) -> dict[str, Integers]:
    """Return the sums over rows of hidden units, of their products, and of unit times input."""
    d, h = hidden.shape
    units_sum = np.zeros(h, dtype=np.int64)
    squares, products = np.zeros((h, h), dtype=np.int64), np.zeros((h, d), dtype=np.int64)
    for _, inputs, projections in hidden.chunks(X):
        units, small = hidden.summed_units(squared(projections)), hidden.summed_inputs(inputs)
        units_sum += units.sum(axis=0).astype(np.int64)
        squares += (units.T @ units).astype(np.int64)
        products += (units.T @ small).astype(np.int64)
    return {"units": units_sum, "squares": squares[np.triu_indices(h)], "products": products}


@dataclass(frozen=True, eq=False)
class Network:
    """Both layers, ready to score.

    Parameters
    ----------
    hidden : Hidden
        The hidden layer.
    output : float64 array of shape (n_hidden, n_features)
        Whole numbers; an input's estimate is ``offset + units @ output * step``, in steps of the scale.
    offset, step : float64 arrays of shape (n_features,)
        Constant of every estimate, and powers of two.
    weight : float64 array of shape (n_features,)
        One by the variance of a feature's error; 0 where it does not vary.
    trained : float64 array of shape (n_features,)
        One by the variance of the feature itself: what training weighs errors by.
    """

    hidden: Hidden
    output: Floats
    offset: Floats
    step: Floats
    weight: Floats
    trained: Floats

    @classmethod
    def of(cls, state: State) -> Self:
        """Return the network whose output layer is solved from the opened sums."""
        hidden = hidden_of(state)
        moments = opened_moments(state)
        d, h = hidden.shape
        n = rows_of(state)
        to_units = 2.0 ** (int(UNIT_REACH**2).bit_length() + UNIT_BITS - hidden.unit_bits)
        to_inputs = 2.0 ** (int(REACH * hidden.scale.grid).bit_length() - hidden.input_bits)
        mean = state["network/units"] / n * to_units
        squares = np.zeros((h, h))
        squares[np.triu_indices(h)] = state["network/squares"] / n * to_units**2
        squares = np.triu(squares) + np.triu(squares, 1).T - np.outer(mean, mean)
        products = state["network/products"] / n * to_units * to_inputs - np.outer(mean, moments.mean)
        spread = np.sqrt(np.maximum(squares.diagonal(), 1.0))
        system = squares / np.outer(spread, spread) + 1e-3 * np.eye(h)
        try:
            solved = np.linalg.solve(system, products / spread[:, None]) / spread[:, None]
        except np.linalg.LinAlgError:
            raise DataError("the opened sums are those of no data", hint="a member contributed other things") from None
        room = EXACT_BITS - int(UNIT_REACH**2).bit_length() - UNIT_BITS - h.bit_length()
        largest = np.abs(solved).max(axis=0, initial=0.0)
        exponent = np.frexp(np.where(largest > 0, largest, 1.0))[1] - room
        output = np.rint(np.ldexp(solved, -exponent))
        variance = moments.deviation**2
        # What is left of a feature's variance, and no less than a hundredth of it.
        left = variance - 2 * (solved * products).sum(axis=0) + (solved * (squares @ solved)).sum(axis=0)
        error = np.maximum(left, 0.01 * variance)
        weight = np.divide(1.0, error, out=np.zeros(d), where=variance > 0)
        trained = np.divide(1.0, variance, out=np.zeros(d), where=variance > 0)
        return cls(hidden, output, moments.mean - mean @ solved, np.ldexp(1.0, exponent), weight, trained)

    def errors(self, rows: Floats, projections: Floats) -> Floats:
        """Return row less estimate, in steps of the scale."""
        return rows - self.offset - (squared(projections) @ self.output) * self.step

    def scores(self, X: Floats) -> Floats:
        """Return the sum over features of the squared error by its variance."""
        out = np.empty(len(X))
        at = 0
        for rows, _, projections in self.hidden.chunks(X):
            out[at : at + len(rows)] = self._terms(rows, projections).sum(axis=1)
            at += len(rows)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return every feature's term."""
        out = np.empty(X.shape)
        at = 0
        for rows, _, projections in self.hidden.chunks(X):
            out[at : at + len(rows)] = self._terms(rows, projections)
            at += len(rows)
        return out

    def _terms(self, rows: Floats, projections: Floats) -> Floats:
        return np.square(self.errors(rows, projections)) * self.weight


BACK_REACH, BACK_BITS = 128.0, 15
"""What comes back to a hidden unit is cut at 128 and kept in 15 bits and a sign."""
LOSS_REACH, LOSS_BITS = 1024.0, 16


def gradient_limits(hidden: Hidden) -> tuple[int, int]:
    """Return bounds of one row's part in a gradient entry, and in the loss."""
    bits = min(BACK_BITS, hidden.room // 2)
    return (1 << (bits + hidden.input_bits)) + 1, 1 << min(LOSS_BITS, hidden.room)


def gradient_sums(network: Network, X: Floats) -> dict[str, Integers]:
    """Return the sums over rows of the gradient by every weight and bias, and of the loss.

    Only signs of the gradient and the fall of the loss are used, so units are free.
    """
    hidden = network.hidden
    d, h = hidden.shape
    bits = min(BACK_BITS, hidden.room // 2)
    _, loss_most = gradient_limits(hidden)
    # Whole errors times whole outputs keep the way back exact.
    room = EXACT_BITS - d.bit_length() - 24
    back = network.output * network.step * network.trained * hidden.scale.grid * (1 << UNIT_BITS)
    largest = float(np.abs(back).max(initial=0.0))
    exponent = room - math.frexp(largest)[1] if largest else 0
    back = np.rint(np.ldexp(back, exponent)).T
    sums, loss = np.zeros((h, d + 1), dtype=np.int64), 0
    for _, inputs, projections in hidden.chunks(X):
        errors = network.errors(inputs, projections)
        lost = (np.square(errors) * network.trained).sum(axis=1)
        loss += int(np.rint(np.minimum(lost / LOSS_REACH, 1.0) * loss_most).sum())
        whole = np.clip(np.rint(errors), -(1 << 24), 1 << 24)
        returned = np.ldexp(whole @ back, -exponent) * np.clip(projections, -UNIT_REACH, UNIT_REACH)
        cut = np.rint(np.clip(returned / BACK_REACH, -1.0, 1.0) * (1 << bits))
        sums[:, :d] -= (cut.T @ hidden.summed_inputs(inputs)).astype(np.int64)
        sums[:, d] -= cut.sum(axis=0).astype(np.int64)
    return {"gradient": sums, "loss": np.array([loss])}


def first_weights(state: State) -> Integers:
    """Return the leading principal directions, whitened, with biases of 2.

    The square of a projection plus 2 is nearly linear where most rows are, and
    bends outside.

    Subspace iteration on the correlations, all in integers of 2^-20: a linear
    algebra library would give other bits, or other signs, on other machines.

    Returns
    -------
    int64 array of shape (n_hidden, n_features + 1)
        The last column holds the biases.
    """
    moments = opened_moments(state)
    d = len(moments.mean)
    live = moments.deviation > 0
    correlation = np.rint(np.ldexp(np.clip(moments.correlation, -1.0, 1.0), WEIGHT_BITS)).astype(np.int64)
    correlation[~live] = correlation[:, ~live] = 0
    wanted = state.params["n_hidden"]
    h = max(1, min(min(-(-int(live.sum()) // 3), 32) if wanted is None else int(wanted), int(live.sum())))
    basis = np.stack([Draw("autoencoder directions", at).normals(d) for at in range(h)]).astype(np.int64)
    basis = _orthonormal(basis << 11)
    for _ in range(ITERATIONS):
        basis = _orthonormal((basis @ correlation) >> WEIGHT_BITS)
    along = ((basis @ correlation) >> WEIGHT_BITS) * basis
    weights = np.empty((h, d + 1), dtype=np.int64)
    for at, variance in enumerate((along.sum(axis=1) >> WEIGHT_BITS).tolist()):
        deviation = math.isqrt(max(variance, 1 << (WEIGHT_BITS - 7)) << WEIGHT_BITS)
        weights[at, :d] = (basis[at] << WEIGHT_BITS) // deviation
    weights[:, d] = 2 << WEIGHT_BITS
    return weights


def _orthonormal(rows: Integers) -> Integers:
    """Return orthogonal rows of length 2^20 by Gram and Schmidt, in integers."""
    out: list[Integers] = []
    for row in rows:
        # Scaled to 24 bits first: products of two then sum to less than 2^63 over 2,000 columns.
        left = _of_bits(row)
        for other in out:
            left = left - (((left @ other) >> WEIGHT_BITS) * other >> WEIGHT_BITS)
        left = _of_bits(left)
        length = math.isqrt(int(left @ left))
        out.append((left << WEIGHT_BITS) // length if length else left)
    return np.stack(out)


def _of_bits(row: Integers, bits: int = 23) -> Integers:
    most = int(np.abs(row).max(initial=0)).bit_length()
    return row >> (most - bits) if most > bits else row << (bits - most) if most else row
