# ruff: noqa: N803, N806 - X is what scikit-learn calls the rows

import json
import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import fedanomaly as fa
from fedanomaly.detectors import Loda, Mahalanobis
from fedanomaly.detectors.scaling import most_rows, scale_of
from fedanomaly.detectors.stages import LabelledStage
from fedanomaly.errors import ConfigError, DataError, ShapeError
from fedanomaly.simulation.judging import Held, Judge, Scored
from fedanomaly.types import FieldSpec, Step

WORTH_IT, NO_GAIN, NOTHING = "joining is worth it", "no gain", "no detector works here"


class Means(Mahalanobis):
    """Learns from labels: scores lie along the line between the means of the classes."""

    name = "means"
    learns_from_labels = True

    def stages(self):
        return (MeansStage(),)

    def derive(self, state):
        return MeansScorer(state)


class MeansStage(LabelledStage):
    prefix = "means"

    def next_step(self, state):
        if "means/sums" in state:
            return None
        bound, columns = most_rows(state) * scale_of(state).limit, int(state["features"][0])
        sums = FieldSpec(name="sums", shape=(2, columns), lower=-bound, upper=bound)
        return Step(
            name="means/all", fields=(sums, FieldSpec(name="rows", shape=(2,), lower=0, upper=most_rows(state)))
        )

    def local(self, step, X, state, y):
        z = np.vstack([*scale_of(state).chunks(X), np.empty((0, X.shape[1]))])
        sums = np.stack([z[y == label].sum(axis=0) for label in (0, 1)])
        return {"sums": sums.astype(np.int64), "rows": np.bincount(y, minlength=2)}

    def merge(self, step, total, state):
        if not total["rows"].all():
            raise DataError("the labels hold one class only")
        return state.with_arrays(**{"means/sums": total["sums"], "means/rows": total["rows"]})


class MeansScorer:
    def __init__(self, state):
        normal, anomalous = state["means/sums"] / state["means/rows"][:, np.newaxis]
        self._scale, self._line, self._start = scale_of(state), anomalous - normal, normal

    def scores(self, X):
        z = np.vstack([*self._scale.chunks(X), np.empty((0, X.shape[1]))])
        return np.maximum(1e6 + (z - self._start) @ self._line, 0.0)

    def shares(self, X):
        raise NotImplementedError


def outliers(rows, seed=1, share=0.08, columns=4, far=3.0):
    """Return rows whose anomalies are outliers, and their labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < share).astype(np.int64)
    return rng.normal(size=(rows, columns)) * (1 + (far - 1) * labels[:, np.newaxis]), labels


def in_the_middle(rows, seed=1):
    """Return rows whose anomalies hide where most rows lie: no outliers at all."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.08).astype(np.int64)
    return rng.normal(size=(rows, 4)) * (1 - 0.5 * labels[:, np.newaxis]), labels


def split(rows, count):
    return np.array_split(rows, count)


def test_a_federation_of_organisations_with_few_rows_is_worth_it():
    X, y = outliers(2000, columns=12, far=2.0)
    parts = np.split(X[:105], [15, 30, 45, 60, 75, 90])

    found = fa.compare(Mahalanobis(), parts, test=X[105:], test_labels=y[105:], replicates=200)

    (one,) = found.detectors
    assert found.verdict == one.verdict == WORTH_IT
    assert one.judged.gain_interval.low > 0
    assert one.judged.local_worst.auroc <= one.judged.local.auroc < one.judged.federated.auroc
    assert f"{one.judged.gain:+.3f}" in found.reason


