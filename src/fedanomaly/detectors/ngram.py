"""Surprise of the next event, and of how often each event occurs."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.fading import Renewable
from fedanomaly.detectors.hashing import Language, Sequences, cells, gram_cells, language_of, mix, sequences
from fedanomaly.detectors.scaling import Counting, most_rows, rows_of
from fedanomaly.detectors.stages import Stage
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

KIND_BITS = 12
"""Kinds of event whose absence is noticed: 4,096; more share their counters."""


class NGram(Detector):
    """Sequences of events that go on, or are made up, as others do not.

    The idea: a row is a session, its columns the events in their order. An
    event is surprising if it seldom follows the ones before it (n-grams), and a
    session if an event occurs in it more or less often than in others, or not
    at all. One thing that nearly never happens makes a session anomalous, so the
    score is ruled by the least probable of all these, not by their mean.

    It fails where the order and number of events say nothing, or where nearly
    every event is unique: codes are compared, not measured. Sessions with the
    usual events at unusual times look normal.

    Cost: one job of 3 to 6 rounds, ``2^table_bits + 4097`` counters in the
    widest; scoring takes about 0.3 microseconds an event.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    order : int in [1, 6], default=3
        Longest n-gram: an event is judged by the `order` - 1 events before it.
    table_bits : int in [8, 22], default=15
        The n-grams of all members share ``2^table_bits`` cells.
    random_state : int in [0, 2^63), default=0
        Seed of the hash; members of a job agree on it.

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.

    Notes
    -----
    Every reading is the name of an event (any number), NaN is none. With p the
    probability of each event after its predecessors, of the session's end, and
    of the number of times, 0 included, that each kind of event occurs, the
    score is ``log(1 + sum(1 / p - 1))``: 0 where all was certain, log(1 / p) where
    one thing of probability p happened. Its parts share the score in proportion
    to ``1 / p - 1``: an event has that of its turn and of its number, the last
    event that of the end too, all events together that of what is missing.

    The opened counts say of anybody who can guess an event or a short run of
    events whether a member has seen it.

    References
    ----------
    S. Forrest, S. Hofmeyr, A. Somayaji, T. Longstaff, "A sense of self for Unix
    processes", IEEE S&P 1996 (runs of events); W. Xu, L. Huang, A. Fox, D.
    Patterson, M. Jordan, "Detecting large-scale system problems by mining
    console logs", SOSP 2009 (numbers of events).

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import NGram
    >>> X = np.tile([1.0, 2.0, 3.0, 2.0, 3.0], (200, 1))
    >>> X[::2, 3:] = np.nan
    >>> detector = NGram(contamination=0.02).fit(X)
    >>> detector.predict([[1, 2, 3, np.nan, np.nan], [1, 3, 2, np.nan, np.nan]])
    array([ 1, -1])
    """

    name = "ngram"
    version = 1
    why_no_circuit = "its score looks up how often events follow each other in a table"
    reads = "codes"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "order": [Interval(Integral, 1, 6, closed="both")],
        "table_bits": [Interval(Integral, 8, 22, closed="both")],
        "random_state": [Interval(Integral, 0, (1 << 63) - 1, closed="both")],
    }

    def __init__(
        self, *, contamination: float = 0.01, order: int = 3, table_bits: int = 15, random_state: int = 0
    ) -> None:
        super().__init__(contamination=contamination)
        self.order = order
        self.table_bits = table_bits
        self.random_state = random_state

    def preparation(self) -> tuple[Stage, ...]:
        """Return the first stage: rows are counted. There is nothing to scale."""
        return (Counting(),)

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: preparation, one count, threshold."""
        return 6

    def stages(self) -> tuple[Events, ...]:
        """Return the one stage: counts of n-grams and of events a session."""
        return (Events(),)

    def derive(self, state: State) -> Habits:
        """Return the probabilities of the opened counts."""
        language = language_of(state, Events.prefix)
        return Habits(language, state["ngram/present"].astype(np.float64), rows_of(state), _seed(state))


