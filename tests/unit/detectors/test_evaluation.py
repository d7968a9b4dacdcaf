# ruff: noqa: N806 - X is what scikit-learn calls the rows

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.detectors import Mahalanobis
from fedanomaly.detectors.cells import histogram, keys
from fedanomaly.detectors.contract import opened
from fedanomaly.detectors.drift import psi
from fedanomaly.detectors.evaluation import Evaluating, digest_of, drift_from, drift_since, holds, quality_from
from fedanomaly.detectors.quality import quality_of, quality_of_counts
from fedanomaly.detectors.threshold import SCORES
from fedanomaly.detectors.tiers import Ranking, resamplings
from fedanomaly.errors import DataError, RefusedError, ShapeError, VersionError
from fedanomaly.types import Quantiser, State

# Few values and many: ties within a score, and within a cell of the histogram.
SCORE = st.one_of(st.integers(0, 5).map(float), st.floats(1.0, 1.05), st.floats(0, 1e6))
ROWS = st.integers(2, 120).flatmap(
    lambda count: st.tuples(
        arrays(np.float64, count, elements=SCORE), arrays(np.int64, count, elements=st.integers(0, 1))
    )
)


def caught(scores, labels, alerts, ties):
    """Return the anomalies among the alerts; of equal scores, anomalies come first if ties is 1 and last if -1."""
    return int(labels[np.lexsort((-ties * labels, -scores))[:alerts]].sum())


@given(ROWS, st.sampled_from([0.005, 0.1, 0.5, 1.0]))
def test_exact_figures_are_those_of_scikit_learn(rows, budget):
    scores, labels = rows
    found = quality_of(scores, labels, budget=budget)
    if not 0 < labels.sum() < len(labels):
        assert (found.auroc, found.average_precision, found.precision, found.recall) == (None,) * 4
        return

    assert found.auroc.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.average_precision.value == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    worst, best = (caught(scores, labels, found.alerts, ties) for ties in (-1, 1))
    assert worst - 1e-9 <= found.precision.value * found.alerts <= best + 1e-9
    assert found.recall.value * labels.sum() == pytest.approx(found.precision.value * found.alerts)
    assert found.auroc.bound == found.recall.bound == 0.0


@given(ROWS, st.sampled_from([0.005, 0.1, 0.5, 1.0]))
def test_figures_of_histograms_hold_the_exact_ones_within_their_bound(rows, budget):
    scores, labels = rows
    if not 0 < labels.sum() < len(labels):
        return
    binned = [histogram(keys(scores[labels == wanted]), SCORES) for wanted in (1, 0)]
    found = quality_of_counts(*binned, budget=budget)

    assert abs(found.auroc.value - roc_auc_score(labels, scores)) <= found.auroc.bound + 1e-12
    exact = average_precision_score(labels, scores)
    assert abs(found.average_precision.value - exact) <= found.average_precision.bound + 1e-9
    for ties in (-1, 1):
        there = caught(scores, labels, found.alerts, ties)
        assert abs(found.precision.value - there / found.alerts) <= found.precision.bound + 1e-12
        assert abs(found.recall.value - there / labels.sum()) <= found.recall.bound + 1e-12
    edges = [0.0, *(band.upto for band in found.calibration)]
    assert [band.above for band in found.calibration] == edges[:-1]
    assert edges[-1] == 1.0
    assert sum(band.rows for band in found.calibration) == len(labels)
    for mine, exactly in zip(found.calibration, quality_of(scores, labels).calibration, strict=True):
        assert (mine.rows, mine.upto) == (exactly.rows, exactly.upto)
        assert abs(mine.share.value - exactly.share.value) <= mine.share.bound + 1e-9


def test_the_bound_of_many_distinct_scores_is_small():
    rng = np.random.default_rng(1)
    labels = (rng.random(20_000) < 0.03).astype(np.int64)
    scores = rng.chisquare(10, len(labels)) * (1 + labels)

    found = quality_of_counts(*(histogram(keys(scores[labels == wanted]), SCORES) for wanted in (1, 0)))

    assert 0 < found.auroc.bound < 0.002
    assert abs(found.auroc.value - roc_auc_score(labels, scores)) < 0.0005
    assert 0 < found.average_precision.bound < 0.05
    shares = [band.share.value for band in found.calibration]
    assert shares == sorted(shares)
    assert found.rows == sum(band.rows for band in found.calibration)


def test_a_resampling_is_counted_as_if_its_rows_were_there():
    rng = np.random.default_rng(2)
    labels = (rng.random(300) < 0.2).astype(np.int64)
    scores = np.round(rng.normal(size=300) + labels, 1)
    (weights,) = resamplings(labels, 20, seed=4)
    figures = Ranking(scores, labels).figures(weights, alerts=15)

    for column in (0, 7, 19):
        drawn = np.repeat(np.arange(300), weights[:, column].astype(int))
        found = quality_of(scores[drawn], labels[drawn], budget=0.05)
        wanted = [found.auroc, found.average_precision, found.precision, found.recall]
        assert found.alerts == 15
        assert figures[:, column] == pytest.approx([each.value for each in wanted], abs=1e-12)


def test_resamplings_keep_the_classes_and_come_again_from_their_seed(monkeypatch):
    labels = np.array([1, 0, 0, 1, 0] * 20)
    monkeypatch.setattr("fedanomaly.detectors.tiers.CHUNK", 700)
    drawn = np.concatenate(list(resamplings(labels, 10, seed=1)), axis=1)

    assert drawn.shape == (100, 10)
    assert (drawn[labels == 1].sum(axis=0) == 40).all()
    assert (drawn[labels == 0].sum(axis=0) == 60).all()
    assert np.array_equal(drawn, np.concatenate(list(resamplings(labels, 10, seed=1)), axis=1))
    assert not np.array_equal(drawn, np.concatenate(list(resamplings(labels, 10, seed=2)), axis=1))


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    labels = (rng.random(900) < 0.1).astype(np.float64)
    X = rng.normal(size=(900, 3)) * (1 + 2 * labels[:, np.newaxis])
    return X, labels, Mahalanobis().fit(X)


