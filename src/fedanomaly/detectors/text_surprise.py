"""Surprise of a text, letter by letter, and of its length."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.fading import Renewable
from fedanomaly.detectors.hashing import Language, Sequences, gram_cells, language_of, sequences
from fedanomaly.detectors.scaling import Counting, most_rows, rows_of
from fedanomaly.detectors.stages import Stage
from fedanomaly.types import FieldSpec, Floats, Integers, State, Statistics, Step, Total

LENGTHS = np.unique([math.isqrt(math.isqrt(1 << quarter)) for quarter in range(81)])
"""Edges of the cells of ``length + 1``: four to an octave."""
LENGTH_WEIGHT = 0.5
"""A length says less than letters do: texts of the same kind differ in it."""


class TextSurprise(Detector):
    """Texts that are written as others are not.

    The idea: after a few letters one can guess the next. A text is anomalous
    where the guess often fails (n-grams of letters), or if its length is rare.
    The surprises of its letters are averaged as squares, so a short strange piece
    in a long text counts for more than many slightly odd letters.

    It fails where anomalies are made of the usual words, and where they are so
    many, and so alike, that training on them makes them the usual: teach it from
    normal texts then. It does not know words: a letter is judged by the few
    before it.

    Cost: one job of 3 to 6 rounds, ``2^table_bits + 76`` counters in the widest;
    scoring takes about 0.2 microseconds a letter.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    order : int in [1, 6], default=3
        Longest n-gram: a letter is judged by the `order` - 1 letters before it.
    table_bits : int in [8, 22], default=16
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
    Every reading is a byte of a text in UTF-8 (or any other number that stands
    for a letter), NaN is none. With p the probability of each letter after its
    predecessors and of the end, and q that of the length, the score is
    ``sqrt(mean(log(p)^2)) - 0.5 log(q)``. Letters share the first term in
    proportion to log(p)^2, the last has that of the end too; the second equally.

    The opened counts say of anybody who can guess a few letters in a row whether
    a member's texts have them.

    References
    ----------
    K. Wang, J. Parekh, S. Stolfo, "Anagram: a content anomaly detector resistant
    to mimicry attack", RAID 2006 (n-grams of bytes in a hashed table).

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import TextSurprise
    >>> texts = [b"id=%03d" % number for number in range(500)]
    >>> X = np.array([list(text) for text in texts], dtype=float)
    >>> detector = TextSurprise(contamination=0.02).fit(X)
    >>> detector.predict(np.array([list(b"id=123"), list(b"id='or")], dtype=float))
    array([ 1, -1])
    """

    name = "text_surprise"
    version = 1
    why_no_circuit = "its score looks up how often letters follow each other in a table"
    reads = "codes"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "order": [Interval(Integral, 1, 6, closed="both")],
        "table_bits": [Interval(Integral, 8, 22, closed="both")],
        "random_state": [Interval(Integral, 0, (1 << 63) - 1, closed="both")],
    }

    def __init__(
        self, *, contamination: float = 0.01, order: int = 3, table_bits: int = 16, random_state: int = 0
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

    def stages(self) -> tuple[Letters, ...]:
        """Return the one stage: counts of n-grams and of lengths."""
        return (Letters(),)

    def derive(self, state: State) -> Style:
        """Return the probabilities of the opened counts."""
        beside = np.pad(np.maximum(state["text/lengths"], 0).astype(np.float64), 1)
        held = (beside[:-2] + 2.0 * beside[1:-1] + beside[2:]) / 4.0
        length = -np.log(np.minimum((held + 0.5) / (rows_of(state) + 0.5 * len(held)), 1.0))
        return Style(language_of(state, Letters.prefix), length, _seed(state))


class Letters(Renewable):
    """Step ``text/counts``: n-grams in a hashed table, and a histogram of lengths."""

    prefix = "text"
    counted = ("text/counts", "text/lengths", "text/places")

    def next_step(self, state: State) -> Step | None:
        """Return the one step, or None when it is done."""
        if "text/counts" in state:
            return None
        n, places = most_rows(state), int(state["features"][0]) + 2
        most = n * places * int(state.params["order"])
        counts = FieldSpec(name="counts", shape=(1 << int(state.params["table_bits"]),), lower=0, upper=most)
        lengths = FieldSpec(name="lengths", shape=(len(LENGTHS),), lower=0, upper=n)
        total = FieldSpec(name="places", shape=(1,), lower=0, upper=n * places)
        return Step(name="text/counts", fields=(counts, lengths, total))

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return the counts of this member's rows."""
        order, bits = int(state.params["order"]), int(state.params["table_bits"])
        counts, lengths = (np.zeros(field.shape, dtype=np.int64) for field in step.fields[:2])
        places = 0
        for line in sequences(X, "text letters", _seed(state)):
            for where in gram_cells(line, order, bits):
                counts += np.bincount(where, minlength=len(counts))
            lengths += np.bincount(_length_cells(line), minlength=len(lengths))
            places += len(line.codes) - len(line.starts)
        return {"counts": counts, "lengths": lengths, "places": np.array([places])}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep what was opened."""
        return state.with_arrays(**{f"{self.prefix}/{field.name}": total[field.name] for field in step.fields})


@dataclass(frozen=True, eq=False)
class Style:
    """The learnt probabilities, ready to score.

    Parameters
    ----------
    language : Language
        How letters follow each other.
    length : float64 array of shape (n_lengths,)
        -log q of every cell of lengths.
    seed : int
        Of the hash.
    """

    language: Language
    length: Floats
    seed: int

    def scores(self, X: Floats) -> Floats:
        """Return the root mean square of the letters' surprises, and half the length's."""
        out = [np.zeros(0)]
        for line in sequences(X, "text letters", self.seed):
            squares = np.square(np.log(self.language.probabilities(line)))
            out.append(np.sqrt(line.summed(squares) / (line.lengths + 1)) + self._length(line))
        return np.concatenate(out)

    def shares(self, X: Floats) -> Floats:
        """Return what every column adds to the score."""
        out = [np.zeros((0, X.shape[1]))]
        for line in sequences(X, "text letters", self.seed):
            squares = np.square(np.log(self.language.probabilities(line)))
            # Letters that are certain have neither a square nor a root.
            root = np.sqrt(np.maximum(line.summed(squares), np.finfo(np.float64).tiny) * (line.lengths + 1))
            out.append(line.by_column(squares) / root[:, None] + line.evenly(self._length(line)))
        return np.concatenate(out)

    def _length(self, line: Sequences) -> Floats:
        return LENGTH_WEIGHT * self.length[_length_cells(line)]


def _length_cells(line: Sequences) -> Integers:
    return np.searchsorted(LENGTHS, line.lengths + 1, side="right") - 1


def _seed(state: State) -> int:
    return int(state.params["random_state"])
