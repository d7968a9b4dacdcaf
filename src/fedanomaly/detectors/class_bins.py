"""Bins of raw readings that are fine where normal rows are many, and where anomalies are.

Anomalies are rare: quantiles of all rows would put most of them into the last
bin. So both classes are counted, and a bin holds an equal share of the mean of
their two distributions. Cells are refined as in `fedanomaly.detectors.scaling`.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors.cells import EVERYWHERE, Cells, histogram, histogram_of, keys, numbers
from fedanomaly.detectors.scaling import most_rows, rows_of
from fedanomaly.detectors.stages import LabelledStage
from fedanomaly.errors import DataError
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

ROWS_A_BIN = 10
FEWEST = 8
"""Few rows need few bins, but no column gets fewer than that."""
CELLS = 512
REFINEMENTS = 3
CHUNK = 4096
_COUNTS = ("rows", "anomalies")


class ClassBins(LabelledStage):
    """Steps ``bins/0`` (everywhere) to ``bins/3`` (finer): how all rows, and the anomalies, spread over cells."""

    prefix = "bins"

    def next_step(self, state: State) -> Step | None:
        """Return the next counts, or None when every column has its bins."""
        if "bins/low" in state:
            return None
        turn, n = _turn(state), most_rows(state)
        shape = (len(_open(state)), CELLS) if turn else (int(state["features"][0]), len(EVERYWHERE) - 1)
        fields = [FieldSpec(name=name, shape=shape, lower=0, upper=n) for name in _COUNTS]
        if turn == 0:
            fields.append(FieldSpec(name="labels", shape=(1,), lower=0, upper=n))
        return Step(name=f"bins/{turn}", fields=tuple(fields))

    def local(self, step: Step, X: Floats, state: State, y: Integers) -> Statistics:
        """Return this member's counts."""
        counts = np.zeros((2, *step.fields[0].shape), dtype=np.int64)
        if step.name == "bins/0":
            for column in range(X.shape[1]):
                for at, values in enumerate(_present(X[:, column], y)):
                    counts[at, column] = histogram(values, EVERYWHERE)
            return {"rows": counts[0], "anomalies": counts[1], "labels": np.array([y.sum()])}
        for place, (column, finer) in enumerate(_open(state).items()):
            for at, values in enumerate(_present(X[:, column], y)):
                counts[at, place, : len(finer)] = histogram_of(values, finer)
        return {"rows": counts[0], "anomalies": counts[1]}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Add the opened counts; once they are fine enough, keep the bins only."""
        if step.name == "bins/0":
            anomalies = total["labels"]
            if not 0 < anomalies[0] < rows_of(state):
                raise DataError("the members' labels hold one class only", hint="0 is normal, 1 an anomaly")
            columns = [_Column(EVERYWHERE, *counts) for counts in zip(total["rows"], total["anomalies"], strict=True)]
        else:
            anomalies, columns = state["bins/anomalies"], _columns(state)
            for place, (column, finer) in enumerate(_open(state).items()):
                counts = [total[name][place, : len(finer)] for name in _COUNTS]
                columns[column] = columns[column].refined(finer, *counts)
        kept = {name: array for name, array in state.arrays.items() if not name.startswith("bins/")}
        turn, most = _turn(state) + 1, _most(state)
        arrays = {"bins/anomalies": anomalies}
        if turn > REFINEMENTS or not any(column.coarse(most) for column in columns):
            bins = [column.bins(most) for column in columns]
            arrays["bins/number"] = np.array([len(low) + 1 for low, _ in bins])
            arrays["bins/low"] = np.concatenate([low for low, _ in bins])
            arrays["bins/gap"] = np.array([gap for _, gap in bins])
        else:
            arrays["bins/turn"] = np.array([turn])
            arrays["bins/cells"] = np.array([len(column.rows) for column in columns])
            arrays["bins/edges"] = np.concatenate([column.edges for column in columns])
            arrays["bins/rows"] = np.concatenate([column.rows for column in columns])
            arrays["bins/odd"] = np.concatenate([column.odd for column in columns])
        return State(state.detector, state.version, state.params, {**kept, **arrays})


@dataclass(frozen=True, eq=False)
class Bins:
    """The learnt bins of all columns.

    Parameters
    ----------
    number : int64 array of shape (n_features,)
        Bins of every column.
    low : list of float64 arrays of shape (number - 1,)
        Smallest reading of every bin but the first, by column.
    gap : int64 array of shape (n_features,)
        Bin of the median, which stands in for missing readings.
    """

    number: Integers
    low: list[Floats]
    gap: Integers

    @property
    def first(self) -> Integers:
        """Place of every column's first bin, where the bins of all columns stand in one line."""
        return np.cumsum(self.number) - self.number

    def chunks(self, X: Floats) -> Iterator[tuple[slice, npt.NDArray[np.uint8]]]:
        """Yield which rows, and their bins, of shape (n_features, n_rows)."""
        for start in range(0, len(X), CHUNK):
            here = slice(start, min(start + CHUNK, len(X)))
            columns = np.ascontiguousarray(X[here].T)
            bins = np.empty(columns.shape, dtype=np.uint8)
            for out, low, readings in zip(bins, self.low, columns, strict=True):
                out[:] = np.searchsorted(low, readings, side="right")
            missing = np.isnan(columns)
            if missing.any():
                np.copyto(bins, self.gap.astype(np.uint8)[:, None], where=missing)
            yield here, bins


