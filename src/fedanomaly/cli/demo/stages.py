"""The acts of the demonstration: set up the processes, train, evaluate."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pyarrow.parquet as pq
from rich.console import Console

from fedanomaly.cli.demo.evaluate import Quality, furthest, quality
from fedanomaly.cli.demo.prepare import Organisation, Plan
from fedanomaly.cli.demo.processes import Service, Services, free_port
from fedanomaly.cli.live import JobView, Lines
from fedanomaly.cli.output import size_text
from fedanomaly.cli.running import running_node
from fedanomaly.client import Client
from fedanomaly.detectors import Detector, from_params
from fedanomaly.errors import NotFoundError, ProtocolError, UnavailableError
from fedanomaly.node.home import Home
from fedanomaly.types import Floats

DATASET = "events"
START_TIMEOUT_S = 120.0
EPOCH_TIMEOUT_S = 180.0
JOB_TIMEOUT_S = 900.0
POLL_S = 0.2
SETUP_PARALLEL = 2


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One detector, three ways, at every organisation.

    Parameters
    ----------
    detector : str
        Registered name.
    local, federated, pooled : list of Quality
        One for each organisation, on its own test events.
    rounds : int
        Rounds of the job.
    sent_bytes : int
        Largest upload of a member in this job.
    seconds : float
        Wall time of the job.
    max_abs_difference : float
        Largest difference of a federated from a pooled anomaly score.
    """

    detector: str
    local: list[Quality]
    federated: list[Quality]
    pooled: list[Quality]
    rounds: int
    sent_bytes: int
    seconds: float
    max_abs_difference: float

    @property
    def distance(self) -> float:
        """Largest difference of a federated from a pooled quality figure."""
        return furthest(self.federated, self.pooled)