def test_figures_are_those_of_the_detector_fitted_by_hand():
    X, y = outliers(900)
    parts, tests = split(X[:600], 3), split(X[600:], 3)
    labels = split(y[600:], 3)

    found = fa.compare(Mahalanobis(), parts, test=tests, test_labels=labels, budget=0.1, replicates=50)

    (one,) = found.detectors
    alone = [Mahalanobis().fit(part).anomaly_scores(held) for part, held in zip(parts, tests, strict=True)]
    pooled = [Mahalanobis().fit(X[:600]).anomaly_scores(held) for held in tests]
    own = [roc_auc_score(truth, scores) for truth, scores in zip(labels, alone, strict=True)]
    together = [roc_auc_score(truth, scores) for truth, scores in zip(labels, pooled, strict=True)]
    assert one.judged.local.auroc == pytest.approx(np.mean(own))
    assert one.judged.local_worst.auroc == pytest.approx(min(own))
    assert one.judged.federated == one.judged.pooled
    assert one.judged.federated.auroc == pytest.approx(np.mean(together))
    assert one.judged.overall.auroc == pytest.approx(roc_auc_score(y[600:], np.concatenate(pooled)))
    assert [mine.auroc for mine, _ in one.own] == pytest.approx(own)
    assert one.judged.auroc_interval.low < one.judged.federated.auroc < one.judged.auroc_interval.high
    assert found.rows == 300
    assert found.anomalies == y[600:].sum()


def test_encryption_changes_no_figure():
    X, y = outliers(300)
    args = {"test": X[150:], "test_labels": y[150:], "replicates": 20}

    plain, encrypted = (fa.compare(Mahalanobis(), split(X[:150], 3), encrypted=way, **args) for way in (False, True))

    assert encrypted.detectors == plain.detectors
    assert (plain.encrypted, encrypted.encrypted) == (False, True)


def test_plenty_of_rows_at_everyone_give_no_gain():
    X, y = outliers(3000)
    found = fa.compare(Mahalanobis(), split(X[:2400], 3), test=X[2400:], test_labels=y[2400:], replicates=100)

    assert found.verdict == NO_GAIN
    assert found.detectors[0].verdict == NO_GAIN
    assert found.detectors[0].judged.federated.auroc > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_labels_are_nothing_that_works(seed):
    X, y = outliers(900)
    y = np.random.default_rng(seed).permutation(y)

    tried = [Mahalanobis(), Mahalanobis(), Loda(n_projections=5), Loda(n_projections=10)]
    found = fa.compare(tried, split(X, 3), split(y, 3), replicates=100)

    assert found.verdict == NOTHING
    names = ["mahalanobis 1", "mahalanobis 2", "loda n_projections=5", "loda n_projections=10"]
    assert [one.name for one in found.detectors] == names


def test_anomalies_that_are_no_outliers_are_nothing_that_works():
    X, y = in_the_middle(2000)
    found = fa.compare(Mahalanobis(), split(X, 4), split(y, 4), replicates=100)

    assert found.detectors[0].judged.auroc_interval.high < 0.5
    assert found.verdict == NOTHING
    assert ".5 is chance" in found.reason


def test_a_weak_ranking_is_nothing_that_works_however_many_rows_prove_it():
    X, y = outliers(30_000, columns=2, far=1.12)
    found = fa.compare(Mahalanobis(), split(X, 3), split(y, 3), replicates=50)

    (one,) = found.detectors
    assert 0.5 < one.judged.auroc_interval.low < one.judged.federated.auroc < 0.6
    assert found.verdict == NOTHING


@pytest.mark.parametrize(("step", "verdict"), [(0.01, NO_GAIN), (0.1, WORTH_IT)])
def test_a_gain_too_small_to_matter_is_none_however_many_rows_prove_it(step, verdict):
    """The same noise alone and together: together anomalies lie a little farther out."""
    rng = np.random.default_rng(7)
    y = (rng.random(20_000) < 0.1).astype(np.int64)
    alone = rng.normal(size=20_000) + y
    scored = Scored("steady", [alone, alone], [alone + step * y], [alone + step * y], ())

    judge = Judge(Held([np.zeros((20_000, 1))], [y], [0, 0]), budget=0.05, replicates=100, seed=0)
    (one,) = judge.compared([scored], encrypted=False).detectors

    assert one.judged.gain_interval.low > 0.001
    assert one.verdict == verdict


