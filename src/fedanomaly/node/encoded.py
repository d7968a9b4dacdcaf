"""The rows of a snapshot as numbers: those to train on, and the held-out ones after them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedanomaly.features import Encoder, Schema
from fedanomaly.node.datasets import Datasets
from fedanomaly.node.registry import Snapshot
from fedanomaly.types import Floats


def encoded_training(datasets: Datasets, snapshot: Snapshot, schema: Schema, *, skip: int = 0) -> Iterator[Floats]:
    """Yield the rows to train on, batch by batch, in the order of the file they came from.

    The first `skip` rows are left out; what comes behind them remembers them all the same.
    """
    encoder = Encoder(schema)  # one for all batches: windows reach over their edges
    for batch in datasets.train(snapshot):
        first = min(skip, batch.num_rows)
        skip -= first
        if schema.looks_back:
            yield encoder.encode(batch)[first:]
        else:
            yield encoder.encode(batch.slice(first))


def encoded_holdout(datasets: Datasets, snapshot: Snapshot, schema: Schema) -> Floats:
    """Return the held-out rows; their windows and frequencies go on from the rows to train on."""
    encoder = Encoder(schema)
    if schema.looks_back:
        for batch in datasets.train(snapshot):
            encoder.encode(batch)
    parts = [encoder.encode(batch) for batch in datasets.holdout(snapshot).to_batches()]
    return np.concatenate(parts) if parts else np.empty((0, schema.n_features))
