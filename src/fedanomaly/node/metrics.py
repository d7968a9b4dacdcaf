"""What a node counts. It is read through the loopback API, behind its token: it is about this organisation."""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING, Any

from fedanomaly.protocol import JobState
from fedanomaly.protocol.epochs import EpochState
from fedanomaly.transport.metrics import Declared, Instruments

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from fedanomaly.node.service import NodeService

DECLARED = (
    Declared(name="fedanomaly_node_connected", kind="gauge", unit="",
             meaning="1 if the coordinator answered last time, and with a log that this node follows, else 0."),
    Declared(name="fedanomaly_node_last_contact_seconds", kind="gauge", unit="seconds",
             meaning="Since the coordinator last answered; -1 if it has not since the start."),
    Declared(name="fedanomaly_node_log_head", kind="gauge", unit="entries",
             meaning="Entries of the log that are folded."),
    Declared(name="fedanomaly_node_epoch", kind="gauge", unit="", meaning="Number of the newest key epoch."),
    Declared(name="fedanomaly_node_epoch_state", kind="gauge", unit="", labels=("state",),
             meaning="1 for the state of the newest key epoch, 0 for every other one."),
    Declared(name="fedanomaly_node_epoch_quota_used_ratio", kind="gauge", unit="ratio",
             meaning="Share of the key epoch's quota that is used; a new epoch begins by itself before it is 1."),
    Declared(name="fedanomaly_node_jobs", kind="gauge", unit="jobs", labels=("state",),
             meaning="Jobs of the log by state."),
    Declared(name="fedanomaly_node_held_back_datasets", kind="gauge", unit="data sets",
             meaning="Data sets that take no part because this node was restored or copied: they need new rows."),
    Declared(name="fedanomaly_node_sent_total", kind="counter", unit="messages", labels=("kind",),
             meaning="Messages that were sent since the start, by kind."),
    Declared(name="fedanomaly_node_sent_bytes_total", kind="counter", unit="bytes",
             meaning="Attachments of these messages: contributions, deals, decryption shares."),
    Declared(name="fedanomaly_node_local_seconds", kind="histogram", unit="seconds",
             buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
             meaning="Time to compute one statistic over the local rows."),
    Declared(name="fedanomaly_node_models_total", kind="counter", unit="models", meaning="Models that were kept."),
    Declared(name="fedanomaly_node_problems_total", kind="counter", unit="events", labels=("event",),
             meaning="Events that need a person's eyes, by name."),
    Declared(name="fedanomaly_node_refusals_total", kind="counter", unit="events", labels=("code",),
             meaning="The same by error code, where there is one."),
    Declared(name="fedanomaly_node_retries_total", kind="counter", unit="requests",
             meaning="Requests to the coordinator that were tried again."),
    Declared(name="fedanomaly_node_disk_free_bytes", kind="gauge", unit="bytes",
             meaning="Room on the disk of the home."),
)  # fmt: skip
JOB_STATES = ("waiting", *(state.value for state in JobState))
EPOCH_STATES = ("none", *(state.value for state in EpochState))
_CODE = re.compile(r"FA\d{3}(?=:)")


class Metrics(Instruments):
    """The metrics of one node."""

    def __init__(self) -> None:
        super().__init__(DECLARED)

    def watch(self, service: NodeService) -> None:
        """Read from now on what a service shows, whenever somebody asks."""
        self.ask("fedanomaly_node_connected", lambda: float(service.status.connected))
        self.ask("fedanomaly_node_last_contact_seconds", lambda: _age(service.last_contact_at))
        self.ask("fedanomaly_node_log_head", lambda: service.status.head)
        self.ask("fedanomaly_node_epoch", lambda: service.status.epoch or 0)
        self.ask("fedanomaly_node_epoch_quota_used_ratio", lambda: service.status.quota_used)
        self.ask("fedanomaly_node_held_back_datasets", lambda: len(service.status.held_back))
        self.ask("fedanomaly_node_disk_free_bytes", lambda: shutil.disk_usage(service.folder).free)
        for state in EPOCH_STATES:
            self.ask(
                "fedanomaly_node_epoch_state",
                lambda state=state: float((service.status.epoch_state or "none") == state),
                state=state,
            )
        for state in JOB_STATES:
            self.ask(
                "fedanomaly_node_jobs", lambda state=state: sum(job.state == state for job in service.jobs), state=state
            )

    def happened(self, name: str, details: dict[str, Any]) -> None:
        """Count an event of the feed."""
        if details.get("problem"):
            self.count("fedanomaly_node_problems_total", event=name)
            code = _CODE.match(str(details.get("error", "")))
            if code:
                self.count("fedanomaly_node_refusals_total", code=code[0])
        elif name == "sent":
            self.count("fedanomaly_node_sent_total", kind=details["kind"])
            self.add("fedanomaly_node_sent_bytes_total", details["attachment_bytes"])
        elif name == "computed":
            self.observe("fedanomaly_node_local_seconds", details["seconds"])
        elif name == "model-kept":
            self.count("fedanomaly_node_models_total")

    def retried(self, details: RetryDetails) -> None:
        """Count a request that is tried again; a hook of stamina's."""
        _ = details  # its text may quote an address
        self.count("fedanomaly_node_retries_total")


def _age(at: float | None) -> float:
    return -1.0 if at is None else time.time() - at
