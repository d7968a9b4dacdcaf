"""Training without a service or encryption: what checks of detectors are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.types import Floats, Integers, Quantiser, State, Step, Total


def sample(count: int = 400) -> Floats:
    """Return rows with everything that real ones have: scales, gaps, rare and constant columns, copies."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(count, 8)) * [1, 1e-6, 1e6, 1, 1, 1, 1, 1] + [0, 0, 3e6, 0, 0, 0, 0, 0]
    rows[:, 3] = rows[:, 0] * 2.0 + 1.0
    rows[:, 4] = rng.random(count) < 0.03
    rows[:, 5] = 4.25
    rows[:, 6] = np.where(rng.random(count) < 0.8, 0.0, np.exp(rows[:, 6] * 3))
    rows[rng.random(rows.shape) < 0.02] = np.nan
    return rows


def marks(rows: Floats) -> Integers:
    """Return labels that follow from each row alone, so that they travel with it."""
    return ((rows[:, 0] > 1.2) | (rows[:, -1] > 1.2)).astype(np.int64)


def taught(detector: Detector, rows: Floats) -> Detector:
    """Return the detector fitted on the rows, with their `marks` if it learns from labels."""
    return detector.fit(rows, marks(rows) if detector.learns_from_labels else None)


def light(detector: Detector) -> Detector:
    """Return an untrained copy with three trees, if it has trees: each one more is more of the same."""
    params = detector.params()
    return type(detector)(**{**params, **({"n_trees": 3} if "n_trees" in params else {})})


def opened(step: Step, contributions: Sequence[np.ndarray], members: int) -> Total:
    """Return the sum of quantised contributions, as a round would open it."""
    quantiser = Quantiser(step=step, members=members)
    sums = np.zeros(quantiser.entries, dtype=np.uint64)
    for contribution in contributions:
        sums += contribution
    return quantiser.total(sums, len(contributions))


def history(
    detector: Detector, parts: Sequence[Floats], labels: Sequence[Integers] | None = None
) -> Iterator[tuple[Step, Total, State]]:
    """Yield step, opened total and the state before it, over a whole job of members that have `parts`.

    Their labels are `labels`, or else `marks`.
    """
    given = [marks(part) for part in parts] if labels is None else labels
    state = detector.initial_state(parts[0].shape[1])
    while (step := detector.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=len(parts))
        local = [detector.local(step, part, state, y) for part, y in zip(parts, given, strict=True)]
        total = opened(step, [quantiser.quantise(statistics) for statistics in local], len(parts))
        yield step, total, state
        state = detector.merge(step, total, state)


def federated(detector: Detector, parts: Sequence[Floats], labels: Sequence[Integers] | None = None) -> Detector:
    """Return the detector trained on the exact sums over `parts`."""
    state = detector.initial_state(parts[0].shape[1])
    for step, total, before in history(detector, parts, labels):
        must(total.clipped == 0, f"step {step.name} clips honest statistics")
        state = detector.merge(step, total, before)
    return detector.with_state(state)


def must(condition: bool, text: str) -> None:
    """Raise AssertionError with that text unless the condition holds."""
    if not condition:
        raise AssertionError(text)
