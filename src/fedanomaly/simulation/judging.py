"""From scores of models alone, together and pooled to figures, intervals and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from fedanomaly.detectors.quality import alerts_of
from fedanomaly.detectors.tiers import Ranking, resamplings
from fedanomaly.simulation.comparison import (
    LEAST_GAIN,
    NO_GAIN,
    NO_LABELS,
    NOTHING_WORKS,
    USEFUL,
    WORTH_IT,
    Agreement,
    Compared,
    Comparison,
    Curve,
    Figures,
    Interval,
    Judged,
)
from fedanomaly.types import Floats, Integers

CHANCE = 0.05
"""How often an interval may miss, over all detectors of one comparison together."""
AUROC, PRECISION = 0, 1
"""Places of the AUROC and of the average precision among the figures."""


@dataclass(frozen=True, eq=False)
class Held:
    """Rows to judge models with.

    Parameters
    ----------
    rows : list of float64 arrays
        One set for every organisation, or one for all.
    labels : list of int64 arrays or None
        1 is an anomaly.
    of : list of int
        Which set serves each organisation.
    """

    rows: list[Floats]
    labels: list[Integers] | None
    of: list[int]


@dataclass(frozen=True, eq=False)
class Scored:
    """What the models of one detector say of the test rows; high is anomalous.

    Parameters
    ----------
    name : str
        Of the detector.
    local : list of float64 arrays
        For every organisation the scores that its own model gives its test rows.
    federated, pooled : list of float64 arrays
        For every set of test rows.
    cannot_alone : tuple of int
        Organisations without a model of their own.
    """

    name: str
    local: list[Floats]
    federated: list[Floats]
    pooled: list[Floats]
    cannot_alone: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Figures and their bootstrap draws: arrays of shape (4, n_replicates), means over the organisations."""

    judged: Judged
    federated: Floats
    local: Floats


class Judge:
    """Judges the models of one comparison, all by the same rows and the same resamplings.

    Parameters
    ----------
    tests : Held
        Rows and labels.
    budget : float
        Share of the rows that are alerts.
    replicates : int
        Bootstrap resamplings.
    seed : int
        Of the resamplings.
    """

    def __init__(self, tests: Held, *, budget: float, replicates: int, seed: int) -> None:
        self._tests = tests
        self._budget = budget
        self._replicates = replicates
        self._seed = seed

    def compared(self, scored: Sequence[Scored], *, encrypted: bool) -> Comparison:
        """Return the comparison of all detectors."""
        tests = self._tests
        if tests.labels is None:
            verdict, reason = NO_LABELS, "only ranks and alerts are compared"
            drawn: list[Drawn | None] = [None] * len(scored)
        else:
            found = [self._draw(each, tests.labels, CHANCE / len(scored)) for each in scored]
            verdict, reason = _overall(scored, found, CHANCE / len(scored))
            drawn = list(found)
        return Comparison(
            verdict=verdict,
            reason=reason,
            detectors=tuple(self._one(each, draws) for each, draws in zip(scored, drawn, strict=True)),
            organisations=len(tests.of),
            rows=sum(len(each) for each in tests.rows),
            anomalies=int(sum(labels.sum() for labels in tests.labels or [])),
            budget=self._budget,
            encrypted=encrypted,
            curves=[curve for each in scored for curve in self._curves(each)],
        )

    def _one(self, scored: Scored, drawn: Drawn | None) -> Compared:
        judged = drawn.judged if drawn else None
        return Compared(
            name=scored.name,
            verdict=_verdict(judged) if judged else NO_LABELS,
            judged=judged,
            agreement=self._agreement(scored),
            own=tuple(
                (self._figures(scores, at), self._figures(scored.federated[at], at))
                for scores, at in zip(scored.local, self._tests.of, strict=True)
            ),
            cannot_alone=scored.cannot_alone,
        )

    def _draw(self, scored: Scored, labels: list[Integers], chance: float) -> Drawn:
        """Return figures and draws; an organisation counts whose test rows hold both classes."""
        judgeable = [organisation for organisation, at in enumerate(self._tests.of) if has_both(labels[at])]
        federated, local = (np.zeros((4, self._replicates)) for _ in range(2))
        for at in sorted({self._tests.of[organisation] for organisation in judgeable}):
            served = [organisation for organisation in judgeable if self._tests.of[organisation] == at]
            alerts = alerts_of(self._budget, len(labels[at]))
            shared = Ranking(scored.federated[at], labels[at])
            own = [Ranking(scored.local[organisation], labels[at]) for organisation in served]
            start = 0
            for weights in resamplings(labels[at], self._replicates, self._seed + at):
                columns = slice(start, start + weights.shape[1])
                federated[:, columns] += len(served) * shared.figures(weights, alerts)
                for ranking in own:
                    local[:, columns] += ranking.figures(weights, alerts)
                start = columns.stop
        federated /= len(judgeable)
        local /= len(judgeable)
        return Drawn(self._judged(scored, judgeable, federated, local, chance), federated, local)

    def _judged(self, scored: Scored, judgeable: list[int], federated: Floats, local: Floats, chance: float) -> Judged:
        sets = [self._tests.of[organisation] for organisation in judgeable]
        alone = np.stack([self._exact(scored.local[at], self._tests.of[at]) for at in judgeable])
        together, pooled = (
            np.mean([self._exact(scores[at], at) for at in sets], axis=0)
            for scores in (scored.federated, scored.pooled)
        )
        labels = np.concatenate(self._tests.labels or [])
        overall = _exact(np.concatenate(scored.federated), labels, alerts_of(self._budget, len(labels)))
        return Judged(
            local=_told(alone.mean(axis=0)),
            local_worst=_told(alone.min(axis=0)),
            federated=_told(together),
            pooled=_told(pooled),
            overall=_told(overall),
            auroc_interval=_interval(federated[AUROC], chance),
            average_precision_interval=_interval(federated[PRECISION], chance),
            local_interval=_interval(local[AUROC], chance),
            gain=float(together[AUROC] - alone.mean(axis=0)[AUROC]),
            gain_interval=_interval(federated[AUROC] - local[AUROC], chance),
        )

    def _exact(self, scores: Floats, at: int) -> Floats:
        labels = (self._tests.labels or [])[at]
        return _exact(scores, labels, alerts_of(self._budget, len(labels)))

    def _figures(self, scores: Floats, at: int) -> Figures | None:
        if self._tests.labels is None or not has_both(self._tests.labels[at]):
            return None
        return _told(self._exact(scores, at))

    def _agreement(self, scored: Scored) -> Agreement:
        found = []
        for own, at in zip(scored.local, self._tests.of, strict=True):
            shared, alerts = scored.federated[at], alerts_of(self._budget, len(own))
            # Rows of equal score are taken in the order in which they come.
            left, right = (np.argsort(-scores, kind="stable")[:alerts] for scores in (own, shared))
            found.append((_rank_correlation(own, shared), len(np.intersect1d(left, right)) / alerts))
        correlation, overlap = np.mean(found, axis=0)
        return Agreement(rank_correlation=float(correlation), alert_overlap=float(overlap))

    def _curves(self, scored: Scored) -> list[Curve]:
        labels = self._tests.labels
        if labels is None:
            return []
        curves = [
            Curve(scored.name, False, scores, labels[at])
            for scores, at in zip(scored.local, self._tests.of, strict=True)
            if has_both(labels[at])
        ]
        return [*curves, Curve(scored.name, True, np.concatenate(scored.federated), np.concatenate(labels))]


