"""Scores of any number of events from a service that sees ciphertexts only."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors import Detector
from fedanomaly.errors import NotFoundError, RangeError, WrongAnswerError
from fedanomaly.fhe.scoring import PreparedCircuit, seed
from fedanomaly.fhe.tenant import Sizes, Tenant
from fedanomaly.scoring import canaries
from fedanomaly.scoring.bounds import Bounds
from fedanomaly.scoring.hidden import HiddenModel
from fedanomaly.scoring.in_process import Exchange
from fedanomaly.scoring.wire import ID_BYTES
from fedanomaly.types import Floats

NEARLY = 0.99
"""Of the range: noise may bring a batch beyond it that is so near."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores that were computed on ciphertexts, and how exact they are.

    Parameters
    ----------
    scores : float64 array of shape (n_events,)
        High is anomalous; in the range of `lower` and `upper`.
    lower, upper : float64 arrays of shape (n_events,)
        Between them lies what the detector gives in the clear.
    threshold : float
        Above it an event is an outlier.
    batches : int
        Encrypted batches that were sent.
    local : int
        Events that no batch can hold, and that were scored here in the clear instead.
    bytes_up, bytes_down : int
        Sizes of all batches and answers.
    """

    scores: Floats
    lower: Floats
    upper: Floats
    threshold: float
    batches: int
    local: int
    bytes_up: int
    bytes_down: int

    @property
    def outliers(self) -> npt.NDArray[np.bool_]:
        """Whether the score is above the threshold."""
        return self.scores > self.threshold

    @property
    def uncertain(self) -> npt.NDArray[np.bool_]:
        """Whether noise could have put the score on this side of the threshold."""
        return (self.lower <= self.threshold) & (self.threshold < self.upper)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.float64]:
        return np.array(self.scores, dtype=dtype, copy=copy)


class EncryptedScorer:
    """Scores events with a service that computes on their ciphertexts.

    Every batch is encrypted under a secret of its own. Some of its events, drawn
    at random, are scored here as well: a service that cheats is found out.

    Parameters
    ----------
    detector : Detector
        Fitted, with a circuit.
    service : Exchange
        The way to the service. What model it lacks is uploaded.
    n_canaries : int, default=8
        Events of each batch that are checked.
    workers : int, optional
        Batches under way at a time. Default: one for each core.
    hide_model : bool, default=False
        Encrypt the model too: the service learns neither events nor weights. It costs
        more; the documentation says what. The service must take uploads.

    Raises
    ------
    ConfigError
        If the detector has no circuit.
    CapacityError
        If its weights are too large to be computed exactly.
    WrongAnswerError
        If the service says something else of the model than follows from it.

    Notes
    -----
    A model that was hidden is encrypted under secrets that end with this scorer, or
    with the first wrong answer.
    """

    def __init__(
        self,
        detector: Detector,
        service: Exchange,
        *,
        n_canaries: int = canaries.CANARIES,
        workers: int | None = None,
        hide_model: bool = False,
    ) -> None:
        self._detector = detector
        self._scorer = detector.encryptable()
        self._circuit, self._divisors = self._scorer.circuit().balanced()
        self._service = service
        self._n_canaries = n_canaries
        self._workers = workers or os.cpu_count() or 1
        self._hidden = HiddenModel(self._circuit, service, n_canaries) if hide_model else None
        if self._hidden is None:
            self._agree()

    def _agree(self) -> None:
        """Settle on the circuit with the service, which computes it in the clear."""
        service = self._service
        self._digest = self._circuit.digest
        public = seed(service.federation, self._digest, service.tenant)
        own = PreparedCircuit(self._circuit, public)
        self._tenant = Tenant(own.shape, public, own.constants())
        self._bounds = Bounds(self._circuit, own.shape)
        self._padding = np.maximum(self._circuit.evaluate(np.zeros((1, self._circuit.features))), 0.0)[0]
        try:
            offer = service.offer(self._digest)
        except NotFoundError:
            service.upload(self._circuit)
            offer = service.offer(self._digest)
        # Its own word for the precision would widen the bounds that it is held to.
        if (offer.shape, offer.constants) != (own.shape, own.constants()):
            raise WrongAnswerError("the service computes this model otherwise than it is")

    @property
    def max_events(self) -> int:
        """Most events of a batch."""
        return self._sizes.events

    @property
    def _sizes(self) -> Sizes:
        return self._hidden.shape if self._hidden else self._tenant.shape

    def score(self, X: npt.ArrayLike, *, progress: Callable[[int], None] | None = None) -> Scored:
        """Return the scores of rows.

        Parameters
        ----------
        X : array-like of shape (n_events, n_features)
            Any number; NaN is a missing reading.
        progress : callable, optional
            Called with the number of events of each batch that is done.

        Returns
        -------
        Scored

        Raises
        ------
        WrongAnswerError
            If the service answers with something else than this model's scores.
        """
        readings = self._detector.readings(X)
        encrypted = readings / self._divisors
        parts = []
        for part in self._parts(encrypted):
            parts.append(part)
            if progress:
                progress(len(part.outputs))
        none = [np.empty((0, self._circuit.outputs))]
        outputs = np.concatenate([part.outputs for part in parts] or none)
        errors = np.concatenate([part.errors for part in parts] or none)
        combined = self._scorer.combined
        shape = self._sizes
        batches = sum(part.batches for part in parts)
        return Scored(
            scores=combined(outputs, readings),
            lower=combined(outputs - errors, readings),
            upper=combined(outputs + errors, readings),
            threshold=-self._detector.offset_,
            batches=batches,
            local=sum(part.local for part in parts),
            bytes_up=batches * shape.batch_bytes,
            bytes_down=batches * shape.answer_bytes,
        )

    def _parts(self, readings: Floats) -> Iterator[_Part]:
        """Yield the outputs batch by batch, in order; a few are under way at a time, so memory stays flat."""
        starts = range(0, len(readings), self.max_events)
        if len(starts) <= 1:
            yield from (self._part(readings[start : start + self.max_events]) for start in starts)
            return
        with ThreadPoolExecutor(self._workers, "encrypted-scoring") as pool:
            under_way: deque[Future[_Part]] = deque()
            try:
                for start in starts:
                    under_way.append(pool.submit(self._part, readings[start : start + self.max_events]))
                    if len(under_way) > self._workers:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                for future in under_way:
                    future.cancel()

    def _part(self, readings: Floats) -> _Part:
        """Return the outputs of one batch; of parts of it, where their mean leaves the range."""
        if self._hidden:
            outputs, errors = self._hidden.score(readings)
            return _Part(outputs, errors, batches=1, local=0)
        try:
            outputs = self._answered(readings)
        except NotFoundError:
            # The service was started anew, and what a tenant uploads is in memory there. Again, under another key.
            self._service.upload(self._circuit)
            outputs = self._answered(readings)
        places = canaries.drawn(len(readings), self._n_canaries, self.max_events // 2)
        if outputs is None or not canaries.agree(self._circuit, self._bounds, readings, outputs, places):
            return self._halves(readings)
        return _Part(outputs, self._bounds.of(readings, outputs), batches=1, local=0)

    def _answered(self, readings: Floats) -> Floats | None:
        """Return what the service gives for a batch; None if it cannot be a score."""
        batch, key = self._tenant.encrypt(readings)
        try:
            return key.decrypt(self._service.answer(self._digest, batch, os.urandom(ID_BYTES)))
        except RangeError:
            return None
        finally:
            key.close()

    def _halves(self, readings: Floats) -> _Part:
        """Return the outputs of a batch whose answer was refused, from smaller batches with smaller means."""
        outputs = self._circuit.evaluate(readings)
        # What is wrong may look like what is out of range; the difference is seen here, in the clear. Empty
        # places are events at the origin, and what is nearly out of range may be so by its noise.
        limit, half = self._tenant.shape.range, self.max_events / 2
        empty = self.max_events - len(readings)
        means = (np.maximum(outputs, 0.0).sum(axis=0) + empty * self._padding) / half
        if (means < NEARLY * limit).all():
            raise WrongAnswerError("the service's scores are not those of this model")
        # Smaller batches have more empty places: no help where these alone are out of range.
        if len(readings) == 1 or (2.0 * self._padding >= NEARLY * limit).any():
            return _Part(outputs, self._bounds.of(readings, outputs), batches=1, local=len(readings))
        middle = len(readings) // 2
        first, second = self._part(readings[:middle]), self._part(readings[middle:])
        return _Part(
            np.concatenate([first.outputs, second.outputs]),
            np.concatenate([first.errors, second.errors]),
            batches=1 + first.batches + second.batches,
            local=first.local + second.local,
        )


@dataclass(frozen=True, eq=False)
class _Part:
    outputs: Floats
    errors: Floats
    batches: int
    local: int
