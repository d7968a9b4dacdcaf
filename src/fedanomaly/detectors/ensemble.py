"""Several detectors trained together, their scores brought to one scale and averaged."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.bundle import Bundle, Track
from fedanomaly.detectors.fading import Renewable, without
from fedanomaly.detectors.registry import from_params
from fedanomaly.detectors.scaling import Scale, Scaling, scale_of
from fedanomaly.detectors.stages import Scorer, Stage
from fedanomaly.errors import ConfigError
from fedanomaly.types import Floats, State, Statistics, Step, Total

DEFAULT = ("gaussian_mixture", "robust_mahalanobis", "random_trees", "hbos")
"""Four views of what is normal: a few dense regions, one shape without its outliers,
what is hard to cut off, and every column by itself. Chosen among about 30
combinations on 24 sets of ADBench, see `benchmarks/quality.py`."""
CHUNK = 8192


class Ensemble(Detector):
    """Average of several detectors' scores, each in robust deviations of its own.

    The idea: detectors fail on different data. Each score is centred at its
    median over all members' rows, divided by its robust deviation, pressed
    together by arcsinh so that no single detector rules, and averaged. All
    detectors are trained in the same rounds, where their steps allow.

    It fails where most of its detectors fail together: where anomalies are
    neither rare nor far from the rest.

    Cost: one job of about 20 rounds, as wide as all its detectors together;
    scoring takes the sum of their times.

    Parameters
    ----------
    contamination : float in (0, 0.5], default=0.01
        Share of all members' training rows that score above the threshold.
    detectors : list, optional
        What to combine: names, or objects such as
        ``{"detector": "loda", "n_projections": 50}``. Default: GaussianMixture,
        RobustMahalanobis, RandomTrees and HBOS.

    Attributes
    ----------
    state_ : State
        What was learnt: opened integers and declared parameters.
    offset_ : float
        Minus the threshold; ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen in training.

    Notes
    -----
    Detector i with score s, median m and robust deviation r over the training
    rows adds ``arcsinh((s - m) / r) - arcsinh(-m / r)``, at least 0; the score is
    the mean. A detector's part is shared among the features like its own score.

    References
    ----------
    C. C. Aggarwal and S. Sathe, "Theoretical foundations and algorithms for
    outlier ensembles", SIGKDD Explorations 17, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import Ensemble
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = Ensemble(contamination=0.02).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, -6.0]])
    array([ 1, -1])
    """

    name = "ensemble"
    version = 1
    why_no_circuit = "its parts are ranked against each other in tables"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,  # noqa: SLF001 - scikit-learn's way to inherit them
        "detectors": [None, list, tuple],
    }

    def __init__(
        self, *, contamination: float = 0.01, detectors: Sequence[str | Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__(contamination=contamination)
        self.detectors = detectors

    def params(self) -> dict[str, Any]:
        """Return the declared parameters as plain JSON values."""
        chosen = None if self.detectors is None else [_plain(entry) for entry in self.detectors]
        return {**super().params(), "detectors": chosen}

    def initial_state(self, n_features: int) -> State:
        """Return the state before the first step; the same at every member."""
        for track in self._tracks():
            track.detector.initial_state(n_features)
        return super().initial_state(n_features)

    def most_rounds(self) -> int:
        """Return how many rounds a job may take: those of its slowest detector, and the scales of the scores."""
        return max(track.detector.most_rounds() for track in self._tracks()) + 5

    def stages(self) -> tuple[Stage, ...]:
        """Return the rounds of all detectors together, then how their scores spread."""
        tracks = self._tracks()
        return (Bundle(tracks), Spread(tracks))

    def derive(self, state: State) -> Average:
        """Return the average of the detectors' scores."""
        tracks = self._tracks()
        return Average(_derived(tracks, state), scale_of(_spread(state, len(tracks))))

    def _tracks(self) -> tuple[Track, ...]:
        entries = DEFAULT if self.detectors is None else tuple(self.detectors)
        if not entries:
            raise ConfigError("an ensemble needs at least one detector")
        try:
            return _made_of(json.dumps([_plain(entry) for entry in entries]))
        except (TypeError, ValueError):  # no parameters that could be asked for; whoever is wrong says so
            return tuple(_track(at, entry) for at, entry in enumerate(entries))