def has_both(labels: Integers) -> bool:
    """Whether there are anomalies and normal rows."""
    return bool(0 < labels.sum() < len(labels))


def _overall(scored: Sequence[Scored], drawn: Sequence[Drawn], chance: float) -> tuple[str, str]:
    """Return the verdict on the best detector together against the best one alone, and its reason."""
    best = max(range(len(drawn)), key=lambda at: drawn[at].judged.federated.auroc)
    rival = max(range(len(drawn)), key=lambda at: drawn[at].judged.local.auroc)
    together, alone = drawn[best].judged, drawn[rival].judged
    if not (_works(together.federated, together.auroc_interval) or _works(alone.local, alone.local_interval)):
        return NOTHING_WORKS, (
            f"the best federated AUROC is {together.federated.auroc:.3f} ({together.auroc_interval}, "
            f"{scored[best].name}); .5 is chance, and below {USEFUL} nobody can work with it"
        )
    interval = _interval(drawn[best].federated[AUROC] - drawn[rival].local[AUROC], chance)
    gain = together.federated.auroc - alone.local.auroc
    worth_it = _works(together.federated, together.auroc_interval) and _gains(gain, interval)
    verdict = WORTH_IT if worth_it else NO_GAIN
    return verdict, (
        f"{scored[best].name} together has AUROC {together.federated.auroc:.3f} against {alone.local.auroc:.3f} of "
        f"{scored[rival].name} alone, a difference of {gain:+.3f} ({interval:+})"
    )


def _verdict(judged: Judged) -> str:
    if _works(judged.federated, judged.auroc_interval):
        return WORTH_IT if _gains(judged.gain, judged.gain_interval) else NO_GAIN
    return NO_GAIN if _works(judged.local, judged.local_interval) else NOTHING_WORKS


def _works(figures: Figures, auroc: Interval) -> bool:
    return auroc.low > 0.5 and figures.auroc >= USEFUL


def _gains(gain: float, interval: Interval) -> bool:
    return gain >= LEAST_GAIN and interval.low > 0


def _exact(scores: Floats, labels: Integers, alerts: int) -> Floats:
    return Ranking(scores, labels).figures(np.ones((len(labels), 1)), alerts)[:, 0]


def _told(figures: Floats) -> Figures:
    auroc, average_precision, precision, recall = (float(value) for value in figures)
    return Figures(auroc=auroc, average_precision=average_precision, precision=precision, recall=recall)


def _interval(draws: Floats, chance: float) -> Interval:
    low, high = np.quantile(draws, [chance / 2, 1 - chance / 2])
    return Interval(low=float(low), high=float(high))


def _rank_correlation(left: Floats, right: Floats) -> float:
    ranks = [rankdata(scores) for scores in (left, right)]
    if any(np.ptp(each) == 0 for each in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
