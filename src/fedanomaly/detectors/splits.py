"""However rows are dealt out to members, what opens is what all rows together give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.rehearsal import federated, history, light, marks, must, opened, sample, taught
from fedanomaly.types import Floats, Integers, Quantiser


def dealt(rows: Floats, labels: Integers, members: int) -> dict[str, list[Integers]]:
    """Return ways to deal rows to members: the places of every member's rows.

    Parameters
    ----------
    rows : float64 array of shape (n_samples, n_features)
        Their first column decides who gets what where members see other readings.
    labels : int64 array of shape (n_samples,)
        Decide it where members see other labels; some then have one class only.
    members : int
        How many there are.
    """
    random = np.random.default_rng(members)
    shuffled, owner = random.permutation(len(rows)), random.integers(0, members, len(rows))
    # None, one, two and three rows, and so on; the last member has the rest.
    few = np.cumsum(np.arange(members - 1) % 5)
    return {
        "even": np.array_split(shuffled, members),
        "very uneven": np.split(shuffled, few),
        "random": [np.flatnonzero(owner == member) for member in range(members)],
        "by label": np.array_split(np.argsort(labels, kind="stable"), members),
        "by feature": np.array_split(np.argsort(rows[:, 0], kind="stable"), members),
    }


def parts_equal_the_whole(detector: Detector) -> None:
    """Check that 3 and 7 members, whoever has which rows, open what `fit` opens on the whole, bit for bit.

    It is exact for iterative detectors as well: each of their steps is a sum of whole numbers.
    """
    detector, rows = light(detector), sample(120)
    labels = marks(rows)
    ways = {f"{way}, {count}": parts for count in (3, 7) for way, parts in dealt(rows, labels, count).items()}
    ways["other order of members"] = ways["by feature, 3"][::-1]
    ways["other order of rows"] = [np.random.default_rng(1).permutation(len(rows))]
    state = detector.initial_state(rows.shape[1])
    for step, total, before in history(detector, [rows]):
        state = detector.merge(step, total, before)
        for way, parts in ways.items():
            quantiser = Quantiser(step=step, members=len(parts))
            sent = [quantiser.quantise(detector.local(step, rows[part], before, labels[part])) for part in parts]
            summed = opened(step, sent, len(parts))
            must(summed.clipped == 0, f"{way}: step {step.name} clips honest statistics")
            merged = detector.merge(step, summed, before)
            must(merged.to_bytes() == state.to_bytes(), f"{way}: step {step.name} opens something else than the whole")
    whole = taught(type(detector)(**detector.params()), rows)
    must(whole.state_.to_bytes() == state.to_bytes(), "fit is not the federation of one member")


def same_as_whole(detector: Detector, parts: Sequence[Floats]) -> None:
    """Check that a federation of parts equals `fit` on the whole, bit for bit."""
    whole = taught(type(detector)(**detector.params()), np.concatenate(parts))
    trained = federated(detector, parts)
    must(trained.state_.to_bytes() == whole.state_.to_bytes(), "the parts' sums give another state than the whole")
    rows = np.concatenate(parts)
    must(np.array_equal(trained.anomaly_scores(rows), whole.anomaly_scores(rows)), "equal states score differently")
