"""Short sentences on what is unusual in a row, in the units of its columns.

A sentence has a subject, the reading in the words of its kind of feature, and
says how far it lies from the median of all members' rows. What it tells of other
rows is in the model already, so a sentence gives nothing more of them away.
"""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors.marginals import PER_DEVIATION, Histograms, Ruler
from fedanomaly.detectors.scaling import layout_rows, scale_of
from fedanomaly.errors import ConfigError, ShapeError
from fedanomaly.types import Floats, Integers, State

LEAST = 0.1
"""A feature that adds less than this part of the row's largest share is no reason."""
NEAR = 1.0
"""Up to so many robust deviations from the median, a reading by itself is a usual one."""
FAR = 1000.0
"""More deviations than that are not told apart."""
TAIL = 0.05
"""A reading lies in a tail if at most this part of all rows lies farther out on its side."""
FEW = 0.01
"""A reading is rare if at most this part of all rows lies within half a deviation of it."""
QUARTER = 0.25
"""The scale of a truth value tells its share only where that is less than a quarter."""

CLOCK = re.compile(r"(?P<column>.+):(?P<part>hour|weekday)_(?:sin|cos)")
LEVEL = re.compile(r"[^=]+=.*|.+#\d+")
SUBJECTS = {
    r"(?P<entity>[^:]+):count:(?P<span>\w+)": "{value} events of one {entity} within {span} ({name}) are",
    r"(?P<entity>[^:]+):sum:(?P<span>\w+)": "a sum of {value} over one {entity} within {span} ({name}) is",
    r"(?P<entity>[^:]+):mean:(?P<span>\w+)": "a mean of {value} over one {entity} within {span} ({name}) is",
    r"(?P<entity>[^:]+):max:(?P<span>\w+)": "a maximum of {value} over one {entity} within {span} ({name}) is",
    r"(?P<entity>[^:]+):ratio:(?P<span>\w+)": "{value} times the mean of one {entity} within {span} ({name}) is",
    r"(?P<entity>[^:]+):since_last:\w+": "{value} s since the last event of one {entity} ({name}) are",
    r"(?P<entity>[^:]+):distinct:(?P<other>.+):(?P<span>\w+)": (
        "{value} different values of {other} for one {entity} within {span} ({name}) are"
    ),
    r"(?P<column>.+):surprise": "a surprise of {value} at the level of {column} ({name}) is",
    r"(?P<name>.*)": "{name} {value} is",
}
"""How a reading is told, by the pattern of its feature's name: the first that fits. A new kind takes one line."""
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def sentences(
    state: State,
    X: Floats,
    shares: Floats,
    names: Sequence[str] | None = None,
    *,
    most: int = 3,
    logged: Collection[str] = (),
) -> list[list[str]]:
    """Return what is unusual in every row, the largest share first.

    Parameters
    ----------
    state : State
        What a detector has learnt.
    X : float64 array of shape (n_samples, n_features)
        Rows; NaN is a missing reading.
    shares : float64 array of shape (n_samples, n_features)
        What every feature adds to the score.
    names : sequence of str, optional
        Names of the features; x0, x1 and so on without.
    most : int, default=3
        Most sentences for a row.
    logged : collection of str, default=()
        Features that are sign(x) log(1 + |x|) of a reading x; x is what is told.

    Returns
    -------
    list of list of str
        Empty for a row to which no feature adds anything.

    Raises
    ------
    ShapeError
        If there is not one name for every feature.
    ConfigError
        If `most` is less than 1.
    """
    if most < 1:
        raise ConfigError(f"{most} reasons for a row are none", hint="ask for at least 1")
    columns = [f"x{at}" for at in range(X.shape[1])] if names is None else list(names)
    if len(columns) != X.shape[1]:
        raise ShapeError(f"{len(columns)} names for {X.shape[1]} features")
    usual = _Usual.of(state, X, [name in logged for name in columns]) if "scale/center" in state else None
    told = []
    for at, parts in enumerate(shares):
        least = LEAST * max(float(parts.max()), 0.0)
        chosen = [feature for feature in np.argsort(-parts, kind="stable").tolist() if parts[feature] > least]
        if usual is None:
            said = [_part(columns, parts, feature) for feature in chosen]
        else:
            said = [usual.sentence(columns, X[at], at, feature) for feature in chosen]
        # The two coordinates of an hour give one sentence.
        told.append(list(dict.fromkeys(said))[:most])
    return told


