"""What a job is said to take, against jobs that ran: every detector, real keys and messages."""

from types import SimpleNamespace

import numpy as np
import pytest

import fedanomaly as fa
from fedanomaly.cli.costing import forecast
from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import history, marks
from fedanomaly.protocol import JobState, Settings
from fedanomaly.simulation.federation import Federation, Party
from fedanomaly.simulation.simulate import ArrayLearner, matrix_schema, request_for

MEMBERS, FEATURES, ROWS = 3, 8, 1200
# Shorter, so that the tests are: what a round takes and how rounds add up stays as it is.
PARAMS = {"gradient_boosting": {"n_trees": 6, "depth": 3}, "kernel_mean": {"n_cosines": 256}}


class Observed(Federation):
    """A federation whose traffic is counted, job by job."""

    def __init__(self, members=MEMBERS):
        self.learners = []
        parties = [Party(f"p{at}", lambda _, at=at: self.learners[at]) for at in range(members)]
        super().__init__(Settings(name="costs", members=members, threshold=2), parties)
        self.setup = self.traffic(self.enrol)

    def traffic(self, act):
        """Return what the busiest member sends and every member reads while something is done."""
        up, began = [party.bytes_up for party in self.parties], len(self.log)
        done = act()
        new = self.log[began:]
        # Every member reads the whole log, the sums that the coordinator opened, and the deals that are for it.
        read = sum(len(entry.envelope.to_bytes()) for entry in new)
        attached = [
            (entry.envelope.kind, len(self.blobs[entry.envelope.attachment]))
            for entry in new
            if entry.envelope.kind in {"deal", "opened"}
        ]
        deals = sum(size for kind, size in attached if kind == "deal") // len(self.parties)
        return SimpleNamespace(
            up=max(party.bytes_up - before for party, before in zip(self.parties, up, strict=True)),
            down=read + deals + sum(size for kind, size in attached if kind == "opened"),
            done=done,
        )

    def job(self, detector, parts):
        labels = [marks(part) if detector.learns_from_labels else None for part in parts]
        self.learners = [ArrayLearner(detector, part, y) for part, y in zip(parts, labels, strict=True)]
        schema = matrix_schema(parts[0].shape[1])
        found = self.traffic(lambda: self.train(request_for(detector, model="m", dataset="d", schema=schema)))
        assert found.done.state is JobState.ACCEPTED, self.errors
        found.rounds = len(found.done.accepted)
        return found


@pytest.fixture(scope="module")
def federation():
    made = Observed()
    yield made
    made.close()


def rows_of(seed=1, rows=ROWS):
    return np.array_split(np.random.default_rng(seed).normal(size=(rows, FEATURES)), MEMBERS)


def told(name, **more):
    asked = {"rows": ROWS, "features": FEATURES, "members": MEMBERS, "threshold": 2, **more}
    return forecast(from_params(name, PARAMS.get(name, {})), **asked)


@pytest.mark.parametrize("name", registry())
def test_rounds_and_bytes_of_every_detector_are_foretold_within_a_fifth(federation, name):
    found = federation.job(from_params(name, PARAMS.get(name, {})), rows_of())

    foretold = told(name)

    assert foretold.rounds == pytest.approx(found.rounds, rel=0.2)
    assert foretold.upload_bytes == pytest.approx(found.up, rel=0.2)
    assert foretold.download_bytes == pytest.approx(found.down, rel=0.2)
    assert found.rounds <= foretold.most_rounds


def test_what_a_key_epoch_takes_is_foretold(federation):
    assert told("hbos").setup_upload_bytes == pytest.approx(federation.setup.up, rel=0.01)
    assert told("hbos").setup_download_bytes == pytest.approx(federation.setup.down, rel=0.02)


def test_with_more_members_it_is_foretold_as_well():
    members = 6
    federation = Observed(members)
    found = federation.job(from_params("mahalanobis"), np.array_split(np.concatenate(rows_of()), members))
    federation.close()

    foretold = told("mahalanobis", members=members)

    assert foretold.setup_upload_bytes == pytest.approx(federation.setup.up, rel=0.01)
    assert foretold.setup_download_bytes == pytest.approx(federation.setup.down, rel=0.02)
    assert (foretold.upload_bytes, foretold.download_bytes) == pytest.approx((found.up, found.down), rel=0.2)


@pytest.mark.parametrize("name", ["hbos", "ngram"])
def test_evaluations_are_foretold(name):
    parts = rows_of()
    labels = [marks(part) for part in parts]
    detector = from_params(name).fit(np.concatenate(parts))

    found = fa.evaluate(detector, parts, labels)

    foretold = told(name, evaluation=True)
    assert (found.rounds, foretold.rounds, foretold.most_rounds) == (1, 1, 1)
    assert foretold.upload_bytes == pytest.approx(found.bytes_up - foretold.setup_upload_bytes, rel=0.2)


STOPPING = {
    "kmeans": {"n_rounds": 12, "n_clusters": 24},
    "gaussian_mixture": {"n_rounds": 14},
    "autoencoder": {"n_epochs": 5, "n_hidden": 3},
    "logistic_regression": {},
    "gradient_boosting": {"n_trees": 9, "depth": 2},
}
"""Those that may end early, with parameters and rows that let them go on."""


def coarse(rows=600):
    """Return rows that histograms have to be refined for as often as they can be: all but equal, and far from 0."""
    return 1e6 + 1e-6 * np.random.default_rng(5).normal(size=(rows, FEATURES)) ** 5


def rounds_of(name, rows):
    labels = (rows[:, 0] > np.quantile(rows[:, 0], 0.9)).astype(int)
    return len(list(history(from_params(name, STOPPING[name]), [rows], [labels])))


@pytest.mark.parametrize("name", STOPPING)
def test_a_job_that_runs_to_its_end_takes_about_the_rounds_that_it_is_said_to_take_at_most(name):
    most = from_params(name, STOPPING[name]).most_rounds()

    assert rounds_of(name, coarse()) <= most <= 1.2 * rounds_of(name, coarse())
    assert rounds_of(name, np.concatenate(rows_of())) < most
