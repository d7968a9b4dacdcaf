"""The score above which an event is an outlier, from a federated histogram.

`contamination` then means the same at every member: that share of all members'
training rows scores higher, whatever a member's own share is.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedanomaly.detectors.cells import BINADE, Cells, histogram, histogram_of, key, keys
from fedanomaly.detectors.fading import Renewable, without
from fedanomaly.detectors.scaling import most_rows
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

CELLS = 4096
REFINEMENTS = 3
SHARE_OFF = 0.02
"""A threshold may miss the wanted number of outliers by this share of it."""

_PER_BINADE = 1 << 8
_LOWEST, _HIGHEST = -16, 32
SCORES = np.array(
    [
        key(0.0),
        *range(key(2.0**_LOWEST), key(2.0**_HIGHEST) + 1, BINADE // _PER_BINADE),
        key(float(np.finfo(np.float64).max)) + 1,
    ],
    dtype=np.int64,
)
"""Edges of the score histogram: cells of 0.3 % of the score."""


class Threshold(Renewable):
    """Steps ``score/0`` (histogram of all scores) and, if need be, ``score/1`` to ``score/3``.

    Parameters
    ----------
    scores : callable
        Takes raw rows and a state, gives the score of every row.
    """

    prefix = "score"

    def __init__(self, scores: Callable[[Floats, State], Floats]) -> None:
        self._scores = scores

    def next_step(self, state: State) -> Step | None:
        """Return the next histogram, or None once the threshold is known."""
        if "score/threshold" in state:
            return None
        turn = _turn(state)
        size = len(_finer(state)) if turn else len(SCORES) - 1
        counts = FieldSpec(name="counts", shape=(size,), lower=0, upper=most_rows(state))
        return Step(name=f"score/{turn}", fields=(counts,))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return the histogram of this member's scores."""
        scores = keys(self._scores(X, state))
        if step.name == "score/0":
            return {"counts": histogram(scores, SCORES)}
        return {"counts": histogram_of(scores, _finer(state))}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Add the opened counts; keep the threshold once it is sharp enough."""
        if step.name == "score/0":
            cells = Cells(SCORES, total["counts"])
        else:
            cells = _cells(state).refined(_finer(state), total["counts"])
        kept = {name: array for name, array in state.arrays.items() if name not in _WORKING}
        turn = _turn(state) + 1
        wanted = _wanted(cells, state)
        cell, missing = _boundary(cells, wanted)
        if missing <= SHARE_OFF * wanted or cells.is_point(cell) or turn > REFINEMENTS:
            # A score equal to an edge lies in the upper cell, hence the key below it.
            low, high, count = int(cells.edges[cell]), int(cells.edges[cell + 1]), int(cells.counts[cell])
            edge = high - (high - low) * missing // max(count, missing) if missing else high
            arrays = {"score/threshold": np.array([edge - 1])}
        else:
            arrays = {"score/turn": np.array([turn]), "score/edges": cells.edges, "score/counts": cells.counts}
        return State(state.detector, state.version, state.params, {**kept, **arrays})

    def reopened(self, state: State) -> State:
        """Return the state without a threshold: that of new rows alone takes its place."""
        return without(state, ["score/threshold"])


_WORKING = ("score/turn", "score/edges", "score/counts")


def _turn(state: State) -> int:
    return int(state["score/turn"][0]) if "score/turn" in state else 0


def _cells(state: State) -> Cells:
    return Cells(state["score/edges"], state["score/counts"])


def _wanted(cells: Cells, state: State) -> int:
    """Return how many of the rows in the histogram belong above the threshold."""
    # A member that lies about its scores can make it empty.
    rows = max(cells.total, 1)
    return min(int(state.params["contamination"] * rows + 0.5), rows - 1)


def _boundary(cells: Cells, wanted: int) -> tuple[int, int]:
    """Return the highest cell not wholly above the threshold, and how many of its rows belong above."""
    above = np.cumsum(cells.counts[::-1])
    # A member that lies about its scores can make the histogram too short.
    place = min(int(np.searchsorted(above, wanted, side="right")), len(above) - 1)
    return len(above) - 1 - place, wanted - (int(above[place - 1]) if place else 0)


def _finer(state: State) -> Integers:
    cells = _cells(state)
    cell, _ = _boundary(cells, _wanted(cells, state))
    return cells.split([cell], CELLS)
