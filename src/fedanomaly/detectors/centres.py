"""Cluster centres from sums: Lloyd's rounds, started by splitting what is widest.

Whole numbers throughout, so that every member and every machine goes on with
the same centres, and a row is nearest to the same one wherever it is.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors.fading import Fade, Renewable, plus
from fedanomaly.detectors.progress import Progress, Progressing
from fedanomaly.detectors.scaling import most_rows, scale_of
from fedanomaly.errors import DataError
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

GROWTH = 4
"""A round may split every centre into that many."""


class Lloyd(Renewable, Progressing):
    """Steps ``prefix/0``, ``prefix/1`` and so on: rows, their sums and their squares by nearest centre.

    Parameters
    ----------
    prefix : str
        Of the steps and of what is kept.
    n_clusters : int
        Centres in the end.
    n_rounds : int
        Most steps; fewer once a round has opened what the one before had, as all others then would.
    """

    def __init__(self, prefix: str, n_clusters: int, n_rounds: int) -> None:
        self.prefix = prefix
        self._n_clusters = n_clusters
        self._n_rounds = n_rounds

    def next_step(self, state: State) -> Step | None:
        """Return the next round, or None after the last."""
        turn = self._turn(state)
        if turn >= self._n_rounds:
            return None
        k, d = self._size(turn), int(state["features"][0])
        n, most = most_rows(state), scale_of(state).limit
        counts = FieldSpec(name="counts", shape=(k,), lower=0, upper=n)
        sums = FieldSpec(name="sums", shape=(k, d), lower=-n * most, upper=n * most)
        squares = FieldSpec(name="squares", shape=(k, d), lower=0, upper=n * most * most)
        return Step(name=f"{self.prefix}/{turn}", fields=(counts, sums, squares))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:  # noqa: ARG002 - the turn is in the state
        """Return the sums over this member's rows."""
        centres = self.centres(state)
        k, d = centres.shape
        counts = np.zeros(k, dtype=np.int64)
        sums, squares = np.zeros((2, k, d), dtype=np.int64)
        for rows in scale_of(state).chunks(X):
            near = squared_distances(rows, centres).argmin(axis=1)
            counts += np.bincount(near, minlength=k)
            chosen = (near == np.arange(k)[:, None]).astype(np.float64)
            # 2^10 rows of at most 2^14 steps: every sum of squares is at most 2^38, so exact.
            sums += (chosen @ rows).astype(np.int64)
            squares += (chosen @ np.square(rows)).astype(np.int64)
        return {"counts": counts, "sums": sums, "squares": squares}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the sums of this round in place of the last."""
        arrays = {f"{self.prefix}/{field.name}": total[field.name] for field in step.fields}
        settled = all(name in state and np.array_equal(state[name], array) for name, array in arrays.items())
        turn = {f"{self.prefix}/turn": np.array([self._n_rounds if settled else self._turn(state) + 1])}
        return State(state.detector, state.version, state.params, {**state.arrays, **arrays, **turn})

    def progress(self, total: Total, state: State) -> Progress | None:
        """Return the variance within clusters, of one feature in robust deviations."""
        clusters = clusters_of(self.merge(total.step, total, state), self.prefix)
        return Progress("variance within clusters", clusters.variance / scale_of(state).grid ** 2)

    def reopened(self, state: State) -> State:
        """Return the state before a further round from the present centres; as it is, where these were a start only."""
        counts = f"{self.prefix}/counts"
        if counts not in state:
            return state
        # Empty ones last: there `_split` puts new centres.
        order = np.argsort(state[counts] <= 0, kind="stable")
        arrays = {name: state[name][order] for name in (counts, f"{self.prefix}/sums", f"{self.prefix}/squares")}
        turn = {f"{self.prefix}/turn": np.array([self._n_rounds - 1])}
        return State(state.detector, state.version, state.params, {**state.arrays, **arrays, **turn})

    def joined(self, state: State, old: State, fade: Fade) -> State:
        """Return the state in which what is left of every cluster's old sums is added to its new ones."""
        counts, *sums = (f"{self.prefix}/{name}" for name in ("counts", "sums", "squares"))
        return plus(state, fade.groups(self.reopened(old), counts, sums)) if counts in old else state

    def _turn(self, state: State) -> int:
        name = f"{self.prefix}/turn"
        return int(state[name][0]) if name in state else 0

    def _size(self, turn: int) -> int:
        # The exponent is cut: beyond 4^5 no parameter is larger.
        return min(self._n_clusters, GROWTH ** min(turn, 6))

    def centres(self, state: State) -> Floats:
        """Return where this round's centres stand: the medians' one, then what the last round opened."""
        turn = self._turn(state)
        if turn == 0:
            return np.zeros((1, int(state["features"][0])))
        return _split(clusters_of(state, self.prefix), self._size(turn))


