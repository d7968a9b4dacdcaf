"""What a scoring service counts. How many events a batch holds it does not know; no series is about one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedanomaly.transport.metrics import Declared
from fedanomaly.transport.request_log import REQUESTS, RequestMetrics

if TYPE_CHECKING:
    from fedanomaly.scoring.service import ScoringService

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 1, 5, 30)
DECLARED = (
    Declared(name="fedanomaly_scoring_batches_total", kind="counter", unit="batches",
             meaning="Batches that were scored."),
    Declared(name="fedanomaly_scoring_batch_seconds", kind="histogram", unit="seconds", buckets=_LATENCY_S,
             meaning="From the head of a request to its answer being ready: receiving, waiting, computing."),
    Declared(name="fedanomaly_scoring_kernel_seconds", kind="histogram", unit="seconds", buckets=_LATENCY_S,
             meaning="Computing of one batch on one core."),
    Declared(name="fedanomaly_scoring_in_flight", kind="gauge", unit="requests",
             meaning="Requests that are received or computed; see max_in_flight_batches."),
    Declared(name="fedanomaly_scoring_queue_depth", kind="gauge", unit="batches",
             meaning="Batches that are received and wait for a core, or have one."),
    Declared(name="fedanomaly_scoring_models", kind="gauge", unit="models", labels=("origin",),
             meaning="Models that can be scored with: released for all, or uploaded by a tenant for itself."),
    Declared(name="fedanomaly_scoring_prepared_bytes", kind="gauge", unit="bytes",
             meaning="Memory of models made ready for tenants; see prepared_mib."),
    Declared(name="fedanomaly_scoring_draining", kind="gauge", unit="",
             meaning="1 once the service was told to stop, else 0."),
    *REQUESTS,
)  # fmt: skip


class Metrics(RequestMetrics):
    """The metrics of one scoring service."""

    def __init__(self) -> None:
        super().__init__(DECLARED)

    def watch(self, service: ScoringService) -> None:
        """Read from now on what a service holds, whenever somebody asks."""
        self.ask("fedanomaly_scoring_in_flight", lambda: service.slots.taken)
        self.ask("fedanomaly_scoring_queue_depth", lambda: service.queued)
        self.ask("fedanomaly_scoring_models", lambda: len(service.released), origin="released")
        self.ask("fedanomaly_scoring_models", lambda: service.uploads.count, origin="uploaded")
        self.ask("fedanomaly_scoring_prepared_bytes", lambda: service.prepared.size_bytes)
        self.ask("fedanomaly_scoring_draining", lambda: float(service.draining))