def test_what_only_works_alone_gives_no_gain():
    """Each organisation's normal rows are what the others' anomalies look like."""
    rng = np.random.default_rng(5)
    parts, tests, labels = [], [], []
    for organisation in range(3):
        centres = np.eye(3) * 8
        parts.append(centres[organisation] + rng.normal(size=(400, 3)))
        y = (rng.random(300) < 0.1).astype(np.int64)
        others = centres[(organisation + rng.integers(1, 3, size=300)) % 3]
        tests.append(np.where(y[:, np.newaxis], others, centres[organisation]) + rng.normal(size=(300, 3)))
        labels.append(y)

    found = fa.compare(Mahalanobis(), parts, test=tests, test_labels=labels, replicates=50)

    assert found.detectors[0].judged.local.auroc > 0.95
    assert found.verdict == found.detectors[0].verdict == NO_GAIN


def test_the_best_together_must_beat_the_best_alone():
    rng = np.random.default_rng(3)
    y = (rng.random(600) < 0.2).astype(np.int64)
    tests = Held([np.zeros((600, 1))], [y], [0, 0])

    def scored(name, alone, together):
        local, federated = ([rng.normal(size=600) + shift * y for shift in shifts] for shifts in (alone, [together]))
        return Scored(name, local, federated, federated, ())

    judge = Judge(tests, budget=0.05, replicates=100, seed=0)
    found = judge.compared([scored("gaining", [0.5, 0.6], 2.5), scored("alone", [3.5, 3.6], 2.0)], encrypted=False)

    assert [one.verdict for one in found.detectors] == [WORTH_IT, NO_GAIN]
    assert found.verdict == NO_GAIN
    assert found.reason.startswith("gaining together")
    assert "of alone alone" in found.reason


def test_a_few_anomalies_that_rank_high_by_chance_are_nothing_that_works():
    y = np.array([1, 1, 1] + [0] * 200)
    scores = np.concatenate([[190.5, 180.5, 20.5], np.arange(200.0)])
    scored = Scored("lucky", [scores * 0, scores * 0], [scores], [scores], ())

    found = Judge(Held([np.zeros((203, 1))], [y], [0, 0]), budget=0.05, replicates=200, seed=0).compared(
        [scored], encrypted=False
    )

    assert found.detectors[0].judged.federated.auroc > 0.6
    assert found.detectors[0].judged.auroc_interval.low < 0.5
    assert found.verdict == found.detectors[0].verdict == NOTHING


def test_an_organisation_without_an_anomaly_gains_a_detector_that_learns_from_labels():
    X, y = outliers(900)
    X = np.where(y[:, np.newaxis], X + 2, X)
    parts, labels = split(X[:600], 3), split(y[:600], 3)
    labels[0] = labels[0] * 0

    found = fa.compare(Means(), parts, labels, test=X[600:], test_labels=y[600:], replicates=50)

    (one,) = found.detectors
    assert one.cannot_alone == (0,)
    assert one.own[0][0].auroc == 0.5
    assert found.verdict == WORTH_IT
    assert "1 of 3 cannot train it alone" in str(found)


def test_organisations_with_one_class_are_left_out_and_if_all_are_the_rows_go_together():
    X, y = outliers(1200)
    parts = split(X[:600], 3)
    held, truth = X[600:], y[600:]
    one_class = [truth == 0, truth == 1]
    tests = [held[one_class[0]][:200], held[one_class[0]][200:], held[one_class[1]]]
    labels = [np.zeros(len(tests[0])), np.zeros(len(tests[1])), np.ones(len(tests[2]))]

    together = fa.compare(Mahalanobis(), parts, test=tests, test_labels=labels, replicates=20)
    assert together.detectors[0].judged.overall == together.detectors[0].judged.federated
    assert together.organisations == 3

    labels[2][0] = 0
    one = fa.compare(Mahalanobis(), parts, test=tests, test_labels=labels, replicates=20).detectors[0]
    assert [mine is None for mine, _ in one.own] == [True, True, False]
    assert one.judged.local == one.own[2][0]


