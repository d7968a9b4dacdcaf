"""What a job will take, before it runs: rounds, bits, ciphertexts, bytes, seconds.

The steps of a job follow from the sums that it opens, so they are played through
here, on normal random rows unless there are better ones. Statistics are sums:
those of many equal copies of a few rows are a multiple of theirs, so a billion
rows cost no more than some ten thousand to plan for. How often a histogram is
refined, and when a search ends, depends on the rows: a short job is played
through on several draws.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from fedanomaly.detectors import Detector
from fedanomaly.detectors.evaluation import EVALUATION, Evaluating
from fedanomaly.detectors.scaling import MAX_ROWS
from fedanomaly.errors import CapacityError
from fedanomaly.fhe import Layout, best_layout
from fedanomaly.types import Floats, Integers, Quantiser, Statistics, Step, Total

SAMPLE_ROWS, SAMPLE_CELLS = 32_768, 1 << 20
DRAWS, DRAWN_CELLS, SHORT = 3, 1 << 17, 24
"""A job of at most SHORT rounds over few cells is played through DRAWS times."""
LABELLED = 50
"""One row of so many is an anomaly where labels are wanted."""
ROUND_S = 0.6
"""Seconds of one round beyond local work: five signed exchanges with a coordinator
nearby, and waiting for the slowest; measured with three nodes on one machine."""
COEFFICIENT_S = 1.5e-6
"""Seconds of encrypting, opening and adding one coefficient at a member."""
MAX_STEPS = 2000

# Signed envelopes, counted in logs of 3 to 16 members; they hardly depend on the job.
DEAL_BYTES = 275_160
"""What a member sends every other one when a key epoch is set up."""
ENVELOPE_BYTES, DECRYPTOR_BYTES = 1_750, 530
"""What a member signs in a round beside its sums, and what a decryptor signs more."""
ORDER_BYTES, SEAT_BYTES = 3_550, 262
"""What the coordinator signs in a round, and how much of it grows with the members."""
JOB_BYTES = 500
"""What a member signs once in a job."""


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What one round takes.

    Parameters
    ----------
    name : str
        Step.
    numbers : int
        Entries that are summed, the clip count included.
    field_bits : int
        Bits of one entry of the sum.
    ring : int
        Degree of the ring.
    ciphertexts : int
        Ciphertexts of one message.
    message_bytes : int
        What every member uploads; a decryptor uploads as much again.
    seconds : float
        Expected duration.
    """

    name: str
    numbers: int
    field_bits: int
    ring: int
    ciphertexts: int
    message_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a job will take.

    Parameters
    ----------
    plays : tuple of tuple of StepCost
        The rounds of every time that the job was played through.
    most_rounds : int
        It takes no more, whatever the rows are.
    members, decryptors : int
        Size of the federation, and how many of it decrypt.
    """

    plays: tuple[tuple[StepCost, ...], ...]
    most_rounds: int
    members: int
    decryptors: int

    @property
    def steps(self) -> tuple[StepCost, ...]:
        """The rounds of the play of middle length."""
        return sorted(self.plays, key=len)[len(self.plays) // 2]

    @property
    def rounds(self) -> float:
        """Expected number of rounds: the mean over the plays."""
        return sum(map(len, self.plays)) / len(self.plays)

    @property
    def fewest(self) -> int:
        """Rounds of the shortest play."""
        return min(map(len, self.plays))

    @property
    def longest(self) -> int:
        """Rounds of the longest play."""
        return max(map(len, self.plays))

    @property
    def message_bytes(self) -> int:
        """Bytes of one member's encrypted sums."""
        return round(sum(step.message_bytes for play in self.plays for step in play) / len(self.plays))

    @property
    def upload_bytes(self) -> int:
        """Bytes that a member sends that decrypts in every round, signatures and votes included."""
        return 2 * self.message_bytes + round((ENVELOPE_BYTES + DECRYPTOR_BYTES) * self.rounds) + JOB_BYTES

    @property
    def download_bytes(self) -> int:
        """Bytes that a member reads: the masked sums, and what everybody has signed."""
        everybody = self.members * (ENVELOPE_BYTES + SEAT_BYTES) + self.decryptors * DECRYPTOR_BYTES
        return self.message_bytes + round((everybody + ORDER_BYTES) * self.rounds) + self.members * JOB_BYTES

    @property
    def setup_upload_bytes(self) -> int:
        """Bytes that a member sends once, when a key epoch is set up."""
        return (self.members - 1) * DEAL_BYTES + 8_000

    @property
    def setup_download_bytes(self) -> int:
        """Bytes that a member reads once, when a key epoch is set up."""
        return (self.members - 1) * (DEAL_BYTES + 13_500)

    @property
    def seconds(self) -> float:
        """Expected duration."""
        return sum(step.seconds for play in self.plays for step in play) / len(self.plays)