class Spread(Renewable):
    """Steps ``spread/…``: the median and the robust deviation of every detector's score.

    Parameters
    ----------
    tracks : sequence of Track
        The detectors, trained.
    """

    prefix = "spread"

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._tracks = tuple(tracks)
        self._scaling = Scaling()

    def next_step(self, state: State) -> Step | None:
        """Return the next step of the search, or None when every detector's score has its scale."""
        step = self._scaling.next_step(_spread(state, len(self._tracks)))
        return None if step is None else Step(name=f"{self.prefix}/{step.name}", fields=step.fields)

    def local(self, step: Step, X: Floats, state: State) -> Statistics:
        """Return histograms of this member's scores, one for each detector."""
        inner = _spread(state, len(self._tracks))
        scorers = state.once(Spread, lambda: _derived(self._tracks, state))
        scores = np.stack([scorer.scores(X) for scorer in scorers], axis=1)
        return self._scaling.local(self._own(step), scores, inner)

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep what was opened."""
        inner = self._scaling.merge(self._own(step), total, _spread(state, len(self._tracks)))
        arrays = {name: array for name, array in state.arrays.items() if not name.startswith("spread/")}
        arrays |= {f"spread/{name}": array for name, array in inner.arrays.items() if name not in {"rows", "features"}}
        return State(state.detector, state.version, state.params, arrays)

    def reopened(self, state: State) -> State:
        """Return the state without scales of scores: those of new rows take their place."""
        return without(state, [name for name in state.arrays if name.startswith("spread/")])

    def _own(self, step: Step) -> Step:
        return Step(name=step.name.removeprefix("spread/"), fields=step.fields)


@dataclass(frozen=True, eq=False)
class Average:
    """Trained detectors and the scales of their scores.

    Parameters
    ----------
    scorers : tuple of Scorer
        One for each detector.
    scale : Scale
        Median and robust deviation of their scores; 0 marks a score that does
        not vary and has no weight.
    """

    scorers: tuple[Scorer, ...]
    scale: Scale

    def scores(self, X: Floats) -> Floats:
        """Return the mean of the detectors' parts."""
        out = np.empty(len(X))
        for start in range(0, len(X), CHUNK):
            rows = X[start : start + CHUNK]
            out[start : start + CHUNK] = sum(
                self._part(at, scorer.scores(rows)) for at, scorer in enumerate(self.scorers)
            )
        return out

    def shares(self, X: Floats) -> Floats:
        """Return every detector's part, shared like its own score."""
        out = np.zeros(X.shape)
        for at, scorer in enumerate(self.scorers):
            scores, shares = scorer.scores(X), scorer.shares(X)
            part = self._part(at, scores)
            # A score of 0 has part 0: whatever shares it has cancel out and may go.
            out += shares * np.divide(part, scores, out=np.zeros_like(part), where=scores > 0)[:, None]
        return out

    def _part(self, at: int, scores: Floats) -> Floats:
        center, width = float(self.scale.center[at]), float(self.scale.width[at])
        if width == 0.0:
            return np.zeros(len(scores))
        most = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            lowest = np.arcsinh(max(-center / width, -most))
            apart = np.arcsinh(np.minimum((scores - center) / width, most))
        return np.maximum(apart - lowest, 0.0) / len(self.scorers)


@lru_cache(maxsize=16)
def _made_of(entries: str) -> tuple[Track, ...]:
    return tuple(_track(at, entry) for at, entry in enumerate(json.loads(entries)))


def _track(at: int, entry: object) -> Track:
    given = dict(entry) if isinstance(entry, Mapping) else {"detector": entry}
    name = given.pop("detector", None)
    if not isinstance(name, str):
        raise ConfigError("an entry of an ensemble is a name, or an object with a name under 'detector'")
    detector = from_params(name, given)
    if isinstance(detector, Ensemble) or detector.learns_from_labels:
        raise ConfigError(f"{name} cannot be part of an ensemble", hint="choose detectors without labels")
    if type(detector).preparation is not Detector.preparation:
        raise ConfigError(f"{name} reads no measurements", hint="train it alone")
    return Track(f"{at}", detector)


def _derived(tracks: Sequence[Track], state: State) -> tuple[Scorer, ...]:
    return tuple(track.detector.derive(track.inner(state)) for track in tracks)


def _plain(entry: str | Mapping[str, Any]) -> str | dict[str, Any]:
    return entry if isinstance(entry, str) else dict(entry)


def _spread(state: State, detectors: int) -> State:
    """Return the state of the search for the scales of scores, as if scores were columns."""
    arrays = {"rows": state["rows"], "features": np.array([detectors])}
    arrays |= {
        name.removeprefix("spread/"): array for name, array in state.arrays.items() if name.startswith("spread/")
    }
    return State(state.detector, state.version, state.params, arrays)