@dataclass(frozen=True, eq=False)
class Clusters:
    """What a round opened about the centres that had rows.

    Parameters
    ----------
    counts : int64 array of shape (n_clusters,)
        Rows of every cluster, at least 1.
    means : int64 array of shape (n_clusters, n_features)
        Their mean, in whole steps.
    within : int64 array of shape (n_clusters, n_features)
        Sums of squared steps from that mean.
    live : int
        How many features vary at all, at least 1.
    """

    counts: Integers
    means: Integers
    within: Integers
    live: int

    @property
    def variance(self) -> float:
        """Variance within clusters of one feature, in squared steps."""
        per_feature = self.within.sum(axis=0).astype(np.float64)
        return float(per_feature.sum() / (float(self.counts.sum()) * self.live))


def clusters_of(state: State, prefix: str) -> Clusters:
    """Return the clusters that the last round opened, without the empty ones.

    Raises
    ------
    DataError
        If no cluster has a row.
    """
    full = state[f"{prefix}/counts"] > 0
    if not full.any():
        raise DataError("the opened sums are those of no row", hint="a member contributed something else")
    counts, sums, squares = (state[f"{prefix}/{name}"][full] for name in ("counts", "sums", "squares"))
    each, most = counts[:, None], scale_of(state).limit
    # The nearest whole mean; only sums of no data lie beyond the largest reading.
    means = np.clip((2 * sums + each) // (2 * each), -most, most)
    # Exact, where Q - S^2 / n would cancel in floating point. Sums of no data may give less than nothing.
    within = np.maximum(squares - 2 * means * sums + each * np.square(means), 0)
    return Clusters(counts, means, within, max(int(np.count_nonzero(state["scale/width"])), 1))


def squared_distances(rows: Floats, centres: Floats) -> Floats:
    """Return the squared distance of every row to every centre.

    Parameters
    ----------
    rows : float64 array of shape (n_samples, n_features)
        Whole numbers of at most 14 bits, as `Scale` gives them.
    centres : float64 array of shape (n_centres, n_features)
        Whole numbers of at most 14 bits.

    Returns
    -------
    float64 array of shape (n_samples, n_centres)
        Exact whole numbers: no partial sum reaches 2^53 below 2^22 features.
    """
    far = rows @ (-2.0 * centres.T)
    far += np.square(rows).sum(axis=1)[:, None]
    far += np.square(centres).sum(axis=1)
    return far


def _split(clusters: Clusters, wanted: int) -> Floats:
    """Return `wanted` centres: the means, and the widest clusters cut in two until there are enough.

    A cluster is cut across its widest feature. For a normal one the means of
    the halves lie 0.8 deviations to both sides, and 0.36 of the variance is left.
    What has become empty is replaced the same way.
    """
    found = len(clusters.counts)
    centres = np.zeros((max(wanted, found), clusters.means.shape[1]), dtype=np.int64)
    variance = np.zeros_like(centres)
    centres[:found] = clusters.means
    variance[:found] = clusters.within // clusters.counts[:, None]
    rows = [*clusters.counts.tolist(), *[0] * (len(centres) - found)]
    # Python's integers: rows times variance of all features may need more than 63 bits.
    spread = [count * total for count, total in zip(rows, variance.sum(axis=1).tolist(), strict=True)]
    for new in range(found, wanted):
        old = spread.index(max(spread))
        across = int(variance[old].argmax())
        # A square root of a whole number below 2^53 is rounded the same way everywhere.
        shift = int(np.rint(0.8 * np.sqrt(float(variance[old, across]))))
        centres[new], variance[old, across] = centres[old], variance[old, across] * 9 // 25
        variance[new] = variance[old]
        centres[old, across] -= shift
        centres[new, across] += shift
        rows[old] = rows[new] = rows[old] // 2
        spread[old] = spread[new] = rows[old] * int(variance[old].sum())
    return centres.astype(np.float64)