def forecast(
    detector: Detector,
    *,
    rows: int,
    features: int,
    members: int,
    threshold: int,
    evaluation: bool = False,
    like: Floats | None = None,
    labels: Integers | None = None,
) -> Forecast:
    """Return what a job will take, as far as it can be known before it.

    Parameters
    ----------
    detector : Detector
        Untrained.
    rows : int
        Rows of all members together.
    features : int
        Encoded features.
    members, threshold : int
        Size of the federation and decryption threshold.
    evaluation : bool, default=False
        Whether a model of the detector is evaluated, not trained.
    like : float64 array of shape (n_samples, n_features), optional
        Rows that are like those of the members; else normal random ones are drawn.
    labels : int array of shape (n_samples,), optional
        Their labels; else some that the rows tell in part.

    Raises
    ------
    CapacityError
        If a member has more rows than one job takes, or a step does not fit any ring.
    """
    if rows > members * MAX_ROWS:
        raise CapacityError(f"a member may bring at most {MAX_ROWS} rows to one job", hint="train on fewer rows")
    play = _Play(rows=rows, members=members, threshold=threshold, evaluation=evaluation)
    sample = min(rows, SAMPLE_ROWS, max(SAMPLE_CELLS // features, 1000))
    draws = _draws(sample, features) if like is None else iter([like[:SAMPLE_ROWS]])
    plays = [play.through(detector, next(draws), None if labels is None else labels[:SAMPLE_ROWS])]
    few = sample * features <= DRAWN_CELLS and len(plays[0]) <= SHORT
    plays += [play.through(detector, drawn) for drawn in draws if few and not evaluation]
    return Forecast(
        plays=tuple(plays),
        most_rounds=1 if evaluation else detector.most_rounds(),
        members=members,
        decryptors=play.layout(1, 32).max_decryptors,
    )


def _draws(sample: int, features: int) -> Iterator[Floats]:
    for seed in range(DRAWS):
        yield np.random.default_rng(seed).normal(size=(sample, features))


def _labels(drawn: Floats) -> Integers:
    """Return labels of which the first column tells about as much as chance does."""
    first = np.nan_to_num(drawn[:, 0])
    told = (first - first.mean()) / (float(first.std()) or 1.0) + np.random.default_rng(0).normal(size=len(first))
    labels = np.zeros(len(first), dtype=np.int64)
    labels[np.argsort(told)[-max(1, len(first) // LABELLED) :]] = 1
    return labels


@dataclass(frozen=True, kw_only=True)
class _Play:
    rows: int
    members: int
    threshold: int
    evaluation: bool

    def layout(self, fields: int, field_bits: int) -> Layout:
        return best_layout(members=self.members, threshold=self.threshold, field_bits=field_bits, fields=fields)

    def through(self, detector: Detector, drawn: Floats, known: Integers | None = None) -> tuple[StepCost, ...]:
        """Return the rounds of a job over rows like those that were drawn."""
        labels = _labels(drawn) if known is None else known
        if self.evaluation:
            return (self._evaluation(detector, drawn, labels),)
        copies = max(1, round(self.rows / len(drawn)))
        state, costs = detector.initial_state(drawn.shape[1]), list[StepCost]()
        while (step := detector.next_step(state)) is not None and len(costs) < MAX_STEPS:
            began = time.perf_counter()
            statistics = detector.local(step, drawn, state, labels)
            costs.append(self._cost(step, (time.perf_counter() - began) / len(drawn)))
            state = detector.merge(step, Total(step, _sums(step, statistics, copies), copies, 0), state)
        return tuple(costs)

    def _evaluation(self, detector: Detector, drawn: Floats, labels: Integers) -> StepCost:
        few = drawn[:LABELLED]
        evaluating = Evaluating(EVALUATION, detector.fit(few, _labels(few)))
        step = cast("Step", evaluating.next_step(evaluating.start()))
        began = time.perf_counter()
        evaluating.local(drawn, labels.astype(np.float64))
        return self._cost(step, (time.perf_counter() - began) / len(drawn))

    def _cost(self, step: Step, row_s: float) -> StepCost:
        quantiser = Quantiser(step=step, members=self.members)
        layout = self.layout(quantiser.entries, quantiser.field_bits)
        # A member has its part of the rows.
        local_s = row_s * self.rows / self.members
        return StepCost(
            name=step.name,
            numbers=quantiser.entries,
            field_bits=quantiser.field_bits,
            ring=int(layout.preset),
            ciphertexts=layout.ciphertexts,
            message_bytes=layout.message_bytes,
            seconds=local_s + ROUND_S + COEFFICIENT_S * layout.coefficients * self.members,
        )


def _sums(step: Step, statistics: Statistics, copies: int) -> dict[str, Integers]:
    return {
        field.name: np.rint(np.asarray(statistics[field.name], dtype=np.float64) / field.resolution).astype(np.int64)
        * copies
        for field in step.fields
    }
