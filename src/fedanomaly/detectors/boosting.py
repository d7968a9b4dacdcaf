"""Boosting as rounds: the levels of several trees in each, so that every round ends a tree."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from fedanomaly.detectors.boosted_trees import NEVER, Bytes, Splits, Trees, best_splits
from fedanomaly.detectors.class_bins import bins_of
from fedanomaly.detectors.odds import STEPS, places, prior, probabilities
from fedanomaly.detectors.progress import Progress, Progressing
from fedanomaly.detectors.scaling import most_rows, rows_of
from fedanomaly.detectors.stages import LabelledStage
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

UNIT = 1 << 16
"""Steps of a row's gradient in 1: sums of 2^32 rows take 49 bits, sign included."""
MOST_ODDS = 64 * STEPS
"""No node adds more than that, whatever sums were opened."""


class Boosting(LabelledStage, Progressing):
    """Steps ``boost/0``, ``boost/1`` and so on: gradient and Hessian sums of the nodes that are to be split.

    In round r tree r begins at its root, and the trees before it grow one level
    each. A tree learns from the gradients at the trees before it, as far as
    those had grown when it began. Of two children only the lighter is counted;
    the other is what is left of the parent.
    """

    prefix = "boost"

    def next_step(self, state: State) -> Step | None:
        """Return the sums of the next levels, or None once every tree is grown."""
        if "boost/value" in state and "boost/turn" not in state:
            return None
        flight = Flight.of(state)
        shape = (flight.counted, int(state["bins/number"].sum()))
        bound = most_rows(state) * UNIT
        gradients = FieldSpec(name="gradients", shape=shape, lower=-bound, upper=bound)
        hessians = FieldSpec(name="hessians", shape=shape, lower=0, upper=bound)
        return Step(name=f"boost/{flight.turn}", fields=(gradients, hessians))

    def local(self, step: Step, X: Floats, state: State, y: Integers) -> Statistics:
        """Return this member's sums."""
        flight, grown, bins = Flight.of(state), Grown.of(state), bins_of(state)
        trees = grown.trees(min(flight.turn, flight.last))
        start = prior(int(state["bins/anomalies"][0]), rows_of(state))
        sums = np.zeros((2, *step.fields[0].shape))
        width = sums.shape[2]
        for here, binned in bins.chunks(X):
            leaves = trees.leaves(binned)
            slot = 0
            for (tree, level), odds in zip(flight.nodes, _odds(trees, leaves, flight, start), strict=True):
                place, derivatives = binned + bins.first[:, None], _derivatives(odds, y[here])
                if level:
                    node = leaves[tree].astype(np.intp) >> (flight.depth - level)
                    rows = np.flatnonzero(grown.lighter[tree, (1 << level) - 1 + node])
                    place = place[:, rows] + (node[rows] >> 1) * width
                    derivatives = derivatives[:, rows]
                slots = slice(slot, slot + _slots(level))
                slot = slots.stop
                for total, weights in zip(sums, derivatives, strict=True):
                    # Sums of whole numbers below 2^53 are exact.
                    every = np.broadcast_to(weights, place.shape).ravel()
                    counted = np.bincount(place.ravel(), every, minlength=_slots(level) * width)
                    total[slots] += counted.reshape(-1, width)
        gradients, hessians = sums.astype(np.int64)
        return {"gradients": gradients, "hessians": hessians}

    def merge(self, step: Step, total: Total, state: State) -> State:  # noqa: ARG002 - the flight follows from the state
        """Split the nodes; keep what they add, and the sums that the next level needs."""
        flight, grown = Flight.of(state), Grown.of(state)
        counted = np.stack([total["gradients"], total["hessians"]], axis=1)
        sums = flight.whole(counted, grown)
        scale = {"l2": float(state.params["l2"]) * UNIT, "least": float(state.params["min_weight"]) * UNIT}
        splits = best_splits(sums, state["bins/number"], **scale)
        last, kept, at = flight.last, [], 0
        for tree, level in flight.nodes:
            nodes = slice(at, at + (1 << level))
            at = nodes.stop
            if level == 0 and not splits.found[nodes].any():
                # Its root finds nothing to split, so neither would that of a further tree.
                last = tree
                continue
            grown.split(tree, level, splits.part(nodes), rate=float(state.params["learning_rate"]), l2=scale["l2"])
            if level + 1 < flight.depth:
                kept.append(sums[nodes])
        arrays = {"boost/feature": grown.feature, "boost/cut": grown.cut, "boost/value": grown.value}
        if kept or flight.turn + 1 < last:
            arrays["boost/turn"] = np.array([flight.turn + 1])
            arrays["boost/last"] = np.array([last])
            arrays["boost/lighter"] = grown.lighter
            arrays["boost/sums"] = np.concatenate([*kept, sums[:0]])
        others = {name: array for name, array in state.arrays.items() if not name.startswith("boost/")}
        return State(state.detector, state.version, state.params, {**others, **arrays})

    def progress(self, total: Total, state: State) -> Progress | None:
        """Return the mean p (1 - p) of all rows at the tree that begins: 0 where all are told apart."""
        flight = Flight.of(state)
        if flight.turn >= flight.last:
            return None
        # Every row lies in one cell of the first feature; the root comes last.
        rows = float(total["hessians"][-1, : int(state["bins/number"][0])].sum()) / UNIT
        return Progress("mean p (1 - p)", rows / rows_of(state))


