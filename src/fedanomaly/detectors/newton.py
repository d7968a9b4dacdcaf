"""Newton's method on a logistic loss, as rounds."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedanomaly.detectors.odds import STEPS, places, prior, probabilities, surprise
from fedanomaly.detectors.progress import Progress, Progressing
from fedanomaly.detectors.scaling import most_rows, rows_of, scale_of
from fedanomaly.detectors.stages import LabelledStage
from fedanomaly.errors import DataError
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

EVALUATIONS = 8
ENOUGH = 1e-6
"""The search ends once a step lowers the loss by less than that share of it."""
WEIGHT_BITS = 20
"""Bits of a weight behind the point; of 1,024 weights times readings every sum stays below 2^53."""
MOST_WEIGHT = 64 << WEIGHT_BITS
MOST_LOSS = 64
"""A row's loss counts up to that."""
ROOM = 51
"""Bits of a member's sum: with its sign and 250 members a field has 60."""


class Newton(LabelledStage, Progressing):
    """Steps ``newton/classes`` and ``newton/0`` to ``newton/7``.

    Each opens loss, gradient and Hessian at the weights that follow from what was
    opened before. Where a step has raised the loss, half of it is tried.
    """

    prefix = "newton"

    def next_step(self, state: State) -> Step | None:
        """Return the next step, or None once the weights are found."""
        if "newton/weights" in state:
            return None
        n = most_rows(state)
        if "newton/anomalies" not in state:
            anomalies = FieldSpec(name="anomalies", shape=(1,), lower=0, upper=n)
            return Step(name="newton/classes", fields=(anomalies,))
        size, units = int(state["features"][0]) + 1, _Units.of(state)
        limit = scale_of(state).limit
        most = n * (limit << units.gradient)
        # sqrt(p (1 - p)) is at most 1/2.
        largest = n * (limit << units.root) ** 2 // 4
        fields = (
            FieldSpec(name="loss", shape=(1,), lower=0, upper=n * (MOST_LOSS << units.loss)),
            FieldSpec(name="gradient", shape=(size,), lower=-most, upper=most),
            FieldSpec(name="hessian", shape=(size * (size + 1) // 2,), lower=-largest, upper=largest),
        )
        return Step(name=f"newton/{_turn(state)}", fields=fields)

    def local(self, step: Step, X: Floats, state: State, y: Integers) -> Statistics:
        """Return the number of anomalies, or loss, gradient and Hessian over this member's rows."""
        if step.name == "newton/classes":
            return {"anomalies": np.array([y.sum()])}
        scale, units, line = scale_of(state), _Units.of(state), line_of(state, "newton/try")
        size = X.shape[1] + 1
        loss, at = 0, 0
        gradient, hessian = np.zeros(size, dtype=np.int64), np.zeros((size, size), dtype=np.int64)
        for rows in scale.chunks(X):
            odd = y[at : at + len(rows)]
            at += len(rows)
            odds = line.odds(rows)
            p = probabilities()[places(np.rint(np.clip(odds, -MOST_LOSS, MOST_LOSS) * STEPS).astype(np.int64))]
            # The first column is 1, in steps.
            full = np.concatenate([np.full((len(rows), 1), float(scale.grid)), rows], axis=1)
            missed = np.minimum(surprise(np.where(odd == 1, -odds, odds)), MOST_LOSS)
            loss += int(np.rint(np.ldexp(missed, units.loss)).sum())
            gradient += np.rint(np.ldexp((p - odd)[:, None] * full, units.gradient)).sum(axis=0).astype(np.int64)
            # Sums of whole numbers below 2^53 are exact: 2^10 rows of products below 2^40.
            root = np.rint(np.ldexp(np.sqrt(p * (1.0 - p))[:, None] * full, units.root))
            hessian += (root.T @ root).astype(np.int64)
        return {"loss": np.array([loss]), "gradient": gradient, "hessian": hessian[np.triu_indices(size)]}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the best weights so far, and those to try next."""
        if step.name == "newton/classes":
            anomalies, n = int(total["anomalies"][0]), rows_of(state)
            if not 0 < anomalies < n:
                raise DataError("the members' labels hold one class only", hint="0 is normal, 1 an anomaly")
            start = np.zeros(int(state["features"][0]) + 1, dtype=np.int64)
            start[0] = prior(anomalies, n) << WEIGHT_BITS >> (STEPS.bit_length() - 1)
            return state.with_arrays(**{"newton/anomalies": total["anomalies"], "newton/try": start})
        units, turn, weights = _Units.of(state), _turn(state), state["newton/try"]
        loss = max(int(total["loss"][0]), 0)
        penalised = _penalised(loss, weights, state, units)
        best = _penalised(int(state["newton/loss"][0]), state["newton/best"], state, units) if turn else math.inf
        kept = {name: array for name, array in state.arrays.items() if not name.startswith("newton/")}
        better = penalised < best
        done = better and turn > 0 and best - penalised <= ENOUGH * best
        arrays = {"newton/anomalies": state["newton/anomalies"]}
        if done or turn + 1 == EVALUATIONS:
            arrays["newton/weights"] = weights if better else state["newton/best"]
        else:
            step_to = _after(total, weights, state, units) if better else (weights + state["newton/best"]) // 2
            arrays |= {
                "newton/turn": np.array([turn + 1]),
                "newton/try": step_to,
                "newton/best": weights if better else state["newton/best"],
                "newton/loss": np.array([loss]) if better else state["newton/loss"],
            }
        return State(state.detector, state.version, state.params, {**kept, **arrays})

    def progress(self, total: Total, state: State) -> Progress | None:
        """Return the mean loss of a row at the weights that the round tried."""
        if "loss" not in total.integers:
            return None
        return Progress("mean loss", math.ldexp(int(total["loss"][0]), -_Units.of(state).loss) / rows_of(state))


@dataclass(frozen=True, eq=False)
class Line:
    """Log-odds that are linear in the standardised readings.

    Parameters
    ----------
    weights : float64 array of shape (n_features + 1,)
        Whole numbers; that of no feature comes first.
    grid : int
        Steps of a reading in one width.
    """

    weights: Floats
    grid: int

    @property
    def unit(self) -> float:
        """Log-odds of one step of a reading times one step of a weight; a power of two."""
        return 2.0**-WEIGHT_BITS / self.grid

    def odds(self, rows: Floats) -> Floats:
        """Return the log-odds of standardised rows: sums of whole numbers below 2^53, hence exact."""
        return (rows @ self.weights[1:] + self.weights[0] * self.grid) * self.unit


def line_of(state: State, name: str) -> Line:
    """Return the line of the weights that a state holds under a name."""
    return Line(state[name].astype(np.float64), scale_of(state).grid)


@dataclass(frozen=True)
class _Units:
    """Powers of two by which a row's terms are multiplied before they are rounded."""

    loss: int
    gradient: int
    root: int

    @classmethod
    def of(cls, state: State) -> Self:
        bits = ROOM - most_rows(state).bit_length()
        limit = scale_of(state).limit.bit_length()
        return cls(
            loss=min(bits - MOST_LOSS.bit_length() - 1, 20),
            gradient=min(bits - limit + 1, 12),
            root=min(bits // 2, 20) - limit + 2,
        )


def _turn(state: State) -> int:
    return int(state["newton/turn"][0]) if "newton/turn" in state else 0


def _penalised(loss: int, weights: Integers, state: State, units: _Units) -> float:
    squares = math.fsum(np.square(np.ldexp(weights[1:].astype(np.float64), -WEIGHT_BITS)))
    return math.ldexp(loss, -units.loss) + float(state.params["l2"]) / 2 * squares


def _after(total: Total, weights: Integers, state: State, units: _Units) -> Integers:
    """Return the weights after a Newton step; entry by entry, so the same on every machine."""
    size, l2, grid = len(weights), float(state.params["l2"]), scale_of(state).grid
    penalty = np.full(size, l2)
    penalty[0] = 0.0
    now = np.ldexp(weights.astype(np.float64), -WEIGHT_BITS)
    gradient = np.ldexp(total["gradient"].astype(np.float64) / grid, -units.gradient) + penalty * now
    hessian = np.zeros((size, size))
    hessian[np.triu_indices(size)] = np.ldexp(total["hessian"].astype(np.float64) / grid**2, -2 * units.root)
    hessian += np.triu(hessian, 1).T
    hessian[np.diag_indices(size)] += penalty
    step = _solve(hessian, gradient, least=min(l2, 1.0) * 1e-3)
    moved = np.nan_to_num(np.ldexp(now - step, WEIGHT_BITS), nan=0.0)
    return np.rint(np.clip(moved, -MOST_WEIGHT, MOST_WEIGHT)).astype(np.int64)


def _solve(matrix: Floats, right: Floats, least: float) -> Floats:
    """Return x with ``matrix @ x = right`` by elimination; a pivot is at least `least`.

    Libraries of linear algebra differ from machine to machine in the last bit,
    and members must agree on the weights. Here every entry is an IEEE product or
    difference of its own.
    """
    a, x = matrix.copy(), right.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for at in range(len(a)):
            pivot = max(float(a[at, at]), least)
            factor = a[at + 1 :, at] / pivot
            a[at + 1 :, at + 1 :] -= factor[:, None] * a[at, at + 1 :]
            x[at + 1 :] -= factor * x[at]
        for at in range(len(a) - 1, -1, -1):
            x[at] /= max(float(a[at, at]), least)
            x[:at] -= a[:at, at] * x[at]
    return x