def bins_of(state: State) -> Bins:
    """Return the bins of the opened counts."""
    number = state["bins/number"]
    low = np.split(numbers(state["bins/low"]), np.cumsum(number - 1)[:-1])
    return Bins(number, low, state["bins/gap"])


@dataclass(frozen=True, eq=False)
class _Column:
    """Cells of one column on the key line, and what both classes have in them."""

    edges: Integers
    rows: Integers
    odd: Integers

    def refined(self, finer: Integers, rows: Integers, odd: Integers) -> _Column:
        all_rows, anomalies = Cells(self.edges, self.rows), Cells(self.edges, self.odd)
        finer_rows = all_rows.refined(finer, rows)
        return _Column(finer_rows.edges, finer_rows.counts, anomalies.refined(finer, odd).counts)

    def mass(self) -> Floats:
        """Return the share of every cell, half of it the anomalies'."""
        # A liar's counts may be negative, or too large for an exact float.
        odd, even = (np.clip(counts, 0, 1 << 52).astype(np.float64) for counts in (self.odd, self.rows - self.odd))
        return odd / max(2.0 * odd.sum(), 1.0) + even / max(2.0 * even.sum(), 1.0)

    def coarse(self, most: int) -> list[int]:
        """Return the cells to split: those that hold more than a bin should."""
        heavy = (self.mass() > 1.0 / most) & (np.diff(self.edges) > 1)
        return np.flatnonzero(heavy).tolist()

    def bins(self, most: int) -> tuple[Integers, int]:
        """Return the lowest key of every bin but the first, and the bin of the median."""
        mass = self.mass()
        upto = np.cumsum(mass)
        place = np.floor((upto - mass / 2) / max(float(upto[-1]), 1e-9) * most)
        # A cell without a row goes to the bin of the nearest one that has some.
        cell = np.arange(len(mass))
        before = np.maximum.accumulate(np.where(mass > 0, cell, -len(mass)))
        after = np.minimum.accumulate(np.where(mass > 0, cell, 2 * len(mass))[::-1])[::-1]
        nearest = np.where(cell - before <= after - cell, before, after)
        place = place[np.clip(nearest, 0, len(mass) - 1)]
        starts = np.flatnonzero(np.diff(place)) + 1
        counts = np.cumsum(np.maximum(self.rows, 0))
        median = int(np.searchsorted(counts, (int(counts[-1]) - 1) // 2, side="right"))
        return self.edges[starts], int(np.searchsorted(starts, median, side="right"))


def _present(readings: Floats, y: Integers) -> tuple[Integers, Integers]:
    there = ~np.isnan(readings)
    values = keys(readings[there])
    return values, values[y[there] == 1]


def _turn(state: State) -> int:
    return int(state["bins/turn"][0]) if "bins/turn" in state else 0


def _most(state: State) -> int:
    return min(int(state.params["max_bins"]), max(rows_of(state) // ROWS_A_BIN, FEWEST))


def _columns(state: State) -> list[_Column]:
    ends = np.cumsum(state["bins/cells"])
    counts = (np.split(state[name], ends[:-1]) for name in ("bins/rows", "bins/odd"))
    edges = np.split(state["bins/edges"], (ends + np.arange(1, len(ends) + 1))[:-1])
    return [_Column(*parts) for parts in zip(edges, *counts, strict=True)]


def _open(state: State) -> dict[int, Integers]:
    """Return the finer cells of every column that has cells to split."""
    most, out = _most(state), {}
    for at, column in enumerate(_columns(state)):
        if wanted := column.coarse(most):
            out[at] = Cells(column.edges, column.rows).split(wanted, CELLS)
    return out