def test_without_labels_only_ranks_and_alerts_are_compared():
    X, _ = outliers(450)
    found = fa.compare([Mahalanobis(), Loda(n_projections=10)], split(X, 3), budget=0.1)

    assert found.verdict == "quality cannot be judged without labels"
    assert all(one.judged is None and one.agreement.rank_correlation > 0.6 for one in found.detectors)
    assert found.detectors[0].agreement.alert_overlap > 0.7
    assert "quality cannot be judged" in str(found)
    with pytest.raises(DataError, match="no curve"):
        found.plot()


def test_constant_scores_have_no_rank():
    found = fa.compare(Mahalanobis(), [np.zeros((9, 2))] * 3)

    assert np.isnan(found.detectors[0].agreement.rank_correlation)
    assert found.to_dict()["detectors"][0]["agreement"]["rank_correlation"] is None


@pytest.fixture(scope="module")
def compared():
    X, y = outliers(600)
    return fa.compare([Mahalanobis(), Loda(n_projections=5)], split(X, 3), split(y, 3), budget=0.02, replicates=30)


def test_it_prints_one_table_and_a_verdict_for_each(compared):
    lines = str(compared).splitlines()

    assert lines[0].split() == ["detector", "AUROC", "average", "precision", "precision", "recall"]
    assert [line.split()[0] for line in lines[1:9]] == [
        "mahalanobis", "alone,", "federated", "pooled", "loda", "alone,", "federated", "pooled",
    ]  # fmt: skip
    assert "alerts are 2 % of the rows" in lines
    assert any(line.startswith("loda: ") and "of AUROC" in line for line in lines)
    assert lines[-1].startswith(compared.verdict) or lines[-2].startswith(compared.verdict)


def test_a_notebook_shows_the_table(compared):
    assert repr(compared) == str(compared)


def test_it_is_plain_for_machines_and_the_same_every_time(compared):
    X, y = outliers(600)
    again = fa.compare([Mahalanobis(), Loda(n_projections=5)], split(X, 3), split(y, 3), budget=0.02, replicates=30)

    told = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert told == again.to_dict()
    assert told["detectors"][0]["judged"]["federated"]["auroc"] > 0.8
    assert set(told) == {
        "verdict", "reason", "detectors", "organisations", "rows", "anomalies", "budget", "encrypted",
    }  # fmt: skip


def test_it_draws_the_curves_of_every_model(compared):
    pytest.importorskip("matplotlib")
    roc, precision = compared.plot().axes

    assert len(roc.lines) == 2 * (3 + 1) + 1
    assert len(precision.lines) == 2 * (3 + 1)
    assert [text.get_text() for text in roc.get_legend().get_texts()] == ["mahalanobis", "loda"]


def test_without_matplotlib_it_says_what_to_install(compared, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(ConfigError, match="matplotlib") as caught:
        compared.plot()

    assert "fedanomaly[plot]" in caught.value.hint


X, Y = outliers(60)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: fa.compare([], [X]), DataError),
        (lambda: fa.compare(Mahalanobis(), []), DataError),
        (lambda: fa.compare(Mahalanobis(), [X, X[:, :2]]), ShapeError),
        (lambda: fa.compare(Mahalanobis(), [X, X], [Y]), ShapeError),
        (lambda: fa.compare(Mahalanobis(), [X], [Y[:5]]), ShapeError),
        (lambda: fa.compare(Mahalanobis(), [X], [Y * 0]), DataError),
        (lambda: fa.compare(Mahalanobis(), [X], [Y * np.nan]), DataError),
        (lambda: fa.compare(Mahalanobis(), [X], [["no"] * 60]), DataError),
        (lambda: fa.compare(Mahalanobis(), [X], test=X[:, :2]), ShapeError),
        (lambda: fa.compare(Mahalanobis(), [X], test=[X, X]), ShapeError),
        (lambda: fa.compare(Mahalanobis(), [X], test_labels=Y), DataError),
        (lambda: fa.compare(Mahalanobis(), [X], [Y], budget=0.0), DataError),
        (lambda: fa.compare(Means(), [X], [Y]), DataError),
        (lambda: fa.compare(Mahalanobis(), [X, X], [Y, Y], encrypted=True), ConfigError),
    ],
)
def test_what_cannot_be_compared_is_refused(call, error):
    with pytest.raises(error):
        call()