class Events(Renewable):
    """Step ``ngram/counts``: n-grams and numbers of events, in one hashed table, and in how many rows each kind is."""

    prefix = "ngram"
    counted = ("ngram/counts", "ngram/present", "ngram/places")

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "ngram/counts" in state:
            return None
        n, places = most_rows(state), int(state["features"][0]) + 2
        # Every place ends `order` n-grams and begins at most one kind of event.
        most = n * places * (int(state.params["order"]) + 1)
        counts = FieldSpec(name="counts", shape=(1 << int(state.params["table_bits"]),), lower=0, upper=most)
        present = FieldSpec(name="present", shape=(1 << KIND_BITS,), lower=0, upper=n)
        total = FieldSpec(name="places", shape=(1,), lower=0, upper=n * places)
        return Step(name="ngram/counts", fields=(counts, present, total))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return the counts of this member's rows."""
        order, bits = int(state.params["order"]), int(state.params["table_bits"])
        counts, present = (np.zeros(field.shape, dtype=np.int64) for field in step.fields[:2])
        places = 0
        for line in sequences(X, "ngram events", _seed(state)):
            kinds = Kinds(line)
            for where in (*gram_cells(line, order, bits), kinds.number_cells(bits)):
                counts += np.bincount(where, minlength=len(counts))
            present += np.bincount(kinds.kind, minlength=len(present))
            places += len(line.codes) - len(line.starts)
        return {"counts": counts, "present": present, "places": np.array([places])}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep what was opened."""
        return state.with_arrays(**{f"{self.prefix}/{field.name}": total[field.name] for field in step.fields})


class Kinds:
    """The kinds of event in every row, and how often each occurs.

    Parameters
    ----------
    line : Sequences
        Rows.

    Attributes
    ----------
    places : int64 array of shape (n_codes,)
        Places of all codes, those of the same kind and row together.
    kind, row, number : int64 arrays of shape (n_kinds,)
        What occurs, where, how often; one entry for each kind in each row.
    """

    places: Integers
    kind: Integers
    row: Integers
    number: Integers

    def __init__(self, line: Sequences) -> None:
        inner = line.inner()
        kinds = cells(line.codes[inner], KIND_BITS)
        key = (line.rows[inner] << KIND_BITS) + kinds
        order = np.argsort(key, kind="stable")
        self.places = inner[order]
        found, self.number = np.unique(key[order], return_counts=True)
        self.row, self.kind = found >> KIND_BITS, found & ((1 << KIND_BITS) - 1)

    def number_cells(self, bits: int) -> Integers:
        """Return the cell of "this kind, that often" in the table of the n-grams."""
        pair = (self.kind << 32) + self.number
        return cells(mix(mix(pair.view(np.uint64))), bits)


@dataclass(frozen=True, eq=False)
class Habits:
    """The learnt probabilities, ready to score.

    Parameters
    ----------
    language : Language
        How events follow each other.
    present : float64 array of shape (2^KIND_BITS,)
        In how many rows each kind of event occurs.
    rows : int
        Rows in training.
    seed : int
        Of the hash.
    """

    language: Language
    present: Floats
    rows: int
    seed: int

    def scores(self, X: Floats) -> Floats:
        """Return log(1 + sum(1 / p - 1)) for every row."""
        out = [np.log1p(self._odds(line).total) for line in sequences(X, "ngram events", self.seed)]
        return np.concatenate([np.zeros(0), *out])

    def shares(self, X: Floats) -> Floats:
        """Return every column's part of the odds, scaled to the score."""
        out = [np.zeros((0, X.shape[1]))]
        for line in sequences(X, "ngram events", self.seed):
            odds = self._odds(line)
            part = line.by_column(odds.turns) + line.evenly(odds.missing)
            # The odds of a row can be as small as 0, and then so is its score.
            out.append(part * (np.log1p(odds.total) / np.maximum(odds.total, np.finfo(np.float64).tiny))[:, None])
        return np.concatenate(out)

    def _odds(self, line: Sequences) -> Odds:
        turns = 1.0 / self.language.probabilities(line) - 1.0
        kinds = Kinds(line)
        found = self.language.counts[kinds.number_cells(len(self.language.counts).bit_length() - 1)]
        # More rows than hold this kind of event cannot hold it that often.
        often = self._against(np.minimum(found, self.present[kinds.kind]))
        turns[kinds.places] += np.repeat(often / kinds.number, kinds.number)
        # What nobody has seen is not missed.
        absent = np.where(self.present > 0, self._against(self.rows - self.present), 0.0)
        here = np.bincount(kinds.row, weights=absent[kinds.kind], minlength=len(line.starts))
        missing = np.maximum(absent.sum() - here, 0.0)
        return Odds(turns, missing, line.summed(turns) + missing)

    def _against(self, held: Floats) -> Floats:
        """Return 1 / p - 1 of what `held` of all rows have in common."""
        return np.maximum((self.rows + 1.0) / (np.maximum(held, 0.0) + 0.5) - 1.0, 0.0)


@dataclass(frozen=True, eq=False)
class Odds:
    """1 / p - 1 of everything about some rows.

    Parameters
    ----------
    turns : float64 array of shape (n_places,)
        Of the events: after their predecessors, and of their number.
    missing : float64 array of shape (n_rows,)
        Of the events that do not occur.
    total : float64 array of shape (n_rows,)
        Of all together.
    """

    turns: Floats
    missing: Floats
    total: Floats


def _seed(state: State) -> int:
    return int(state.params["random_state"])