@dataclass(frozen=True, eq=False)
class Flight:
    """The trees that grow in one round.

    Parameters
    ----------
    turn : int
        Number of the round.
    depth : int
        Levels that every tree gets.
    last : int
        Number of trees, once all are grown.
    sums : int64 array of shape (n_parents, 2, n_bins)
        Gradient and Hessian sums of the parents of all nodes that are not roots, oldest tree first.
    """

    turn: int
    depth: int
    last: int
    sums: Integers

    @classmethod
    def of(cls, state: State) -> Self:
        """Return the flight that follows from a state."""
        depth = int(state.params["depth"])
        if "boost/turn" not in state:
            return cls(0, depth, int(state.params["n_trees"]), np.zeros((0, 2, 0), dtype=np.int64))
        return cls(int(state["boost/turn"][0]), depth, int(state["boost/last"][0]), state["boost/sums"])

    @property
    def nodes(self) -> list[tuple[int, int]]:
        """Every tree and the level that it splits now, oldest tree first."""
        first = max(self.turn - self.depth + 1, 0)
        return [(tree, self.turn - tree) for tree in range(first, min(self.turn + 1, self.last))]

    @property
    def counted(self) -> int:
        """Nodes whose sums are opened."""
        return sum(_slots(level) for _, level in self.nodes)

    def whole(self, counted: Integers, grown: Grown) -> Integers:
        """Return the sums of all nodes: what was counted, and what is left of their parents.

        Parameters
        ----------
        counted : int64 array of shape (n_counted, 2, n_bins)
            Opened sums.
        grown : Grown
            Tells which children were counted.
        """
        out, at, parent = [], 0, 0
        for tree, level in self.nodes:
            here = counted[at : at + _slots(level)]
            at += len(here)
            if level == 0:
                out.append(here)
                continue
            rest = self.sums[parent : parent + len(here)] - here
            parent += len(here)
            light = grown.lighter[tree, (1 << level) - 1 : (2 << level) - 1].reshape(-1, 2, 1, 1)
            both = np.where(light == 1, here[:, None], rest[:, None])
            # All rows of a node that was not split are those of its left child; none were counted.
            both[:, 1] *= light.any(axis=1)
            out.append(both.reshape(-1, *here.shape[1:]))
        return np.concatenate(out)


@dataclass(frozen=True, eq=False)
class Grown:
    """All trees of a job, as far as they are grown; changed in place while a round is merged.

    Parameters
    ----------
    feature, cut, value : int64 arrays
        As in `Trees`.
    lighter : int64 array of shape (n_trees, 2^depth - 1)
        1 at the child of a split node that has the smaller Hessian sum.
    """

    feature: Integers
    cut: Integers
    value: Integers
    lighter: Integers

    @classmethod
    def of(cls, state: State) -> Self:
        """Return what a state has; writable."""
        if "boost/turn" in state:
            return cls(*(np.array(state[f"boost/{name}"]) for name in ("feature", "cut", "value", "lighter")))
        trees, nodes = int(state.params["n_trees"]), (1 << int(state.params["depth"])) - 1
        feature, lighter = np.zeros((2, trees, nodes), dtype=np.int64)
        return cls(feature, np.full_like(feature, NEVER), np.zeros((trees, 2 * nodes + 1), dtype=np.int64), lighter)

    def trees(self, number: int) -> Trees:
        """Return the first trees."""
        return Trees(self.feature[:number], self.cut[:number], self.value[:number])

    def split(self, tree: int, level: int, splits: Splits, *, rate: float, l2: float) -> None:
        """Split the nodes of one level.

        Parameters
        ----------
        tree, level : int
            Which nodes.
        splits : Splits
            How.
        rate, l2 : float
            Learning rate; penalty in steps of the sums.
        """
        nodes = slice((1 << level) - 1, (2 << level) - 1)
        children = slice(nodes.stop, 2 * nodes.stop + 1)
        self.feature[tree, nodes] = splits.feature
        self.cut[tree, nodes] = splits.cut
        self.value[tree, children] = _steps(splits.sums, rate, l2).ravel()
        if level == 0:
            self.value[tree, nodes] = _steps(splits.sums.sum(axis=1), rate, l2)
        if children.stop <= self.lighter.shape[1]:
            right = splits.sums[:, 1, 1] < splits.sums[:, 0, 1]
            self.lighter[tree, children] = (np.stack([~right, right], axis=1) & splits.found[:, None]).ravel()


def _slots(level: int) -> int:
    return 1 << max(level - 1, 0)


def _steps(sums: Integers, rate: float, l2: float) -> Integers:
    """Return the Newton steps of nodes with gradient and Hessian sums along the last axis, in steps of log-odds."""
    gradient, hessian = sums[..., 0].astype(np.float64), np.maximum(sums[..., 1], 0).astype(np.float64)
    step = np.rint(-rate * gradient / np.maximum(hessian + l2, 1.0) * STEPS)
    return np.clip(step, -MOST_ODDS, MOST_ODDS).astype(np.int64)


def _odds(trees: Trees, leaves: Bytes, flight: Flight, start: int) -> Iterator[Integers]:
    """Yield, for every tree in flight, the log-odds by the trees before it as they were when it began."""
    # These were grown before any tree in flight began.
    done = max(flight.nodes[0][0] - flight.depth + 1, 0)
    first = np.arange(done)
    base = start + trees.part(first).values(leaves[first], np.full(done, flight.depth)).sum(axis=0)
    for tree, _ in flight.nodes:
        since = np.arange(done, tree)
        levels = np.minimum(tree - since, flight.depth)
        yield base + trees.part(since).values(leaves[since], levels).sum(axis=0)


def _derivatives(odds: Integers, y: Integers) -> Floats:
    """Return gradient and Hessian of every row's loss, whole numbers of shape (2, n_samples)."""
    p = probabilities()[places(odds)]
    return np.rint(np.stack([p - y, p * (1.0 - p)]) * UNIT)
