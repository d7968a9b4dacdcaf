"""Scores of any number of events from a service that sees ciphertexts only."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fedanomaly.detectors import Detector
from fedanomaly.errors import ConfigError, RangeError, UnavailableError, WrongAnswerError
from fedanomaly.fhe.readings import Standardiser
from fedanomaly.fhe.scoring import PLACES, PreparedCircuit, seed
from fedanomaly.fhe.tenant import Sizes, Tenant
from fedanomaly.scoring import streaming
from fedanomaly.scoring.alike import Keys, levelled
from fedanomaly.scoring.bounds import bounds_of
from fedanomaly.scoring.buffers import Buffers
from fedanomaly.scoring.canaries import CANARIES, Canaries, drawn
from fedanomaly.scoring.exchange import HttpExchange
from fedanomaly.scoring.hidden import HiddenModel
from fedanomaly.scoring.in_process import Exchange
from fedanomaly.scoring.progress import shown
from fedanomaly.scoring.resending import Stop, resent
from fedanomaly.scoring.scored import Scored, Scores
from fedanomaly.scoring.wire import ID_BYTES
from fedanomaly.transport import Patience
from fedanomaly.transport.signing import Signer
from fedanomaly.types import Floats

Asked = TypeVar("Asked")
PIECE_VALUES = 1 << 14
"""Readings that are worked on at a time: 128 KiB."""
NEARLY = 0.99
"""Of the range: noise may bring a batch beyond it that is so near."""
STOPPED = "scoring was stopped"
ONE_TRY = Patience(attempts=1)
"""What is sent again goes out under a fresh key, so the connection itself repeats nothing."""
RETRY_FOR_S = 60.0
MAX_DELAY_MS = 10.0
OPEN_FOR_S = 5.0
"""Somebody waits for the first word: a wrong address is told soon."""


class EncryptedScorer:
    """Scores events with a service that computes on their ciphertexts.

    Every batch is encrypted under a secret of its own. Some of its events, drawn
    at random, are scored here as well: a service that cheats is found out.

    Parameters
    ----------
    detector : Detector
        Fitted, with a circuit. What model the service lacks is uploaded.
    service : str or Exchange
        URL of the service, or another way to it.
    identity : Signer, optional
        With a URL: who asks, such as the keystore of a node.
    federation : bytes, optional
        With a URL: identifier of the federation, 32 bytes.
    ca_file : Path, optional
        With a URL: certificates (PEM) to trust instead of the system's.
    retry_for_s : float, optional
        For so long a batch is sent again, each time under a fresh key, while the
        service is away, busy or without the model. Default: 60 with a URL; 0 with
        an `Exchange`, which has a patience of its own.
    n_canaries : int, default=8
        Events of each batch that are checked.
    workers : int, optional
        Batches under way at a time. Default: one for each core, and one that is on its way.
    hide_model : bool, default=False
        Encrypt the model too: the service learns neither events nor weights. It costs
        more; the documentation says what. The service must take uploads.

    Raises
    ------
    ConfigError
        If the detector has no circuit, or a URL comes without an identity.
    CapacityError
        If its weights are too large to be computed exactly.
    UnavailableError
        If the service does not answer for 5 seconds.
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
        service: str | Exchange,
        *,
        identity: Signer | None = None,
        federation: bytes | None = None,
        ca_file: Path | None = None,
        retry_for_s: float | None = None,
        n_canaries: int = CANARIES,
        workers: int | None = None,
        hide_model: bool = False,
    ) -> None:
        self._detector = detector
        self._scorer = detector.encryptable()
        self._circuit, self._divisors = self._scorer.circuit().balanced()
        scale = self._scorer.scale
        self._standardised = Standardiser(
            scale.center, scale.width, grid=scale.grid, usual=scale.usual, divisors=self._divisors
        )
        self._keys = Keys(scale.grid * self._divisors, scale.limit)
        self._digest = self._circuit.digest
        self._n_canaries = n_canaries
        self._workers = workers or (os.cpu_count() or 1) + 1
        self._pool = ThreadPoolExecutor(self._workers, "encrypted-scoring")
        self._buffers = Buffers(self._workers)
        self._retry_for_s = retry_for_s if retry_for_s is not None else RETRY_FOR_S if isinstance(service, str) else 0.0
        self._closed = threading.Event()
        self._opened = self._hidden = None
        if isinstance(service, str):
            if identity is None or federation is None:
                raise ConfigError("a service behind a URL is asked under an identity, for a federation")
            self._opened = HttpExchange(service, identity, federation, ca_file=ca_file, patience=ONE_TRY)
            self._service: Exchange = self._opened
        elif not (identity is None and federation is None and ca_file is None):
            raise ConfigError("an exchange has an identity, a federation and certificates of its own")
        else:
            self._service = service
        try:
            if hide_model:
                self._hidden = self._asked(lambda: HiddenModel(self._circuit, self._service, n_canaries), lambda: None)
            else:
                self._begin(self._service)
        except BaseException:
            self.close()
            raise

    def _begin(self, service: Exchange) -> None:
        """Learn what the service says of the model, and hold it against what follows from it."""
        public = seed(service.federation, self._digest, service.tenant)
        own = PreparedCircuit(self._circuit, public)
        self._tenant = Tenant(own.shape, public, own.constants())
        self._bounds = bounds_of(self._circuit, own.shape)
        self._padding = np.maximum(self._circuit.evaluate(np.zeros((1, self._circuit.features))), 0.0)[0]
        offer = self._asked(lambda: service.offer(self._digest), lambda: service.upload(self._circuit))
        # Its own word for the precision would widen the bounds that it is held to.
        if (offer.shape, offer.constants) != (own.shape, own.constants()):
            raise WrongAnswerError("the service computes this model otherwise than it is")

    def _asked(self, ask: Callable[[], Asked], upload: Callable[[], None]) -> Asked:
        """Return what the service says to the first question; it may be about to start."""
        retry_for_s = min(self._retry_for_s, OPEN_FOR_S)
        return resent(ask, upload=upload, retry_for_s=retry_for_s, stop=Stop(self._closed))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that this scorer opened, and forget the secrets of a hidden model.

        A call under way fails. An `Exchange` stays open.
        """
        self._closed.set()
        self._pool.shutdown(wait=False)
        if self._hidden is not None:
            self._hidden.close()
        if self._opened is not None:
            self._opened.close()

    @property
    def max_events(self) -> int:
        """Most events of a batch."""
        return self._sizes.events

    @property
    def hidden_model_bytes(self) -> int:
        """Size of the encrypted model, which the service gets before the first batch; 0: the model is not hidden."""
        return self._hidden.shape.model_bytes if self._hidden else 0

    @property
    def _sizes(self) -> Sizes:
        return self._hidden.shape if self._hidden else self._tenant.shape

    def score(self, X: npt.ArrayLike, *, progress: bool | Callable[[int], None] | None = None) -> Scored:
        """Return the scores of rows.

        Parameters
        ----------
        X : array-like of shape (n_events, n_features)
            Any number, as an array or a pandas, polars or pyarrow frame; NaN is a missing reading.
        progress : bool or callable, optional
            Whether to show a bar on the error stream; by default, if that is a
            terminal and the rows fill many batches. A callable is called with
            the number of events of each batch that is done.

        Returns
        -------
        Scored

        Raises
        ------
        UnavailableError
            If nobody answers for `retry_for_s`.
        WrongAnswerError
            If the service answers with something else than this model's scores.
        """
        rows = self._detector.checked(X)
        with shown(progress, len(rows), len(rows) // self.max_events) as advance:
            return self._scored(rows, Stop(self._closed), advance)

    async def ascore(self, X: npt.ArrayLike) -> Scored:
        """Return the scores of rows, as `score` does, while the event loop goes on.

        A call that is cancelled ends once the batches under way are answered.
        """
        return await streaming.ascore(self._detector, self._scored, X, Stop(self._closed))

    def stream(
        self, source: Iterable[Any], *, max_delay_ms: float = MAX_DELAY_MS, max_events: int | None = None
    ) -> Iterator[Scores]:
        """Yield the scores of each input of a source: one result for one input, in order.

        Inputs are sent in batches. One begins when `max_events` events wait, or
        the oldest has waited for `max_delay_ms`, and less than `workers` batches
        are under way; what comes meanwhile goes into the next. The source is read
        in a thread of its own, some batches ahead and no further, however slowly
        results are taken.

        Closing the stream waits for the batches under way and forgets the rest.
        A source that waits for its next input is not interrupted: it gives that
        input to nobody, and nothing more is asked of it.

        Parameters
        ----------
        source : iterable
            Events of shape (n_features,), or arrays and frames of shape
            (n_events, n_features) with some of them. It may wait.
        max_delay_ms : float, default=10.0
            Longest time in milliseconds that an event waits for others; 0: it is
            sent as soon as a worker is free.
        max_events : int, optional
            Most events of a batch. Default: as many as a ciphertext holds.

        Yields
        ------
        Scores
            Of the events of one input.

        Raises
        ------
        FedAnomalyError
            As `score` does, after the results of all batches before.
        Exception
            What the source raises, after the results of all inputs before.
        """
        return streaming.stream(
            self._detector, self._scored, source, self._pace(max_events, max_delay_ms), Stop(self._closed)
        )

    def astream(
        self, source: AsyncIterable[Any], *, max_delay_ms: float = MAX_DELAY_MS, max_events: int | None = None
    ) -> AsyncIterator[Scores]:
        """Yield the scores of each input of an asynchronous source, as `stream` does.

        A task that is cancelled ends the source as well, and waits for the batches under way.
        """
        return streaming.astream(
            self._detector, self._scored, source, self._pace(max_events, max_delay_ms), Stop(self._closed)
        )

    def _pace(self, max_events: int | None, max_delay_ms: float) -> streaming.Pace:
        most = self.max_events if max_events is None else min(max_events, self.max_events)
        return streaming.Pace(max_events=most, max_delay_ms=max_delay_ms, workers=self._workers)

    def _scored(self, rows: Floats, stop: Stop, progress: Callable[[int], None] = lambda _events: None) -> Scored:
        parts, keys = [], [np.empty((self._keys.count, 0))]
        for part, some in self._parts(rows, stop):
            parts.append(part)
            keys.append(some)
            progress(len(part))
        scored = Scored.joined(parts, -self._detector.offset_)
        try:
            return levelled(scored, np.concatenate(keys, axis=1))
        except WrongAnswerError:
            if self._hidden is not None:
                self._hidden.end()
            raise

    def _parts(self, rows: Floats, stop: Stop) -> Iterator[tuple[Scored, Floats]]:
        """Yield scores and keys batch by batch, in order; a few are under way at a time, so memory stays flat."""
        batches = (rows[start : start + self.max_events] for start in range(0, len(rows), self.max_events))
        if len(rows) <= self.max_events:
            yield from (self._batch(batch, stop) for batch in batches)
            return
        under_way: deque[Future[tuple[Scored, Floats]]] = deque()
        try:
            for batch in batches:
                try:
                    under_way.append(self._pool.submit(self._batch, batch, stop))
                except RuntimeError:  # closed by another thread
                    raise UnavailableError(STOPPED) from None
                if len(under_way) > self._workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
            wait(under_way)

    def _batch(self, rows: Floats, stop: Stop) -> tuple[Scored, Floats]:
        """Return the scores and keys of as many rows as a batch holds."""
        encrypted = self._readings(rows)
        part = self._part(encrypted, stop)
        scores, lower, upper = np.empty((3, len(rows)))
        keys = np.empty((self._keys.count, len(rows)))
        for piece in _pieces(part.outputs):
            outputs, errors, readings = part.outputs[piece], part.errors[piece], encrypted[piece]
            keys[:, piece] = self._keys.of(readings)
            if not self._scorer.outputs_suffice:
                readings = readings * self._divisors
            scores[piece] = self._scorer.combined(outputs, readings)
            lower[piece] = self._scorer.combined(outputs - errors, readings)
            upper[piece] = self._scorer.combined(outputs + errors, readings)
        shape = self._sizes
        scored = Scored(
            scores=scores,
            lower=lower,
            upper=upper,
            threshold=-self._detector.offset_,
            batches=part.batches,
            local=part.local,
            bytes_up=part.batches * shape.batch_bytes,
            bytes_down=part.batches * shape.answer_bytes,
        )
        return scored, keys

    def _readings(self, rows: Floats) -> Floats:
        """Return what is encrypted: the detector's readings, divided as the circuit wants them."""
        readings, far = self._standardised(rows)
        if far.any():
            readings[far] = self._scorer.readings(rows[far]) / self._divisors
        return readings

    def _part(self, readings: Floats, stop: Stop) -> _Part:
        """Return the outputs of one batch; of parts of it, where their mean leaves the range."""
        if stop.is_set():
            raise UnavailableError(STOPPED)
        if (hidden := self._hidden) is not None:
            outputs, errors = resent(
                lambda: hidden.score(readings), upload=hidden.upload, retry_for_s=self._retry_for_s, stop=stop
            )
            return _Part(outputs, errors, batches=1, local=0)
        local = cache(lambda: self._local(readings))
        outputs = resent(
            lambda: self._answered(readings, local),
            upload=lambda: self._service.upload(self._circuit),
            retry_for_s=self._retry_for_s,
            stop=stop,
        )
        known, some = local()
        if outputs is None or not some.agree(outputs):
            return self._halves(readings, known, stop)
        return _Part(outputs, self._bounds.of(known, outputs), batches=1, local=0)

    def _local(self, readings: Floats) -> tuple[Floats, Canaries]:
        """Return what is computed here of a batch, while the service does its part."""
        known = np.empty((len(readings), 1))
        for piece in _pieces(readings):
            known[piece] = self._bounds.known(readings[piece])
        places = drawn(len(readings), self._n_canaries, self.max_events // 2)
        return known, Canaries.of(self._circuit, self._bounds, readings, places)

    def _answered(self, readings: Floats, meanwhile: Callable[[], object]) -> Floats | None:
        """Return what the service gives for a batch; None if it cannot be a score."""
        with self._buffers.lend(self._tenant.shape.batch_bytes) as memory:
            batch, key = self._tenant.encrypt(readings, memory)
            try:
                return key.decrypt(self._service.answer(self._digest, batch, os.urandom(ID_BYTES), meanwhile))
            except RangeError:
                return None
            finally:
                key.close()

    def _halves(self, readings: Floats, known: Floats, stop: Stop) -> _Part:
        """Return the outputs of a batch whose answer was refused, from smaller batches with smaller means."""
        outputs = self._circuit.evaluate(readings)
        # What is wrong may look like what is out of range; the difference is seen here, in the clear. Empty
        # places are events at the origin, and what is nearly out of range may be so by its noise.
        shape = self._tenant.shape
        limit, empty = NEARLY * shape.range, PLACES - len(readings)
        means = (np.maximum(outputs, 0.0).sum(axis=0) + empty * self._padding) / shape.sharing
        if (means < limit).all():
            raise WrongAnswerError("the service's scores are not those of this model")
        # Smaller batches have more empty places: no help where these alone are out of range.
        if len(readings) == 1 or (PLACES / shape.sharing * self._padding >= limit).any():
            return _Part(outputs, self._bounds.of(known, outputs), batches=1, local=len(readings))
        middle = len(readings) // 2
        first, second = self._part(readings[:middle], stop), self._part(readings[middle:], stop)
        return _Part(
            np.concatenate([first.outputs, second.outputs]),
            np.concatenate([first.errors, second.errors]),
            batches=1 + first.batches + second.batches,
            local=first.local + second.local,
        )


def _pieces(rows: Floats) -> Iterator[slice]:
    """Yield parts of an array with a row for each event that stay in a core's own cache between operations."""
    many = max(PIECE_VALUES // rows.shape[1], 1)
    for start in range(0, len(rows), many):
        yield slice(start, start + many)


@dataclass(frozen=True, eq=False)
class _Part:
    outputs: Floats
    errors: Floats
    batches: int
    local: int
