"""Real data under threshold encryption: what opens is the plain sum, what is learnt is the whole."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import Loda, Mahalanobis, from_params, registry
from fedanomaly.detectors.contract import marks, sample, taught
from fedanomaly.protocol import JobState, Settings
from fedanomaly.simulation import ArrayLearner, Federation, Party, matrix_schema, request_for, simulate
from fedanomaly.types import Quantiser
from tests.contract.real_data import adbench, intrusions
from tests.contract.test_detectors_real_data import SETS, dealt

DETECTORS = (Mahalanobis(), Loda(random_state=0))


class Recorder(ArrayLearner):
    """Notes what this member quantised and what was opened."""

    def __init__(self, detector, rows, members, book):
        super().__init__(detector, rows)
        self._members, self._book = members, book

    def local(self, step, state):
        statistics = super().local(step, state)
        vector = Quantiser(step=step, members=self._members).quantise(statistics)
        self._book["sent"].setdefault(step.name, []).append(vector)
        return statistics

    def merge(self, step, total, state):
        self._book["opened"].setdefault(step.name, []).append(total)
        return super().merge(step, total, state)


@pytest.mark.parametrize("evenly", [True, False], ids=["even", "uneven"])
@pytest.mark.parametrize("members", [3, 7])
@pytest.mark.parametrize("dataset", SETS)
def test_opened_totals_are_the_sums_of_the_quantised_integers(dataset, members, evenly):
    rows, labels = adbench(dataset)
    order = np.random.default_rng(members).permutation(len(rows))
    parts = dealt(rows[order], members, evenly)
    book = {}

    def learner_of(request, part):
        detector = next(entry for entry in DETECTORS if entry.name == request.detector)
        return Recorder(detector, part, members, book.setdefault(request.detector, {"sent": {}, "opened": {}}))

    parties = [
        Party(f"member-{index}", lambda request, part=part: learner_of(request, part))
        for index, part in enumerate(parts)
    ]
    federation = Federation(Settings(name="real", members=members, threshold=2), parties)
    try:
        federation.enrol()
        for detector in DETECTORS:
            request = request_for(detector, model="m", dataset="d", schema=matrix_schema(rows.shape[1]))
            job = federation.train(request)
            assert job.state is JobState.ACCEPTED, (job.reason, federation.errors)
            states = [member.state(job) for member in federation.members.values()]
            assert len({state.to_bytes() for state in states}) == 1
            check_sums(book[detector.name], members)
            learnt, whole = detector.with_state(states[0]), type(detector)(**detector.get_params()).fit(rows)
            scores, expected = learnt.anomaly_scores(rows), whole.anomaly_scores(rows)
            assert np.abs(scores - expected).max() == 0.0
            assert abs(roc_auc_score(labels, scores) - roc_auc_score(labels, expected)) <= 0.001
    finally:
        federation.close()


def check_sums(book, members):
    assert book["sent"].keys() == book["opened"].keys()
    for name, vectors in book["sent"].items():
        assert len(vectors) == members
        totals = book["opened"][name]
        assert len(totals) == members
        summed = np.sum(vectors, axis=0, dtype=np.uint64)
        expected = Quantiser(step=totals[0].step, members=members).total(summed, members)
        for total in totals:
            assert total.clipped == expected.clipped
            assert total.integers.keys() == expected.integers.keys()
            for field, values in expected.integers.items():
                np.testing.assert_array_equal(total.integers[field], values)


def test_encrypted_mahalanobis_finds_intrusions_that_members_see_apart():
    parts, test, labels = intrusions()
    run = simulate(Mahalanobis(), parts)
    assert run.max_abs_difference == 0.0
    assert roc_auc_score(labels, run.detector.anomaly_scores(test)) >= 0.95


LIGHT = {
    "autoencoder": {"n_epochs": 1, "n_hidden": 2},
    "ensemble": {
        "detectors": [
            "hbos",
            "robust_mahalanobis",
            {"detector": "random_trees", "n_trees": 4},
            {"detector": "kmeans", "n_clusters": 4, "n_rounds": 2},
        ]
    },
    "gaussian_mixture": {"n_components": 2, "n_rounds": 2},
    "gradient_boosting": {"n_trees": 2, "depth": 2},
    "kernel_mean": {"n_cosines": 32},
    "kmeans": {"n_clusters": 4, "n_rounds": 2},
    "loda": {"n_projections": 8},
    "ngram": {"table_bits": 9},
    "random_trees": {"n_trees": 4},
    "text_surprise": {"table_bits": 9},
}
"""Parameters with which a detector's sums are small; the others have their defaults."""


@pytest.mark.parametrize("name", registry())
def test_every_detector_learns_under_encryption_what_fit_learns(name):
    detector = from_params(name, LIGHT.get(name))
    parts = np.split(sample(90)[:, 2:], [40, 43])

    run = simulate(detector, parts, [marks(part) for part in parts] if detector.learns_from_labels else None)

    whole = taught(from_params(name, LIGHT.get(name)), np.concatenate(parts))
    assert run.detector.state_.to_bytes() == whole.state_.to_bytes()
    assert run.max_abs_difference == 0.0