def evaluated(evaluating, parts):
    state = evaluating.start()
    step = evaluating.next_step(state)
    quantiser = Quantiser(step=step, members=250)
    own = [evaluating.local(X, labels) for X, labels in parts]
    total = opened(step, [quantiser.quantise(counts) for counts in own], 250)
    assert total.clipped == 0
    merged = evaluating.merge(step, total, state)
    assert evaluating.next_step(merged) is None
    return State.from_bytes(merged.to_bytes()), own


def test_members_sum_to_the_figures_of_all_their_labelled_rows(sample):
    X, labels, detector = sample
    unknown = labels.copy()
    unknown[850:] = np.nan
    parts = [(X[:300], labels[:300]), (X[300:600], None), (X[600:], unknown[600:]), (X[:0], labels[:0])]

    state, _ = evaluated(Evaluating("m", detector), parts)

    known = np.r_[0:300, 600:850]
    exact = quality_of(detector.anomaly_scores(X[known]), labels[known].astype(np.int64))
    found = quality_from(state)
    assert (found.rows, found.anomalies) == (550, exact.anomalies)
    assert abs(found.auroc.value - exact.auroc.value) <= found.auroc.bound
    assert state["evaluation/profile"].sum(axis=1).tolist() == [900] * 3


def test_one_class_alone_gives_no_figure_and_no_error(sample):
    X, labels, detector = sample
    state, _ = evaluated(Evaluating("m", detector), [(X[labels == 0], labels[labels == 0]), (X, None)])

    found = quality_from(state)

    assert found.auroc is found.recall is None
    assert (found.rows, found.anomalies) == (int((labels == 0).sum()), 0)


def test_members_with_another_model_do_not_take_part(sample):
    X, _, detector = sample
    other = Evaluating("m", Mahalanobis().fit(X[:500]))
    state = Evaluating("m", detector).start()

    assert dict(state.params) == {"model": "m", "state": digest_of(detector.state_)}
    with pytest.raises(VersionError):
        other.next_step(state)


def test_a_sum_without_my_rows_is_noticed(sample):
    X, labels, detector = sample
    state, (first, second) = evaluated(Evaluating("m", detector), [(X[:300], labels[:300]), (X[300:], labels[300:])])
    alone, _ = evaluated(Evaluating("m", detector), [(X[:300], labels[:300])])

    assert holds(state, first)
    assert holds(state, second)
    assert not holds(alone, second)


def test_the_member_whose_rows_moved_sees_it_at_home(sample):
    X, labels, detector = sample
    moved = X[600:].copy()
    moved[:, 1] += 3.0
    parts = [(X[:300], labels[:300]), (X[300:600], labels[300:600]), (moved, labels[600:])]
    state, own = evaluated(Evaluating("m", detector), parts)

    table = {row.name: row for row in drift_from(state, own[2], ["a", "b", "c"])}

    assert [table[name].word for name in ("a", "b", "c")] == ["stable", "shifted", "stable"]
    assert table["b"].wasserstein > 5 * table["a"].wasserstein
    assert table["score"].word == "shifted"
    scores = [each["anomalies"] + each["normal"] for each in own]
    assert table["score"].psi == psi(scores[2], scores[0] + scores[1])
    assert table["b"].psi == psi(own[2]["profile"][1], own[0]["profile"][1] + own[1]["profile"][1])
    assert [row.word for row in drift_from(state, own[0])[1:]] == ["stable", "shifted", "stable"]


def test_rows_of_all_that_moved_between_two_evaluations_are_seen(sample):
    X, labels, detector = sample
    moved = X[450:].copy()
    moved[:, 1] += 3.0
    evaluating = Evaluating("m", detector)
    before, _ = evaluated(evaluating, [(X[:200], labels[:200]), (X[200:450], labels[200:450])])
    same, _ = evaluated(evaluating, [(X[450:], labels[450:])])
    after, own = evaluated(evaluating, [(moved, labels[450:])])

    table = {row.name: row for row in drift_since(before, after, ["a", "b", "c"])}

    assert {row.word for row in drift_since(before, same)} == {"stable"}
    assert [table[name].word for name in ("score", "a", "b", "c")] == ["shifted", "stable", "shifted", "stable"]
    assert table["b"].psi == psi(own[0]["profile"][1], before["evaluation/profile"][1])
    assert table["b"].psi == {row.name: row for row in drift_since(after, before)}["1"].psi
    other = Mahalanobis().fit(X[:500])
    with pytest.raises(VersionError, match="different models"):
        drift_since(before, evaluated(Evaluating("m", other), [(X, labels)])[0])


def test_what_is_no_evaluation_is_refused(sample):
    X, labels, detector = sample
    evaluating = Evaluating("m", detector)
    state, _ = evaluated(evaluating, [(X, labels)])
    step = evaluating.next_step(evaluating.start())

    with pytest.raises(DataError, match="none of an evaluation"):
        quality_from(detector.state_)
    with pytest.raises(DataError, match="none of an evaluation"):
        quality_from(evaluating.start())
    with pytest.raises(RefusedError):
        evaluating.merge(step, None, state)
    with pytest.raises(ShapeError):
        evaluating.local(X, labels[:5])
    with pytest.raises(DataError, match="budget"):
        quality_from(state, budget=0.0)
