"""What scoring a model on ciphertexts will cost and how exact it will be, by doing it once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors import Detector
from fedanomaly.detectors.projections import Polynomials
from fedanomaly.fhe.scoring import Instructions, PreparedCircuit, seed
from fedanomaly.fhe.tenant import Tenant
from fedanomaly.scoring.canaries import CANARIES
from fedanomaly.scoring.hidden import HiddenModel, shape_of
from fedanomaly.scoring.in_process import InProcess
from fedanomaly.types import Circuit

REPETITIONS = 5
HIDDEN_WEIGHTS = 2_048
"""So many are encrypted in a fraction of a second, into 64 MiB. What a larger model takes, follows from them."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """One full batch of made-up events, encrypted, scored and decrypted here.

    Parameters
    ----------
    kind : str
        Of the circuit: "linear", "quadratic" or "polynomial".
    features, forms, outputs : int
        Size of the circuit.
    weight_bits : int
        As in `fhe.scoring.Shape`, as the range is.
    range : float
        Largest sum of outputs of a batch, over the places that share it.
    max_relative_error : float
        Largest error of an output, against the larger of 1 and the output, on standard normal events.
    approximation_error : float or None
        Of a detector that scores by polynomials in place of something else: how far
        they are off where its training rows lie, root mean square of one projection.
    bytes_up_per_event, bytes_down_per_event : float
        With full batches.
    service_events_per_s, tenant_events_per_s : float
        On one core of this machine; the tenant's side encrypts and decrypts.
    instructions : str
        What this processor's kernels are made for.
    """

    kind: str
    features: int
    forms: int
    outputs: int
    weight_bits: int
    range: float
    max_relative_error: float
    approximation_error: float | None
    bytes_up_per_event: float
    bytes_down_per_event: float
    service_events_per_s: float
    tenant_events_per_s: float
    instructions: str


@dataclass(frozen=True, kw_only=True)
class HiddenRehearsal:
    """The same with a model that the service does not see.

    Parameters
    ----------
    forms : int
        Of the circuit; all of them come back for every event.
    model_bytes : int
        Of the encrypted model, which goes up once for each scorer.
    model_s : float
        Seconds to encrypt it here and to make it ready at the service, without the way between them.
    max_relative_error : float
        As in `Rehearsal`.
    bytes_up_per_event, bytes_down_per_event : float
        With full batches.
    service_events_per_s, owner_events_per_s : float
        On one core of this machine; the owner encrypts, decrypts, checks, and makes outputs of forms.
    measured_forms : int
        Of a large model only the first forms are measured. Bytes are those of all;
        times are scaled up to all; the error is that of outputs of these forms alone.
    """

    forms: int
    model_bytes: int
    model_s: float
    max_relative_error: float
    bytes_up_per_event: float
    bytes_down_per_event: float
    service_events_per_s: float
    owner_events_per_s: float
    measured_forms: int


def rehearse(detector: Detector) -> Rehearsal:
    """Score made-up events of a fitted detector on ciphertexts.

    Raises
    ------
    ConfigError
        If the detector has no circuit.
    CapacityError
        If its weights are too large to be computed exactly.
    """
    scorer = detector.encryptable()
    circuit, divisors = scorer.circuit().balanced()
    public = seed(bytes(32), circuit.digest, bytes(32))
    service = PreparedCircuit(circuit, public)
    shape = service.shape
    tenant = Tenant(shape, public, service.constants())
    # Made smaller where the outputs of normal events would leave the range.
    readings = np.random.default_rng(0).normal(size=(shape.events, circuit.features)) / divisors
    wanted = circuit.evaluate(readings)
    readings /= max(1.0, 2.0 * np.sqrt(np.abs(wanted).mean(axis=0).max() / shape.range))
    wanted, outputs, times = circuit.evaluate(readings), np.empty_like(readings), []
    for _ in range(REPETITIONS):
        begun = time.perf_counter()
        batch, key = tenant.encrypt(readings)
        encrypted = time.perf_counter()
        answer = service.score(batch)
        scored = time.perf_counter()
        outputs = key.decrypt(answer)
        times.append((scored - encrypted, encrypted - begun + time.perf_counter() - scored))
    ours, tenants = (statistics.median(column) for column in zip(*times, strict=True))
    return Rehearsal(
        kind=circuit.kind,
        features=circuit.features,
        forms=len(circuit.bias),
        outputs=circuit.outputs,
        weight_bits=shape.weight_bits,
        range=shape.range,
        max_relative_error=float(np.max(np.abs(outputs - wanted) / np.maximum(1.0, np.abs(wanted)))),
        approximation_error=scorer.off if isinstance(scorer, Polynomials) else None,
        bytes_up_per_event=shape.batch_bytes / shape.events,
        bytes_down_per_event=shape.answer_bytes / shape.events,
        service_events_per_s=shape.events / ours,
        tenant_events_per_s=shape.events / tenants,
        instructions=Instructions.best().name.lower(),
    )


def rehearse_hidden(detector: Detector) -> HiddenRehearsal:
    """Score made-up events of a fitted detector on ciphertexts, its model encrypted too.

    Raises
    ------
    ConfigError
        If the detector has no circuit, or one that cannot be hidden.
    CapacityError
        If its model is too large to be encrypted.
    """
    circuit, divisors = detector.encryptable().circuit().balanced()
    shape, forms = shape_of(circuit), len(circuit.bias)
    part = _first_forms(circuit, min(forms, max(1, HIDDEN_WEIGHTS // circuit.features)))
    measured = len(part.bias)
    readings = np.random.default_rng(0).normal(size=(shape.events, part.features)) / divisors
    wanted, outputs, times, service = part.evaluate(readings), np.empty(0), [], _Watched()
    begun = time.perf_counter()
    model = HiddenModel(part, service, CANARIES)
    model_s = time.perf_counter() - begun
    try:
        for _ in range(REPETITIONS):
            begun = time.perf_counter()
            outputs, _ = model.score(readings)
            ended = time.perf_counter()
            # Encrypting knows no forms. The service sums over the readings for every form, and once for all of them.
            times.append(
                (
                    (service.ended - service.begun) * (forms + 1) / (measured + 1),
                    service.begun - begun + (ended - service.ended) * forms / measured,
                )
            )
    finally:
        model.close()
    ours, owners = (statistics.median(column) for column in zip(*times, strict=True))
    return HiddenRehearsal(
        forms=forms,
        model_bytes=shape.model_bytes,
        model_s=model_s * forms / measured,
        max_relative_error=float(np.max(np.abs(outputs - wanted) / np.maximum(1.0, np.abs(wanted)))),
        bytes_up_per_event=shape.batch_bytes / shape.events,
        bytes_down_per_event=shape.answer_bytes / shape.events,
        service_events_per_s=shape.events / ours,
        owner_events_per_s=shape.events / owners,
        measured_forms=measured,
    )


def _first_forms(circuit: Circuit, count: int) -> Circuit:
    """Return the circuit of the first forms alone; its last output may have fewer than before."""
    ends = np.minimum(np.cumsum(circuit.rows), count)
    rows = np.diff(ends, prepend=0)
    return Circuit(
        circuit.kind, tuple(int(number) for number in rows if number), circuit.weights[:count], circuit.bias[:count]
    )


class _Watched(InProcess):
    """A service that looks at the clock."""

    begun = ended = 0.0

    def answer(
        self, digest: bytes, batch: bytearray, batch_id: bytes, meanwhile: Callable[[], object] | None = None
    ) -> bytearray:
        self.begun = time.perf_counter()
        answer = super().answer(digest, batch, batch_id, meanwhile)
        self.ended = time.perf_counter()
        return answer
