"""The running node: pulls the log, does what is due, keeps what was learnt.

One thread works through turns: fold what is new, and once the log is read to its
head, send what the member's rules say is due. Everything durable lies below it
(ledger, vault, models), so it may die at any instant and begins by reading the
log again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from fedanomaly import __version__
from fedanomaly.detectors.evaluation import EVALUATION
from fedanomaly.detectors.progress import Progress
from fedanomaly.errors import ConfigError, DivergedError, FedAnomalyError, StorageError, UnavailableError
from fedanomaly.node.datasets import Datasets
from fedanomaly.node.evaluator import Evaluators
from fedanomaly.node.events import Feed
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.learner import Learners
from fedanomaly.node.lineage import lineage_of
from fedanomaly.node.log_mark import LogMark
from fedanomaly.node.metrics import Metrics
from fedanomaly.node.models import Lineage, ModelStore
from fedanomaly.node.notes import Noting, StepNotes
from fedanomaly.node.refresher import Refreshers
from fedanomaly.node.remote import RemoteScoring
from fedanomaly.node.renewal import refreshes
from fedanomaly.node.upstream import client_of
from fedanomaly.node.vault import SealedVault
from fedanomaly.node.views import EvaluationView, JobView, StatusView, evaluation_view, jobs_of
from fedanomaly.protocol import Entry, Job, JobEnd, JobRequest, JobState, Learner, Member, Post
from fedanomaly.storage import SealedRows
from fedanomaly.types import State, Step, Total

OnProgress = Callable[[Step, Total, State], Progress | None]
BOOT_BYTES = 32
REQUEST_BYTES = 16
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
DAY_S = 86_400.0
LONG_WAIT_S = 5.0
"""After so long somebody who looks on wants to know whom everything waits for."""
STOP_TIMEOUT_S = 30.0


class Standstill:
    """Notices, once for each, that the log has not grown for long."""

    def __init__(self) -> None:
        self._head = -1
        self._since_s = 0.0
        self._told = False

    def is_long(self, head: int, now_s: float) -> bool:
        """Return whether the log stands still for `LONG_WAIT_S` and nobody was told."""
        if head != self._head:
            self._head, self._since_s, self._told = head, now_s, False
        if self._told or now_s - self._since_s < LONG_WAIT_S:
            return False
        self._told = True
        return True


class NodeService:
    """A node at work. The caller holds the lock of the home.

    Parameters
    ----------
    home : Home
        Its folder; enrolled.
    keystore : Keystore
        Opened.

    Raises
    ------
    ConfigError
        If the node is not enrolled, or a settings file is wrong.
    """

    def __init__(self, home: Home, keystore: Keystore) -> None:
        membership = home.membership
        if membership is None:
            raise ConfigError("this node is not enrolled", hint="run: fedanomaly node enrol INVITATION")
        self.metrics = Metrics()
        self.feed = Feed(watch=self.metrics.happened)
        self.datasets = Datasets(home.root / "data", keystore)
        self.models = ModelStore(home.root / "models", keystore)
        self.evaluations = ModelStore(home.root / "evaluations", keystore, kind="evaluation")
        self._membership = membership
        self._identity = keystore.public_key
        self._poll_wait_s = home.config.poll_wait_s
        self._rows = SealedRows(home.root / "rows.sqlite", keystore.key_for("ledger"))
        self._learners = Learners(self.datasets, self._rows, self._on_local, home.policy.detectors)
        self._refreshers = Refreshers(self.datasets, self.models, self._learners, self._rows, self._on_local)
        self._evaluators = Evaluators(self.datasets, self.models, self._learners, self._rows, self._on_local)
        self._member = Member(
            signer=keystore,
            coordinator=membership.coordinator,
            federation=membership.federation,
            vault=SealedVault(home.root / "epochs", keystore),
            rows=self._rows,
            learners=self._learner,
            policy=home.policy,
            boot=os.urandom(BOOT_BYTES),
            entropy=os.urandom,
        )
        self._mark = LogMark(home.root / "log.json")
        self._client = client_of(membership, keystore, ca_file=home.authority)
        self.remote = RemoteScoring.of(home, keystore, self.feed)
        self._stop = threading.Event()
        self._working = threading.Lock()
        self._thread = threading.Thread(target=self._live, name="fedanomaly-node", daemon=True)
        self._notes = StepNotes(self._rows)
        self._kept: set[bytes] = set()
        self._connected = False
        self.folder = home.root
        self.last_contact_at: float | None = None
        self._trouble: Exception | None = None
        self._standstill = Standstill()
        self._jobs: list[JobView] = []
        self._status = self._status_view()
        self.metrics.watch(self)

    @classmethod
    def open(cls, home: Home, passphrase: str) -> NodeService:
        """Return the node of a home, its keystore opened."""
        return cls(home, home.unlock(passphrase))

    # What the loopback API asks; safe from every thread.

    @property
    def status(self) -> StatusView:
        """The node and its federation at a glance."""
        return self._status

    @property
    def jobs(self) -> list[JobView]:
        """The jobs of the log, oldest first."""
        return self._jobs

    @property
    def alive(self) -> bool:
        """Whether the node works: its loop has begun and not ended."""
        return self._thread.is_alive()

    def train(
        self, *, model: str, dataset: str, detector: str, params: dict[str, Any], sample: int | None = None
    ) -> str:
        """Ask the federation for a job, on a sample of each member's rows or on all, and return its id.

        Raises
        ------
        FedAnomalyError
            If this node itself could not take part, or nobody answers.
        """
        asked = {"model": model, "dataset": dataset, "detector": detector, "params": params, "sample": sample}
        return self._ask(self._learners.request(**asked, request=os.urandom(REQUEST_BYTES)))

    def refresh(self, model: str, half_life_days: float) -> str:
        """Ask the federation to teach a model the rows that came since, and return the id of the job.

        Parameters
        ----------
        model : str
            Its name; the newest version here is refreshed.
        half_life_days : float
            After so many days the rows that it knows count half; positive.

        Raises
        ------
        FedAnomalyError
            If this node itself could not take part, or nobody answers.
        """
        age_days = max(time.time() - self.models.load(model).lineage.ended_at, 0.0) / DAY_S
        # Computed once and sent along, so that all members keep the same share to the last bit.
        keep = 0.5 ** (age_days / half_life_days)
        return self._ask(self._refreshers.request(model=model, keep=keep, request=os.urandom(REQUEST_BYTES)))

    def evaluate(self, model: str, version: int | None = None) -> str:
        """Ask the federation to evaluate a model, and return the id of the job.

        Raises
        ------
        FedAnomalyError
            If this node itself could not take part, or nobody answers.
        """
        return self._ask(self._evaluators.request(model=model, version=version, request=os.urandom(REQUEST_BYTES)))

    def evaluation(self, model: str, budget: float) -> EvaluationView:
        """Return the newest evaluation of a model, and how far this node's rows are from the others'.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        found = self.evaluations.load(model)
        before = (one for one in self.evaluations.all(model) if one.lineage.version < found.lineage.version)
        earlier = next((one for one in before if one.state.params == found.state.params), None)
        return evaluation_view(found, self._evaluators.drift(found), budget, earlier)

    def _ask(self, request: JobRequest) -> str:
        if isinstance(self._trouble, DivergedError):
            raise self._trouble
        self._send(self._member.request(request))
        return request.request.hex()

    def _learner(self, request: JobRequest) -> Learner:
        if request.detector == EVALUATION:
            return self._noting(request, self._evaluators(request), lambda _step, _total, _state: None)
        learner = self._refreshers(request) if refreshes(request) else self._learners(request)
        return self._noting(request, learner, learner.progress)

    def _noting(self, request: JobRequest, learner: Learner, progress: OnProgress) -> Noting:
        def opened(step: Step, total: Total, state: State) -> None:
            self._notes.opened(request.request, step, total, progress(step, total, state))

        return Noting(learner, lambda step: self._notes.begun(request.request, step), opened)

    # Its life.

    def start(self) -> None:
        """Begin to work."""
        self.feed.add("node-started", organisation=self._membership.name, coordinator=self._membership.url)
        self._thread.start()

    def stop(self) -> None:
        """End the work in good order: what is being folded or sent is finished first.

        A question for news that waits at the coordinator is left alone: its
        thread holds nothing, and does nothing more once it is answered.
        """
        self._stop.set()
        held = self._working.acquire(timeout=STOP_TIMEOUT_S)
        if held and self._connected:
            self._connected = False  # who stops it twice does no harm
            self._retire()
        self._client.close()
        if self.remote is not None:
            self.remote.close()
        self._rows.close()
        if held:
            self._working.release()
        self.feed.add("node-stopped", organisation=self._membership.name)

    def _retire(self) -> None:
        """Declare void what was not answered yet, so that nobody waits for this node."""
        try:
            for post in self._member.retire():
                self._send(post)
        except FedAnomalyError as error:
            self.feed.problem("post-refused", kind="statement", error=str(error))

    def _live(self) -> None:
        pause_s = 0.0
        while not self._stop.is_set():
            wait_s = min(self._poll_wait_s, LONG_WAIT_S) if self._member.transcript.open_job else self._poll_wait_s
            if self._turn(wait_s=0.0 if pause_s else wait_s):
                pause_s = 0.0
                continue
            pause_s = min(max(FIRST_PAUSE_S, 2 * pause_s), LONGEST_PAUSE_S)
            # Spread out: nodes that lost the same coordinator do not come back in step.
            self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _turn(self, wait_s: float) -> bool:
        """Do one turn; returns whether the coordinator answered. What goes wrong never ends the loop."""
        try:
            log = self._member.transcript
            entries, head = self._client.feed(after=log.head, wait_s=wait_s, chain=log.chain(log.head))
        except Exception as error:  # noqa: BLE001 - whatever the other side sends, the loop goes on
            self._lost(error)
            return False
        with self._working:
            if self._stop.is_set():
                return True
            try:
                self._mark.check(self._member.transcript, head)
                self._reached()
                self._work_on(entries, head)
                self._tell_whom_it_waits_for()
            except StorageError as error:  # ours: a coordinator whose disk is full is merely unavailable
                if type(self._trouble) is not StorageError:
                    self.feed.problem("disk-trouble", error=_told(error))
                self._trouble = error
                self._publish()
                return False
            except (UnavailableError, DivergedError) as error:
                self._lost(error)
                return False
            except FedAnomalyError as error:
                self.feed.problem("turn-failed", error=str(error))
            except Exception as error:  # noqa: BLE001 - a defect in one job must not stop the others
                self.feed.problem("turn-failed", error=f"unexpected {type(error).__name__}")
            else:
                self._recovered()
                return True
            self._publish()
        self._stop.wait(FIRST_PAUSE_S)  # the next news, or the end of the next long poll, tries again
        return True

    def _work_on(self, entries: list[Entry], head: int) -> None:
        """Fold what is new and, with the log read to its head, do what is due."""
        for entry in entries:
            self._fold(entry)
        self._mark.check(self._member.transcript, head)
        ends_job = any(entry.envelope.kind == JobEnd.kind for entry in entries)
        if not ends_job:
            self._publish()
        if self._member.transcript.head >= head:
            self._mark.keep(self._member.transcript)
            self._act()  # keeps a model before anybody is told that its job was accepted

    def _fold(self, entry: Entry) -> None:
        try:
            self._member.accept(entry)
        except FedAnomalyError as error:
            self.feed.problem("entry-refused", seq=entry.seq, kind=entry.envelope.kind[:40], error=str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever another party wrote, the log goes on
            self._member.transcript.skip(entry)
            self.feed.problem("entry-refused", seq=entry.seq, error=f"unexpected {type(error).__name__}")
            return
        sender = self._member.transcript.members.get(entry.envelope.sender, "coordinator")
        self.feed.add(entry.envelope.kind, seq=entry.seq, by=sender, attachment_bytes=entry.envelope.size)

    def _act(self) -> None:
        for post in self._member.act(self._client.download):
            if self._stop.is_set():
                return
            try:
                self._send(post)
            except UnavailableError:
                raise
            except FedAnomalyError as error:  # too late, most often: the log has moved on
                self.feed.problem("post-refused", kind=post.envelope.kind, error=str(error))
        self._keep_models()
        self._publish()

    def _tell_whom_it_waits_for(self) -> None:
        transcript = self._member.transcript
        job = transcript.open_job
        if job is None or not self._standstill.is_long(transcript.head, time.monotonic()):
            return
        names = [transcript.members[job.epoch.call.identities[index - 1]] for index in job.waiting_for()]
        if names:
            state = job.open_round.state.value if job.open_round else job.state.value
            self.feed.problem("waiting", members=names, job=job.number, state=state)

    def _send(self, post: Post) -> None:
        if post.attachment is not None:
            self._client.upload(post.attachment)
        self._client.post(post.envelope)
        self.feed.add("sent", kind=post.envelope.kind, attachment_bytes=post.envelope.size)

    def _keep_models(self) -> None:
        for job in self._member.transcript.jobs:
            request = job.request
            if request is None or job.state is not JobState.ACCEPTED or request.request in self._kept:
                continue
            state = self._member.state(job)
            if state is not None:  # else this node took no part, or has not opened the last sum yet
                self._keep_model(job, request, state)
                self._kept.add(request.request)

    def _keep_model(self, job: Job, request: JobRequest, state: State) -> None:
        store = self.evaluations if request.detector == EVALUATION else self.models
        if store.has(request.model, request.request.hex()):
            return
        try:
            lineage = store.add(self._lineage(job, request), state)
        except StorageError:
            raise  # tried again at the next turn
        except FedAnomalyError as error:
            self.feed.problem("model-lost", model=request.model, job=request.request.hex(), error=str(error))
            return
        name = "evaluation-kept" if request.detector == EVALUATION else "model-kept"
        self.feed.add(name, model=lineage.name, model_version=lineage.version, job=lineage.request)

    def _lineage(self, job: Job, request: JobRequest) -> Lineage:
        parent = self._refreshers.parent(request) if refreshes(request) else None
        snapshot = self._learners.snapshot_of(request)
        notes = self._notes.of(request.request)
        return lineage_of(job, self._member.transcript, self._identity, snapshot, parent=parent, notes=notes)

    def _on_local(self, request: JobRequest, step_name: str, seconds: float) -> None:
        self.feed.add("computed", job=request.request.hex(), step=step_name, seconds=round(seconds, 3))

    def _reached(self) -> None:
        self.last_contact_at = time.time()
        if not self._connected:
            self._connected, self._trouble = True, None
            self.feed.add("coordinator-reached", url=self._membership.url)

    def _recovered(self) -> None:
        if isinstance(self._trouble, StorageError):
            self._trouble = None
            self.feed.add("disk-usable")
            self._publish()

    def _lost(self, error: Exception) -> None:
        if self._stop.is_set():
            return
        known, self._trouble, self._connected = self._trouble, error, False
        if type(known) is not type(error):  # one line when it goes away, not one for every try
            name = "log-diverged" if isinstance(error, DivergedError) else "coordinator-unreachable"
            self.feed.problem(name, url=self._membership.url, error=_told(error))
        self._publish()

    def _publish(self) -> None:
        """Replace what other threads see, as a whole."""
        self._jobs = jobs_of(self._member.transcript, self._identity, self._notes.of)
        self._status = self._status_view()

    def _status_view(self) -> StatusView:
        transcript = self._member.transcript
        settings, epoch, job = transcript.settings, transcript.epoch, transcript.open_job
        return StatusView(
            version=__version__,
            organisation=self._membership.name,
            identity=self._identity.hex(),
            coordinator_url=self._membership.url,
            connected=self._connected,
            federation=settings.name if settings else None,
            head=transcript.head,
            members=list(transcript.members.values()),
            members_wanted=settings.members if settings else None,
            threshold=settings.threshold if settings else None,
            epoch=epoch.call.number if epoch else None,
            epoch_state=epoch.state.value if epoch else None,
            open_job=job.request.request.hex() if job and job.request else None,
            quota_used=round(transcript.quota_used, 6),
            last_contact_at=self.last_contact_at,
            trouble=_told(self._trouble) if self._trouble else None,
            held_back=self._held_back(),
        )

    def _held_back(self) -> list[str]:
        """Return the data sets that take no part because the ledger is a copy and they have no new rows since."""
        last = self._member.clone_generation
        return [view.name for view in self.datasets.list() if view.generation <= last] if last else []


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, FedAnomalyError) else f"unexpected {type(error).__name__}"
