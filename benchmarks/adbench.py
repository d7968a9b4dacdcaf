"""The sets of ADBench and its protocol: sampled, split and scaled the same way for every detector.

Protocol: S. Han et al., "ADBench: Anomaly detection benchmark", NeurIPS 2022: a
set of fewer than 1,000 rows is drawn up to 1,000 with replacement, one of more
than 10,000 is sampled down to 10,000; 70 % to train, stratified; columns scaled
to [0, 1] by the training part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

from fedanomaly.types import Floats, Integers

DATA = Path(os.environ.get("FEDANOMALY_DATA", Path(__file__).parents[2] / "shared" / "data"))
LEAST_ROWS, MOST_ROWS = 1_000, 10_000
TRAIN_SHARE = 0.7


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """One set, split once.

    Parameters
    ----------
    name : str
        Name of the set.
    seed : int
        Of the sampling and of the split.
    train, test : float64 arrays of shape (n_samples, n_features)
        Rows; labels serve the evaluation only, and the dealing to members.
    train_labels, test_labels : int64 arrays of shape (n_samples,)
        1 is an anomaly.
    """

    name: str
    seed: int
    train: Floats
    test: Floats
    train_labels: Integers
    test_labels: Integers

    def members(self, count: int, concentration: float = 0.5) -> list[Integers]:
        """Return the training rows of every member: of each label, shares from a Dirichlet distribution."""
        rng = np.random.default_rng([self.seed, count])
        parts: list[list[Integers]] = [[] for _ in range(count)]
        for label in (0, 1):
            rows = rng.permutation(np.flatnonzero(self.train_labels == label))
            shares = rng.dirichlet([concentration] * count)
            cuts = (np.cumsum(shares)[:-1] * len(rows)).astype(int)
            for part, dealt in zip(parts, np.split(rows, cuts), strict=True):
                part.append(dealt)
        return [np.concatenate(part) for part in parts]


def names() -> list[str]:
    """Return the names of the sets that are there."""
    return sorted(path.stem for path in (DATA / "adbench").glob("*.npz"))


def split(name: str, seed: int) -> Split:
    """Return one set, sampled, split and scaled."""
    with np.load(DATA / "adbench" / f"{name}.npz") as stored:
        rows, labels = stored["X"].astype(np.float64), stored["y"].astype(np.int64)
    rng = np.random.default_rng(seed)
    if len(rows) < LEAST_ROWS:
        drawn = rng.choice(len(rows), LEAST_ROWS, replace=True)
    elif len(rows) > MOST_ROWS:
        drawn = rng.choice(len(rows), MOST_ROWS, replace=False)
    else:
        drawn = np.arange(len(rows))
    train, test, train_labels, test_labels = train_test_split(
        rows[drawn], labels[drawn], train_size=TRAIN_SHARE, stratify=labels[drawn], random_state=seed
    )
    scaler = MinMaxScaler().fit(train)
    return Split(
        name=name,
        seed=seed,
        train=scaler.transform(train),
        test=scaler.transform(test),
        train_labels=train_labels,
        test_labels=test_labels,
    )


def splits(seeds: tuple[int, ...] = (1, 2, 3)) -> Iterator[Split]:
    """Yield every set with every seed."""
    for name in names():
        for seed in seeds:
            yield split(name, seed)