@dataclass(frozen=True, eq=False)
class _Usual:
    """What a state tells of every column.

    Parameters
    ----------
    center, width : float64 arrays of shape (n_features,)
        Median and robust deviation, in the unit of the column.
    missing : float64 array of shape (n_features,)
        Share of all rows without a reading.
    counts : float64 array of shape (n_features, n_cells), or None
        Histograms, where the detector or one of an ensemble has learnt them.
    cells : int64 array of shape (n_samples, n_features)
        The cell of every reading to be told of.
    logged : sequence of bool
        Whether a column holds logarithms.
    """

    center: Floats
    width: Floats
    missing: Floats
    counts: Floats | None
    cells: Integers
    logged: Sequence[bool]

    @classmethod
    def of(cls, state: State, X: Floats, logged: Sequence[bool]) -> _Usual:
        scale = scale_of(state)
        missing = np.maximum(1.0 - state["scale/present"] / layout_rows(state), 0.0)
        # In an ensemble, the names of arrays have their detector in front.
        found = next((name for name in state.arrays if f"/{name}".endswith("/marginals/counts")), None)
        if found is None:
            return cls(scale.center, scale.width, missing, None, np.empty((0, 0), dtype=np.int64), logged)
        alone = State(state.detector, state.version, {}, {**state.arrays, "marginals/counts": state[found]})
        cells = np.concatenate([np.empty((0, X.shape[1]), dtype=np.int64), *Ruler.of(scale).chunks(X)])
        return cls(scale.center, scale.width, missing, Histograms.of(alone).counts, cells, logged)

    def sentence(self, names: Sequence[str], row: Floats, at: int, feature: int) -> str:
        """Return what is unusual in one reading of the row at place `at`."""
        name, value = names[feature], float(row[feature])
        wave = CLOCK.fullmatch(name)
        if math.isnan(value):
            share = float(self.missing[feature])
            return f"{wave['column'] if wave else name} is missing, as in {_percent(share)} of all rows"
        if wave and (turn := _turn(f"{wave['column']}:{wave['part']}", names, row)) is not None:
            return f"{wave['column']} is {_clock(wave['part'], turn)}, an unusual {wave['part']}"
        if LEVEL.fullmatch(name) and value in {0.0, 1.0}:
            return f"{name} {'holds' if value else 'does not hold'}, {self._rarity(value, feature)}"
        subject = _subject(name, self._shown(value, feature))
        return f"{subject} {self._distance(value, feature)}{self._rank(value, at, feature)}"

    def _rarity(self, value: float, feature: int) -> str:
        """Return how rare a level is: where the median is another, its scale is the root of its share."""
        if value == self.center[feature]:
            return "unusual beside the rest of the row"
        share = float(self.width[feature]) ** 2
        return f"as in {_percent(share)} of all rows" if share < QUARTER else "as in less than half of all rows"

    def _distance(self, value: float, feature: int) -> str:
        median = self._shown(float(self.center[feature]), feature, digits=4)
        deviations = self._deviations(value, feature)
        if deviations <= NEAR:
            return f"near the median of {median}"
        many = f"{deviations:.1f}" if deviations < FAR else f"over {FAR:.0f}"
        side = "above" if value > self.center[feature] else "below"
        return f"{many} robust deviations {side} the median of {median}"

    def _rank(self, value: float, at: int, feature: int) -> str:
        """Return how many rows are about as far out, or lie about there."""
        near = self._deviations(value, feature) <= NEAR
        beside = ", but unusual beside the rest of the row" if near else ""
        if self.counts is None or not self.counts[feature].any():
            return beside
        counts, cell, above = self.counts[feature], int(self.cells[at, feature]), value > self.center[feature]
        farther = float((counts[cell:] if above else counts[: cell + 1]).sum())
        share = (farther - counts[cell] / 2) / counts.sum()
        around = counts[max(cell - PER_DEVIATION // 2, 0) : cell + PER_DEVIATION // 2 + 1].sum()
        if farther == 0.0:
            return ", beyond all rows of the training"
        if share > TAIL and around <= FEW * counts.sum():
            return ", where few rows lie"
        if near:
            return beside
        percentile = min(max(100.0 * (1.0 - share if above else share), 0.01), 99.99)
        return f", percentile {_trimmed(percentile)}"

    def _deviations(self, value: float, feature: int) -> float:
        """Return the distance from the median; a constant column has none, however far a reading is."""
        if value == self.center[feature]:
            return 0.0
        with np.errstate(over="ignore", divide="ignore"):
            return float(np.abs(value - self.center[feature]) / self.width[feature])

    def _shown(self, value: float, feature: int, digits: int = 6) -> str:
        """Return a number in the unit of its column: in full if it is whole, else to so many digits."""
        if self.logged[feature]:
            with np.errstate(over="ignore"):
                value = float(np.copysign(np.expm1(abs(value)), value))
        return f"{value + 0.0:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.{digits}g}"


def _part(names: Sequence[str], parts: Floats, feature: int) -> str:
    """Return the sentence on a feature that is no measurement: a place in a sequence or in a text."""
    share = float(parts[feature]) / float(parts[parts > 0].sum())
    return f"{names[feature]}, at position {feature + 1}, adds {_percent(share)} of what is unusual"


def _turn(wave: str, names: Sequence[str], row: Floats) -> float | None:
    """Return where in its period a time lies, 0 to 1; None where one of its coordinates is not there."""
    both = f"{wave}_sin", f"{wave}_cos"
    if not all(name in names for name in both):
        return None
    east, north = (float(row[names.index(name)]) for name in both)
    return None if math.isnan(east + north) else math.atan2(east, north) / math.tau % 1.0


def _clock(part: str, turn: float) -> str:
    if part == "weekday":
        return f"on a {DAYS[round(turn * 7) % 7]}"
    minutes = round(turn * 1440) % 1440
    return f"at {minutes // 60:02d}:{minutes % 60:02d}"


def _subject(name: str, value: str) -> str:
    found, template = next(
        (found, words) for kind, words in SUBJECTS.items() if (found := re.fullmatch(kind, name, re.DOTALL))
    )
    return template.format(**{"name": name, **found.groupdict()}, value=value)


def _percent(share: float) -> str:
    if share == 0.0:
        return "none"
    return "less than 0.01 %" if share < 1e-4 else f"{_trimmed(100.0 * share)} %"


def _trimmed(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
