"""`fa.simulate`: train a detector over several parts, with real cryptography, in one process."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from rich.console import Console, Group
from rich.text import Text
from sklearn.base import clone

from fedanomaly.detectors import Detector
from fedanomaly.detectors.learning import Learning, learnt
from fedanomaly.detectors.progress import progress_of
from fedanomaly.detectors.refresh import Refresh
from fedanomaly.detectors.sampling import sample
from fedanomaly.errors import ConfigError, DataError, ProtocolError, ShapeError
from fedanomaly.protocol import Job, JobRequest, JobState, Learner, Relation, Settings
from fedanomaly.simulation.federation import Federation, Party
from fedanomaly.simulation.history import Notes, OnTotal, RoundRecord, table_of
from fedanomaly.simulation.tables import SchemaLike, arrays_of, schema_of
from fedanomaly.types import Floats, State, Statistics, Step, Total
from fedanomaly.types.canonical import begin, item_int

WIDTH = 120
"""Columns of a printed run."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """What a simulated federation has learnt, and what it cost; prints as a table of its rounds.

    Parameters
    ----------
    detector : Detector
        Trained by the federation; every member holds the same one.
    rounds : int
        Rounds that were opened and accepted, one for each step.
    bytes_up : int
        Bytes that the member with the largest upload sent, set-up included.
    max_abs_difference : float
        Largest difference between the anomaly scores of `detector` and those of
        the same detector fitted, or refreshed, on all parts together in
        plaintext, over all rows, in the unit of the score.
    history : tuple of RoundRecord
        Every round, those that were not accepted too.
    """

    detector: Detector
    rounds: int
    bytes_up: int
    max_abs_difference: float
    history: tuple[RoundRecord, ...]

    def __rich__(self) -> Group:
        told = f"{self.detector.name}: {self.rounds} rounds, at most {self.bytes_up:,} bytes sent by a member"
        apart = f"largest difference from pooled plaintext: {self.max_abs_difference:g}"
        return Group(table_of(self.history), Text(f"{told}; {apart}", style="bold"))

    def __repr__(self) -> str:
        out = io.StringIO()
        Console(file=out, width=WIDTH, highlight=False, emoji=False).print(self)
        return out.getvalue().rstrip("\n")


class ArrayLearner:
    """What a job trains, over one array, as the protocol sees it.

    Parameters
    ----------
    learning : Detector or Refresh
        It is not changed.
    rows : float64 array of shape (n_samples, n_features)
        The organisation's own data.
    labels : array-like of shape (n_samples,), optional
        For detectors that learn from them.
    generation : int
        Counter of the data snapshot.
    """

    def __init__(
        self, learning: Learning, rows: Floats, labels: npt.ArrayLike | None = None, generation: int = 1
    ) -> None:
        self._learning = _copy(learning) if isinstance(learning, Detector) else learning
        self._rows = rows
        self._labels = labels
        self.generation = generation
        self.schema = matrix_schema(rows.shape[1])

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:  # noqa: ARG002 - one array
        """Return none."""
        return ()

    def start(self) -> State:
        """Return the state before the first step."""
        return self._learning.initial_state(self._rows.shape[1])

    def next_step(self, state: State) -> Step | None:
        """Return what to sum next, or None once trained."""
        return self._learning.next_step(state)

    def local(self, step: Step, state: State) -> Statistics:
        """Return the statistic of these rows."""
        return self._learning.local(step, self._rows, state, self._labels)

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Return the next state."""
        return self._learning.merge(step, total, state)

    def scores_are_finite(self, state: State) -> bool:
        """Whether the trained detector gives finite scores on these rows."""
        scores = self._learning.with_state(state).anomaly_scores(self._rows)
        return bool(np.isfinite(scores).all())


def matrix_schema(n_features: int) -> bytes:
    """Return the schema digest of a plain matrix with so many columns."""
    return hashlib.sha256(begin("matrix") + item_int("n_features", n_features)).digest()


def request_for(detector: Detector, *, model: str, dataset: str, schema: bytes) -> JobRequest:
    """Return the request to train a detector."""
    return JobRequest(
        request=os.urandom(16),
        model=model,
        dataset=dataset,
        detector=detector.name,
        version=detector.version,
        params=canonical(detector.params()),
        schema=schema,
    )