class Stage:
    """Runs the demonstration with the public commands and the loopback API alone.

    Parameters
    ----------
    plan : Plan
        The organisations and their data.
    services : Services
        Where processes are started.
    console : Console
        Where progress goes.
    """

    def __init__(self, plan: Plan, services: Services, console: Console) -> None:
        self._plan = plan
        self._services = services
        self._console = console
        self._clients: dict[str, Client] = {}
        self._cursors: dict[str, int] = {}
        self._deeds: dict[str, set[str]] = {}

    def set_up(self) -> None:
        """Start coordinator and nodes, enrol them, add their data, set the keys up."""
        folder, run = self._services.folder, self._services.run
        coordinator = folder / "coordinator"
        size = len(self._plan.organisations)
        self._say(f"coordinator and {size} organisations start, each a process with its own home")
        run(
            "coordinator", "init", "--name", "demo", "--members", str(size), "--threshold", "2",
            "--listen", f"127.0.0.1:{free_port()}", "--home", str(coordinator),
        )  # fmt: skip
        serving = self._services.start("coordinator", coordinator, "coordinator", "run", "--home", str(coordinator))
        with ThreadPoolExecutor(SETUP_PARALLEL) as pool:
            list(pool.map(self._prepare_node, self._plan.organisations))
        # One after the other: the order of enrolment is that of the roster, and of all names.
        nodes = [self._enrol_node(organisation) for organisation in self._plan.organisations]
        for organisation, node in zip(self._plan.organisations, nodes, strict=True):
            self._meet_node(organisation, node)
        self._wait(lambda: serving.running, START_TIMEOUT_S, "the coordinator does not start")
        self._wait(self._live, EPOCH_TIMEOUT_S, "the key epoch does not come to life")
        self._say("keys are set up: no dealer, and the self-test opened what it should")

    def train(self, detector: str) -> Trained:
        """Train one detector with the federation, and evaluate it at every organisation."""
        names = [organisation.name for organisation in self._plan.organisations]
        self._say(f"{names[0]} asks the federation to train {detector}")
        began = time.monotonic()
        job = self._clients[names[0]].train(DATASET, detector, model=detector)
        if self._console.is_terminal:
            with JobView(self._console) as view:
                job.wait(JOB_TIMEOUT_S, view.show)
        else:
            job.wait(JOB_TIMEOUT_S, Lines(self._console).show)
        seconds = time.monotonic() - began
        told = [self._told(name, job.id) for name in names]
        sent = max(entry["sent_bytes"] for entry in told)
        self._say(f"{detector}: {len(told[0]['rounds'])} rounds, each member sent at most {size_text(sent)}")
        return self._evaluate(detector, rounds=len(told[0]["rounds"]), sent_bytes=sent, seconds=seconds)

    def say_how_to_talk(self) -> None:
        """Print how to reach the processes that go on."""
        for organisation in self._plan.organisations:
            home = self._services.folder / organisation.name
            self._say(f"{organisation.name}: fedanomaly node status --home {home}")
        first = self._services.folder / self._plan.organisations[0].name
        self._say(f"train again: fedanomaly train {DATASET} --detector loda --home {first}")
        secret = self._services.passphrase_file
        self._say(f"score what it held out: fedanomaly score loda --evaluate --home {first} --passphrase-file {secret}")
        pids = " ".join(str(service.process.pid) for service in self._services.running)
        self._say(f"end it: kill {pids}")

    def _prepare_node(self, organisation: Organisation) -> None:
        folder, run, name = self._services.folder, self._services.run, organisation.name
        home, secret = folder / name, self._secret
        inbox = folder / "files" / name
        inbox.mkdir(parents=True, exist_ok=True)
        pq.write_table(organisation.train, inbox / "train.parquet")
        pq.write_table(organisation.test, inbox / "test.parquet")
        schema = folder / "files" / f"{name}.schema.json"
        schema.write_text(self._plan.schema.to_json())
        invitation = inbox / "invitation"
        invitation.write_text(run("coordinator", "invite", name, "--home", str(folder / "coordinator")))
        run("node", "init", "--home", str(home), *secret)
        run(
            "data", "add", DATASET, str(inbox / "train.parquet"), "--holdout", str(inbox / "test.parquet"),
            "--schema", str(schema), *(("--label", self._plan.label) if self._plan.label else ()),
            "--home", str(home), *secret,
        )  # fmt: skip

    def _enrol_node(self, organisation: Organisation) -> Service:
        folder, name = self._services.folder, organisation.name
        home, invitation = folder / name, folder / "files" / name / "invitation"
        options = ("--home", str(home), *self._secret)
        self._retry(lambda: self._services.run("node", "enrol", str(invitation), *options))
        return self._services.start(name, home, "node", "run", *options)

    def _meet_node(self, organisation: Organisation, node: Service) -> None:
        name = organisation.name
        self._wait(lambda: Home(node.home).address is not None, START_TIMEOUT_S, f"{name} does not start")
        self._clients[name] = running_node(Home(node.home))
        self._say(f"{name} runs: {organisation.train.num_rows:,} events to train on, process {node.process.pid}")

    @property
    def _secret(self) -> tuple[str, str]:
        return "--passphrase-file", str(self._services.passphrase_file)

    def _retry(self, command: Callable[[], str]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                command()
            except UnavailableError:
                self._services.check()
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _live(self) -> bool:
        self._show_deeds()
        try:
            states = [client.status()["epoch_state"] for client in self._clients.values()]
        except UnavailableError:
            return False
        return all(state == "live" for state in states)

    def _show_deeds(self) -> None:
        """Print what all members have done since the last look, and at once what went wrong at one."""
        for name, client in self._clients.items():
            try:
                events, self._cursors[name] = client.events(self._cursors.get(name, 0))
            except UnavailableError:
                continue
            for event in events:
                if event["name"] == "sent":
                    self._deed(name, event["details"]["kind"], event["details"]["attachment_bytes"])
                elif event["details"].get("problem"):
                    self._say(f"  {name}  {event['name']}: {event['details'].get('error', '')}")

    def _deed(self, name: str, kind: str, size_bytes: int) -> None:
        # A message may be sent again before it shows in the log; only the last of all members ends a line.
        done = self._deeds.setdefault(kind, set())
        done.add(name)
        names = [organisation.name for organisation in self._plan.organisations]
        if done.issuperset(names):
            done.clear()
            size = f"  {size_text(size_bytes)} each" if size_bytes else ""
            self._say(f"  {kind.replace('-', ' '):13} {', '.join(names)}{size}")

    def _told(self, name: str, job: str) -> dict:
        self._wait(
            lambda: self._clients[name].job(job).status == "accepted", EPOCH_TIMEOUT_S, f"{name} does not catch up"
        )
        return self._clients[name].job(job).told()

    def _evaluate(self, name: str, *, rounds: int, sent_bytes: int, seconds: float) -> Trained:
        plan = self._plan
        model = {entry.name: self._model(entry.name, name) for entry in plan.organisations}
        first = model[plan.organisations[0].name]
        if any(other.state_.to_bytes() != first.state_.to_bytes() for other in model.values()):
            raise ProtocolError("the organisations hold different models")
        pooled = from_params(name, first.params()).fit(plan.pooled())
        local, federated, together, difference = [], [], [], 0.0
        for entry in plan.organisations:
            train, test, labels = plan.matrices(entry)
            own = from_params(name, first.params()).fit(train)
            scores: tuple[Floats, ...] = tuple(each.anomaly_scores(test) for each in (own, model[entry.name], pooled))
            local.append(quality(scores[0], labels))
            federated.append(quality(scores[1], labels))
            together.append(quality(scores[2], labels))
            difference = max(difference, float(abs(scores[1] - scores[2]).max()))
        return Trained(
            detector=name,
            local=local,
            federated=federated,
            pooled=together,
            rounds=rounds,
            sent_bytes=sent_bytes,
            seconds=seconds,
            max_abs_difference=difference,
        )

    def _model(self, organisation: str, name: str) -> Detector:
        client = self._clients[organisation]

        def there() -> bool:
            try:
                client.model(name)
            except NotFoundError:
                return False
            return True

        self._wait(there, EPOCH_TIMEOUT_S, f"{organisation} does not keep the model")
        return client.model(name).detector

    def _wait(self, condition: Callable[[], bool], timeout_s: float, trouble: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._services.check()
            if time.monotonic() > deadline:
                raise UnavailableError(trouble, hint=f"see the logs in {self._services.folder}")
            time.sleep(POLL_S)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def close(self) -> None:
        """Close the connections."""
        with ExitStack() as stack:
            for client in self._clients.values():
                stack.callback(client.close)
