"""What a coordinator counts, and the loopback port where its operator's Prometheus reads it.

The numbers tell how busy a federation is, which outsiders are not to learn; and
a member could tell others apart by them. So they have a port of their own, on
loopback and closed unless it is set, and no series is about one member.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import start_http_server

from fedanomaly.errors import ConfigError
from fedanomaly.protocol import Entry, JobEnd, Transcript
from fedanomaly.protocol.messages import KINDS, Announce, Outcome
from fedanomaly.transport.metrics import Declared
from fedanomaly.transport.request_log import REQUESTS, RequestMetrics

if TYPE_CHECKING:
    from fedanomaly.coordinator.home import Home

LOOPBACK = "127.0.0.1"
DECLARED = (
    Declared(name="fedanomaly_envelopes_total", kind="counter", unit="envelopes", labels=("kind",),
             meaning="Envelopes of the log by kind; counted from the log, so a restart changes nothing."),
    Declared(name="fedanomaly_rounds_total", kind="counter", unit="rounds", labels=("outcome",),
             meaning="Rounds that ended, by outcome (accepted, rejected, void); counted from the log."),
    Declared(name="fedanomaly_round_seconds", kind="histogram", unit="seconds",
             buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
             meaning="From the announcement of a round to its outcome; from the log."),
    Declared(name="fedanomaly_jobs_total", kind="counter", unit="jobs", labels=("outcome",),
             meaning="Jobs that ended, self-tests included, by outcome; counted from the log."),
    Declared(name="fedanomaly_log_head", kind="gauge", unit="entries", meaning="Entries in the log."),
    Declared(name="fedanomaly_members", kind="gauge", unit="members", meaning="Organisations that are enrolled."),
    Declared(name="fedanomaly_members_awaited", kind="gauge", unit="members",
             meaning="Members whom the job under way waits for."),
    Declared(name="fedanomaly_polls_waiting", kind="gauge", unit="requests",
             meaning="Requests for news that wait for the log to grow; about one for each node that runs."),
    Declared(name="fedanomaly_epoch", kind="gauge", unit="", meaning="Number of the newest key epoch."),
    Declared(name="fedanomaly_epoch_live", kind="gauge", unit="", meaning="1 if the newest key epoch is live, else 0."),
    Declared(name="fedanomaly_epoch_quota_used_ratio", kind="gauge", unit="ratio",
             meaning="Share of the key epoch's quota that is used; a new epoch begins by itself before it is 1."),
    *REQUESTS,
    Declared(name="fedanomaly_act_failures_total", kind="counter", unit="failures",
             meaning="Times that a round could not be moved on; it is tried again twice a second."),
    Declared(name="fedanomaly_blob_store_bytes", kind="gauge", unit="bytes", meaning="Attachments that are kept."),
    Declared(name="fedanomaly_disk_free_bytes", kind="gauge", unit="bytes", meaning="Room on the disk of the home."),
)  # fmt: skip


class Metrics(RequestMetrics):
    """The metrics of one coordinator."""

    def __init__(self) -> None:
        super().__init__(DECLARED)
        self._announced_at = 0.0

    def watch(self, home: Home, transcript: Transcript, waiting: Callable[[], float]) -> None:
        """Read from now on what stands in a home, a fold, and the service, whenever somebody asks."""
        self.ask("fedanomaly_log_head", lambda: transcript.head)
        self.ask("fedanomaly_members", lambda: len(transcript.members))
        self.ask("fedanomaly_members_awaited", lambda: _awaited(transcript))
        self.ask("fedanomaly_polls_waiting", waiting)
        self.ask("fedanomaly_epoch", lambda: len(transcript.epochs))
        self.ask("fedanomaly_epoch_live", lambda: float(transcript.live is not None))
        self.ask("fedanomaly_epoch_quota_used_ratio", lambda: transcript.quota_used)
        self.ask("fedanomaly_blob_store_bytes", lambda: _size_of(home.blobs_path))
        self.ask("fedanomaly_disk_free_bytes", lambda: shutil.disk_usage(home.folder).free)

    def folded(self, entry: Entry) -> None:
        """Count an entry that the fold has taken."""
        kind = entry.envelope.kind
        self.count("fedanomaly_envelopes_total", kind=kind)
        if kind not in (Announce.kind, Outcome.kind, JobEnd.kind):
            return
        message = KINDS[kind].from_bytes(entry.envelope.body)
        if isinstance(message, Announce):
            self._announced_at = entry.received_at  # one round at a time
        elif isinstance(message, Outcome):
            self.count("fedanomaly_rounds_total", outcome=message.outcome)
            self.observe("fedanomaly_round_seconds", entry.received_at - self._announced_at)
        elif isinstance(message, JobEnd):
            self.count("fedanomaly_jobs_total", outcome=message.outcome)


@contextmanager
def exposed(metrics: Metrics, port: int) -> Iterator[None]:
    """Answer Prometheus on a loopback port; 0: on none.

    Raises
    ------
    ConfigError
        If the port is taken.
    """
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=LOOPBACK, registry=metrics.registry)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {LOOPBACK} port {port} for metrics: {error.strerror}",
            hint="set metrics_port in coordinator.toml; 0 turns it off",
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _awaited(transcript: Transcript) -> float:
    job = transcript.open_job
    return len(job.waiting_for()) if job else 0


def _size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in (folder / "kept").glob("??/*") if path.is_file())