def canonical(params: Mapping[str, Any]) -> str:
    """Return parameters as canonical JSON, as a request holds them."""
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a job over several learners has opened.

    Parameters
    ----------
    state : State
        The same at every member.
    rounds : int
        Rounds that were opened and accepted.
    bytes_up : int
        Bytes that the member with the largest upload sent, set-up included.
    history : tuple of RoundRecord
        Every round.
    """

    state: State
    rounds: int
    bytes_up: int
    history: tuple[RoundRecord, ...]


def run_job(
    learners: Sequence[Callable[[], Learner]],
    request: JobRequest,
    *,
    decryption_threshold: int,
    on_total: OnTotal = lambda _step, _total, _state: None,
) -> Opened:
    """Run one job to its end, under encryption, one member for each learner.

    Parameters
    ----------
    learners : sequence of callable
        Each returns the learner of one organisation.
    request : JobRequest
        What is asked for.
    decryption_threshold : int
        Up to this number less one may collude.
    on_total : callable, optional
        Says how far an opened sum has come.

    Raises
    ------
    ConfigError
        If there are fewer than three learners, or the threshold does not fit.
    DataError
        If one of them cannot take part.
    """
    settings = Settings(name="simulation", members=len(learners), threshold=decryption_threshold)
    notes = Notes(on_total)
    parties = [
        Party(f"part {number}", lambda _, make=make: notes.noting(make())) for number, make in enumerate(learners)
    ]
    federation = Federation(settings, parties, notes.watch)
    try:
        federation.enrol()
        job = federation.train(request)
        state = _state_of(federation, job)
    finally:
        federation.close()
    return Opened(
        state=state,
        rounds=len(job.accepted),
        bytes_up=max(party.bytes_up for party in parties),
        history=notes.history(job.rounds),
    )


def simulate(
    detector: Detector,
    parts: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike] | None = None,
    *,
    schema: SchemaLike | None = None,
    keep: float | None = None,
    max_rows: int | None = None,
    weights: Literal["rows", "equal"] = "rows",
    decryption_threshold: int = 2,
) -> Run:
    """Train or refresh a detector over several organisations' data under threshold encryption.

    One process plays the coordinator and all members; keys, envelopes,
    encryption and opening are those of the services.

    Parameters
    ----------
    detector : Detector
        What to train, or with `keep` a fitted one; it is not changed.
    parts : sequence of array-likes of shape (n_samples_i, n_features), or of tables
        One for each organisation, at least three. With `keep`: new rows only.
    labels : sequence of array-likes of shape (n_samples_i,), optional
        For detectors that learn from them: 0 is normal, anything else an anomaly.
    schema : Schema or path, optional
        What the columns mean of pandas, polars or pyarrow tables; every
        organisation encodes its own rows, in the order of time if there are windows.
    keep : float in [0, 1], optional
        Refresh the fitted detector, as `Detector.refresh` does: share of its old
        rows that still count. For a half-life of h days it is ``0.5 ** (age / h)``.
        Left out, the detector is trained anew.
    max_rows : int, optional
        Most rows of one part; of more, a sample that follows from the rows alone.
    weights : {"rows", "equal"}, default="rows"
        "rows": every row counts the same. "equal": every organisation does, by
        as many rows of each as the smallest part has, since exact sums have no weights.
    decryption_threshold : int, default=2
        Up to this number less one may collude with the coordinator and learn
        nothing beyond the sums.

    Returns
    -------
    Run
        The trained detector, its rounds and bytes, and how far it is from the
        same detector on pooled plaintext.

    Raises
    ------
    ConfigError
        If there are fewer than three parts, the threshold does not fit, or the
        detector can only be trained anew.
    DataError
        If the parts cannot be used; what is wrong with which part is said.

    Examples
    --------
    >>> import numpy as np
    >>> import fedanomaly as fa
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> run = fa.simulate(fa.detectors.Mahalanobis(), parts=[rows[:100], rows[100:150], rows[150:]])
    >>> run.max_abs_difference
    0.0
    >>> later = fa.simulate(run.detector, parts=[rows[:100] + 1, rows[100:150] + 1, rows[150:] + 1], keep=0.25)
    >>> int(later.detector.state_["rows"][0])
    375
    """
    found = schema_of(schema)
    arrays = arrays_of(parts, found)
    if detector.learns_from_labels and labels is None:
        raise DataError(
            f"{detector.name} learns from labels, and there are none", hint="pass labels: one array for each part"
        )
    marks: list[npt.ArrayLike | None] = [None] * len(arrays) if labels is None else list(labels)
    if len(marks) != len(arrays):
        raise ShapeError(f"labels of {len(marks)} parts for {len(arrays)} parts")
    arrays, marks = _sampled(arrays, marks, max_rows, weights)
    digest = matrix_schema(arrays[0].shape[1] if arrays else 0)
    learning = detector if keep is None else Refresh.of(detector, keep)
    opened = run_job(
        [partial(ArrayLearner, learning, array, y) for array, y in zip(arrays, marks, strict=True)],
        request_for(detector, model="model", dataset="part", schema=digest),
        decryption_threshold=decryption_threshold,
        on_total=partial(progress_of, learning),
    )
    trained = learning.with_state(opened.state, None if found is None else found.feature_names)
    whole = np.vstack(arrays)
    if keep is None:
        pooled = _copy(detector).fit(whole, None if labels is None else np.concatenate([np.asarray(y) for y in marks]))
    else:
        pooled = learning.with_state(learnt(learning, whole))
    difference = np.abs(trained.anomaly_scores(whole) - pooled.anomaly_scores(whole))
    return Run(
        detector=trained,
        rounds=opened.rounds,
        bytes_up=opened.bytes_up,
        max_abs_difference=float(difference.max()),
        history=opened.history,
    )


def _sampled(
    arrays: list[Floats], marks: list[npt.ArrayLike | None], max_rows: int | None, weights: str
) -> tuple[list[Floats], list[npt.ArrayLike | None]]:
    if weights not in {"rows", "equal"}:
        raise ConfigError(f"there are no weights {weights!r}", hint='choose "rows" or "equal"')
    if weights == "equal":
        max_rows = min([len(array) for array in arrays] + ([] if max_rows is None else [max_rows]))
    if max_rows is None:
        return arrays, marks
    places = [sample(array, max_rows) for array in arrays]
    kept = [
        y if y is None or len(np.asarray(y)) != len(array) else np.asarray(y)[place]  # else: an error, further on
        for y, array, place in zip(marks, arrays, places, strict=True)
    ]
    return [array[place] for array, place in zip(arrays, places, strict=True)], kept


def _copy(detector: Detector) -> Detector:
    # scikit-learn's clone is typed for anything that it may be given
    return cast("Detector", clone(detector))


def _state_of(federation: Federation, job: Job) -> State:
    if job.state is not JobState.ACCEPTED:
        for name, error in federation.errors:
            raise DataError(f"{name} cannot take part: {error}") from error
        raise ProtocolError(f"the job ended {job.state.value}: {job.reason}")
    states = [member.state(job) for member in federation.members.values()]
    held = [state for state in states if state is not None]
    if not held or len({state.to_bytes() for state in held}) != 1:
        raise ProtocolError("the members hold different states")
    return held[0]
