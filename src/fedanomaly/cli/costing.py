"""What a job will take, before it runs: steps, bits, ciphertexts, bytes, seconds.

The steps of a job follow from the sums that it opens, so they are played through
here on normal random rows. Statistics are sums: those of many equal copies of a
few rows are a multiple of theirs, so a billion rows cost no more than a few
thousand to plan for. Refinements may differ by a round for other data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors import Detector
from fedanomaly.detectors.scaling import MAX_ROWS
from fedanomaly.errors import CapacityError
from fedanomaly.fhe import best_layout
from fedanomaly.types import Integers, Quantiser, Total

SAMPLE_ROWS, SAMPLE_CELLS = 65_536, 1 << 22
ROUND_S = 0.6
"""Seconds of one round beyond local work: five signed exchanges with a coordinator
nearby, and waiting for the slowest; measured with three nodes on one machine."""
COEFFICIENT_S = 1.5e-6
"""Seconds of encrypting, opening and adding one coefficient at a member."""
MAX_STEPS = 1000


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


def plan(detector: Detector, *, rows: int, features: int, members: int, threshold: int) -> list[StepCost]:
    """Return the rounds of a job, as far as they can be known before it.

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

    Raises
    ------
    CapacityError
        If a member has more rows than one job takes, or a step does not fit any ring.
    """
    if rows > members * MAX_ROWS:
        raise CapacityError(f"a member may bring at most {MAX_ROWS} rows to one job", hint="train on fewer rows")
    sample = min(rows, SAMPLE_ROWS, max(SAMPLE_CELLS // features, 1000))
    copies = max(1, round(rows / sample))
    rows_drawn = np.random.default_rng(0).normal(size=(sample, features))
    labels = np.arange(sample) % 50 == 0
    state, costs = detector.initial_state(features), []
    while (step := detector.next_step(state)) is not None and len(costs) < MAX_STEPS:
        quantiser = Quantiser(step=step, members=members)
        layout = best_layout(
            members=members, threshold=threshold, field_bits=quantiser.field_bits, fields=quantiser.entries
        )
        began = time.perf_counter()
        statistics = detector.local(step, rows_drawn, state, labels)
        # One member has rows / members of them; the sample took this long for its own.
        local_s = (time.perf_counter() - began) * rows / members / sample
        costs.append(
            StepCost(
                name=step.name,
                numbers=quantiser.entries,
                field_bits=quantiser.field_bits,
                ring=int(layout.preset),
                ciphertexts=layout.ciphertexts,
                message_bytes=layout.message_bytes,
                seconds=local_s + ROUND_S + COEFFICIENT_S * layout.coefficients * members,
            )
        )
        sums: dict[str, Integers] = {
            field.name: np.rint(np.asarray(statistics[field.name]) / field.resolution).astype(np.int64) * copies
            for field in step.fields
        }
        state = detector.merge(step, Total(step, sums, copies, 0), state)
    return costs
