"""Trees over binned columns, many at a time: where rows end, what they add, how a level splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedanomaly.types import Floats, Integers

Bytes = npt.NDArray[np.uint8]

NEVER = 255
"""A cut that sends no row to the right."""
_BLOCK = 1 << 20
"""Answers that are looked at together: they fit a processor's cache."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees of one depth; nodes count from the root, level by level.

    Parameters
    ----------
    feature : int64 array of shape (n_trees, 2^depth - 1)
        Column that a node asks for.
    cut : int64 array of shape (n_trees, 2^depth - 1)
        Rows whose bin is above it go right; `NEVER`: all go left.
    value : int64 array of shape (n_trees, 2^(depth + 1) - 1)
        Log-odds at every node, in steps, leaves included.
    """

    feature: Integers
    cut: Integers
    value: Integers

    @property
    def depth(self) -> int:
        """Questions from the root to a leaf."""
        return self.value.shape[1].bit_length() - 1

    def part(self, trees: Integers) -> Trees:
        """Return some of the trees, by their numbers."""
        return Trees(self.feature[trees], self.cut[trees], self.value[trees])

    def leaves(self, bins: Bytes) -> Bytes:
        """Return the leaf of every row in every tree.

        Parameters
        ----------
        bins : uint8 array of shape (n_features, n_samples)
            Bins of the rows.

        Returns
        -------
        uint8 array of shape (n_trees, n_samples)
        """
        out = np.zeros((len(self.feature), bins.shape[1]), dtype=np.uint8)
        order = _depth_first(self.depth)
        feature, cut = self.feature[:, order], self.cut[:, order].astype(np.uint8)[:, :, None]
        size = max(_BLOCK // max(len(order) * bins.shape[1], 1), 1)
        for at in range(0, len(out), size):
            leaf = out[at : at + size]
            right = bins[feature[at : at + size]] > cut[at : at + size]
            # All questions are answered; the answer of the root chooses among the halves of the rest, and so on.
            for _ in range(self.depth):
                first, rest = right[:, 0], right[:, 1:]
                leaf <<= 1
                leaf |= first
                half = rest.shape[1] // 2
                left, right = rest[:, :half], rest[:, half:]
                right = left ^ ((left ^ right) & first[:, None])
        return out

    def values(self, leaves: Bytes, levels: Integers) -> Integers:
        """Return what every tree adds, if it ended at a level.

        Parameters
        ----------
        leaves : uint8 array of shape (n_trees, n_samples)
            What `leaves` returned.
        levels : int64 array of shape (n_trees,)
            0 is the root, `depth` the leaves.

        Returns
        -------
        int64 array of shape (n_trees, n_samples)
            In steps.
        """
        at = leaves >> (self.depth - levels).astype(np.uint8)[:, None]
        first = np.arange(len(leaves)) * self.value.shape[1] + (1 << levels) - 1
        return np.take(self.value.ravel(), at + first[:, None])

    def paths(self, n_features: int) -> Integers:
        """Return what every feature adds on the way from the root to every leaf (Saabas 2014).

        Returns
        -------
        int64 array of shape (n_trees, n_leaves, n_features)
            In steps; the root's value is not in it.
        """
        trees, leaf = np.arange(len(self.value))[:, None], np.arange(1 << self.depth)
        out = np.zeros((len(self.value), len(leaf), n_features), dtype=np.int64)
        for level in range(self.depth):
            node = (1 << level) - 1 + (leaf >> (self.depth - level))
            child = (2 << level) - 1 + (leaf >> (self.depth - level - 1))
            out[trees, leaf, self.feature[:, node]] += self.value[:, child] - self.value[:, node]
        return out


@dataclass(frozen=True, eq=False)
class Splits:
    """The best question at each of some nodes.

    Parameters
    ----------
    feature, cut : int64 array of shape (n_nodes,)
        As in `Trees`; a node that nothing splits well has cut `NEVER`.
    sums : int64 array of shape (n_nodes, 2 sides, 2)
        Gradient and Hessian of both children; those of the node itself on the left where nothing splits it.
    """

    feature: Integers
    cut: Integers
    sums: Integers

    def part(self, nodes: slice) -> Splits:
        """Return some of the nodes."""
        return Splits(self.feature[nodes], self.cut[nodes], self.sums[nodes])

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Which nodes are split, shape (n_nodes,)."""
        return self.cut != NEVER


def best_splits(sums: Integers, number: Integers, *, l2: float, least: float) -> Splits:
    """Return the split of every node that lowers the loss most, to second order.

    Whole numbers are turned into floats and combined entry by entry, so that
    every machine finds the same split.

    Parameters
    ----------
    sums : int64 array of shape (n_nodes, 2, n_bins)
        Gradient and Hessian sums of the node's rows in each bin of all columns.
    number : int64 array of shape (n_features,)
        Bins of every column.
    l2, least : float
        Penalty, and the smallest Hessian sum of a child, in steps of the sums.
    """
    upto = np.cumsum(sums, axis=2)
    column = np.repeat(np.arange(len(number)), number)
    first = np.cumsum(number) - number
    before = np.where(first > 0, upto[:, :, np.maximum(first - 1, 0)], 0)
    left = upto - before[:, :, column]
    whole = left[:, :, number[0] - 1]
    (g, h), (g_all, h_all) = _pairs(left), _pairs(whole[:, :, None])
    g_rest, h_rest = g_all - g, h_all - h
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        gain = g * g / (h + l2) + g_rest * g_rest / (np.maximum(h_rest, 0.0) + l2) - g_all * g_all / (h_all + l2)
    gain = np.where((h >= least) & (h_rest >= least) & np.isfinite(gain), gain, 0.0)
    best = np.argmax(gain, axis=1)
    nodes = np.arange(len(sums))
    # A gain below what rounding to steps makes up is none.
    found = gain[nodes, best] > 1.0
    here = np.where(found[:, None], left[nodes, :, best], whole)
    return Splits(
        np.where(found, column[best], 0),
        np.where(found, best - first[column[best]], NEVER),
        np.stack([here, whole - here], axis=1),
    )


def _pairs(sums: Integers) -> tuple[Floats, Floats]:
    # The Hessian of a logistic loss is positive; a liar's need not be.
    return sums[:, 0].astype(np.float64), np.maximum(sums[:, 1], 0).astype(np.float64)


@lru_cache(maxsize=8)
def _depth_first(depth: int) -> Integers:
    """Return the nodes, which are numbered level by level, such that every subtree is in one piece."""
    return np.array(list(_below(0, depth)), dtype=np.int64)


def _below(node: int, depth: int) -> Iterator[int]:
    if depth:
        yield node
        yield from _below(2 * node + 1, depth - 1)
        yield from _below(2 * node + 2, depth - 1)
