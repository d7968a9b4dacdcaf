"""Iterative detectors tell how they come closer, and stop where nothing would change."""

import numpy as np
import pytest

from fedanomaly.detectors import (
    Autoencoder,
    GaussianMixture,
    GradientBoosting,
    KMeans,
    LogisticRegression,
    Mahalanobis,
)
from fedanomaly.detectors.progress import clipped_in, progress_of
from fedanomaly.detectors.refresh import Refresh
from fedanomaly.types import FieldSpec, Quantiser, Step, Total

ROWS = np.random.default_rng(0).normal(size=(300, 3))
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 1.0).astype(int)
BLOBS = np.repeat(np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0], [9.0, 9.0]]), 25, axis=0)


def progress(learning, rows=ROWS):
    """Return the name of every step, and how far it has come."""
    labels = LABELS if getattr(learning, "learns_from_labels", False) else None
    state, told = learning.initial_state(rows.shape[1]), []
    while (step := learning.next_step(state)) is not None:
        quantiser = Quantiser(step=step, members=1)
        total = quantiser.total(quantiser.quantise(learning.local(step, rows, state, labels)), 1)
        told.append((step.name, progress_of(learning, step, total, state)))
        state = learning.merge(step, total, state)
    return told, state


@pytest.mark.parametrize(
    ("detector", "name", "steps"),
    [
        (KMeans(n_clusters=4, n_rounds=4), "variance within clusters", 4),
        (LogisticRegression(), "mean loss", None),
        (GradientBoosting(n_trees=4, depth=2), "mean p (1 - p)", 4),
        (Autoencoder(n_epochs=2), "mean squared error", 3),
    ],
)
def test_what_iterates_tells_how_it_comes_closer(detector, name, steps):
    told = [entry for _, entry in progress(detector)[0] if entry]
    assert {entry.name for entry in told} == {name}
    assert steps is None or len(told) == steps
    assert told[-1].value < told[0].value


def test_progress_is_in_the_unit_that_it_says():
    told = dict(progress(LogisticRegression())[0])
    share = LABELS.mean()
    # The first round tries the share of anomalies for all rows.
    assert told["newton/0"].value == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share), abs=1e-3)
    told = dict(progress(GradientBoosting(n_trees=2, depth=2))[0])
    assert told["boost/0"].value == pytest.approx(share * (1 - share), abs=1e-3)
    told = dict(progress(KMeans(n_clusters=1, n_rounds=1))[0])
    width = np.subtract(*np.percentile(ROWS, (75, 25), axis=0)) / 1.349
    assert told["kmeans/0"].value == pytest.approx((ROWS.var(axis=0) / width**2).mean(), rel=0.05)


def test_the_log_density_of_a_mixture_rises():
    told = [entry for name, entry in progress(GaussianMixture(n_components=2))[0] if name.startswith("gaussian_mix")]
    assert told[0] is None
    assert {entry.name for entry in told[1:] if entry} == {"mean log density"}
    assert told[-1].value > told[1].value


def test_a_refresh_tells_it_too_and_one_pass_has_nothing_to_tell():
    fitted = KMeans(n_clusters=4).fit(ROWS)
    told = [name for name, entry in progress(Refresh.of(fitted, 0.5))[0] if entry]
    assert told == ["kmeans/5"]
    assert not any(entry for _, entry in progress(Mahalanobis())[0])


def test_centres_that_stay_end_the_rounds_and_change_nothing():
    few, many = KMeans(n_clusters=4, n_rounds=4), KMeans(n_clusters=4, n_rounds=50)
    (one, first), (other, second) = progress(few, BLOBS), progress(many, BLOBS)
    assert sum(name.startswith("kmeans/") for name, _ in other) <= 4
    assert sum(name.startswith("kmeans/") for name, _ in one) <= 4
    for name in ("counts", "sums", "squares"):
        assert np.array_equal(first[f"kmeans/{name}"], second[f"kmeans/{name}"])
    # Told apart from rounds that still move.
    assert sum(name.startswith("kmeans/") for name, _ in progress(KMeans(n_clusters=32, n_rounds=5))[0]) == 5


def test_a_network_without_a_gradient_trains_no_further():
    rows = np.zeros((50, 3))
    told, _ = progress(Autoencoder(n_epochs=50), rows)
    assert sum(name.startswith("network/encode-") for name, _ in told) == 1
    assert sum(name.startswith("network/encode-") for name, _ in progress(Autoencoder(n_epochs=3))[0]) == 4


def test_what_the_detectors_of_a_bundle_clip_is_counted():
    fields = tuple(FieldSpec(name=name, shape=(1,), lower=0, upper=9) for name in ("sum", "clipped"))
    bundle, alone = Step(name="ensemble/a+b", fields=fields), Step(name="a", fields=fields[:1])
    assert clipped_in(Total(bundle, {"sum": np.array([1]), "clipped": np.array([3])}, 1, 2)) == 5
    assert clipped_in(Total(alone, {"sum": np.array([1])}, 1, 2)) == 2
