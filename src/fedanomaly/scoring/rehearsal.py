"""What scoring a model on ciphertexts will cost and how exact it will be, by doing it once."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from fedanomaly.detectors import Detector
from fedanomaly.detectors.projections import Polynomials
from fedanomaly.fhe.scoring import Instructions, PreparedCircuit, seed
from fedanomaly.fhe.tenant import Tenant

REPETITIONS = 5


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
    circuit, _ = scorer.circuit().balanced()
    public = seed(bytes(32), circuit.digest, bytes(32))
    service = PreparedCircuit(circuit, public)
    shape = service.shape
    tenant = Tenant(shape, public, service.constants())
    # Made smaller where the outputs of normal events would leave the range.
    readings = np.random.default_rng(0).normal(size=(shape.events, circuit.features))
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
