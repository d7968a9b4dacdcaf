"""Members that are driven step by step over HTTP, and processes that carry their large transfers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from fedanomaly.cli.demo.processes import Service, Services, free_port
from fedanomaly.coordinator import CoordinatorConfig, create_invitation, init_home
from fedanomaly.errors import UnavailableError
from fedanomaly.protocol import Enrol, Envelope, JobRequest, Post, seal
from fedanomaly.simulation import Party, matrix_schema
from fedanomaly.transport import CoordinatorClient, Patience
from fedanomaly.types import FieldSpec, State, Statistics, Step, Total

PATIENCE = Patience(attempts=2, io_timeout_s=300.0)
START_TIMEOUT_S = 30.0
DEADLINE_S = 600.0
ROOT = Path(__file__).parent.parent


class VectorLearner:
    """Sums one vector of integers in one step.

    Parameters
    ----------
    values : int64 array of shape (n,)
        What this organisation adds.
    bound : int
        No entry is further from 0.
    """

    generation = 1
    schema = matrix_schema(1)

    def __init__(self, values: np.ndarray, bound: int) -> None:
        self._values, self._bound = values, bound

    def start(self) -> State:
        """Return the empty state."""
        return State("vector", 1, {})

    def next_step(self, state: State) -> Step | None:
        """Return the one step, then None."""
        if "sums" in state:
            return None
        field = FieldSpec(name="sums", shape=self._values.shape, lower=-self._bound, upper=self._bound)
        return Step(name="sums", fields=(field,))

    def local(self, step: Step, state: State) -> Statistics:
        """Return the vector."""
        del step, state
        return {"sums": self._values}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the sum."""
        del step
        return state.with_arrays(sums=total["sums"])

    def scores_are_finite(self, state: State) -> bool:
        """There are no scores."""
        del state
        return True


def vector_request(name: str) -> JobRequest:
    """Return the request to sum the vectors."""
    return JobRequest(
        request=name.encode().ljust(16)[:16],
        model=name,
        dataset="vector",
        detector="vector",
        version=1,
        params="{}",
        schema=VectorLearner.schema,
    )


@dataclass
class Coordinator:
    """A coordinator in a process of its own."""

    folder: Path
    service: Service
    config: CoordinatorConfig
    key: bytes
    federation: bytes

    @classmethod
    def start(cls, services: Services, config: CoordinatorConfig) -> Self:
        """Make its home and start it; returns once it answers."""
        config = msgspec.structs.replace(config, listen_port=free_port())
        folder = services.folder / "coordinator"
        home = init_home(folder, config)
        service = services.start("coordinator", folder, "coordinator", "run", "--home", str(folder))
        made = cls(folder, service, config, home.identity.public_key, home.federation)
        wait_for(lambda: b'"listening"' in service.log.read_bytes(), services)
        return made

    def memory_mb(self, field: str) -> float:
        """Return a figure of /proc/PID/status in MB (10^6 bytes): VmRSS now, VmHWM at most."""
        for line in Path(f"/proc/{self.service.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        raise UnavailableError(f"no {field} in /proc")

    def forget_peak(self) -> None:
        """Let VmHWM start again from what is resident now (Linux `proc(5)`, clear_refs)."""
        Path(f"/proc/{self.service.process.pid}/clear_refs").write_text("5", encoding="ascii")


class Organisation:
    """A member that talks to the coordinator as a node does, one step at a time.

    Parameters
    ----------
    coordinator : Coordinator
        Whom it talks to.
    party : Party
        Who it is.
    """

    def __init__(self, coordinator: Coordinator, party: Party) -> None:
        self.party = party
        self.member = party.start(coordinator.key, coordinator.federation)
        self.client = CoordinatorClient(
            coordinator.config.origin,
            signer=party.identity,
            coordinator=coordinator.key,
            federation=coordinator.federation,
            patience=PATIENCE,
        )
        enrolment = seal(party.identity, coordinator.federation, "enrol", Enrol(name=party.name).to_bytes())
        self.client.enrol(create_invitation(coordinator.folder, party.name, ttl_s=600), enrolment.envelope)

    def due(self) -> Iterable[Post]:
        """Fold what is new in the log, and yield what is due."""
        entries, _ = self.client.feed(self.member.transcript.head)
        for entry in entries:
            self.member.accept(entry)
        yield from self.member.act(self.client.download)

    def send(self, post: Post) -> None:
        """Upload and post."""
        if post.attachment is not None:
            self.client.upload(post.attachment)
        self.client.post(post.envelope)

    def step(self) -> int:
        """Do what is due; returns how much was."""
        done = 0
        for post in self.due():
            self.send(post)
            done += 1
        return done

    def close(self) -> None:
        """Erase secrets, close connections."""
        self.member.close()
        self.client.close()


def settle(organisations: Sequence[Organisation], done: Callable[[], bool]) -> None:
    """Let members act until something holds."""
    begun = time.monotonic()
    while not done():
        if not sum([organisation.step() for organisation in organisations]):
            time.sleep(0.02)
        if time.monotonic() > begun + DEADLINE_S:
            raise UnavailableError("the federation does not get on")


def wait_for(condition: Callable[[], bool], services: Services, timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait for something that a process does."""
    begun = time.monotonic()
    while not condition():
        services.check()
        if time.monotonic() > begun + timeout_s:
            raise UnavailableError("it never happened")
        time.sleep(0.02)


@dataclass(frozen=True)
class Transfer:
    """What a carrier is to do: `kind` is upload, post, download, plain."""

    kind: str
    url: str = ""
    file: str = ""
    digest: str = ""
    envelope: str = ""

    @classmethod
    def upload(cls, file: Path) -> Self:
        """Send a file as an attachment."""
        return cls("upload", file=str(file))

    @classmethod
    def post(cls, envelope: Envelope) -> Self:
        """Post an envelope."""
        return cls("post", envelope=envelope.to_bytes().hex())


class Carriers:
    """One process for each member, so that transfers do not share an interpreter.

    Parameters
    ----------
    coordinator : Coordinator
        Whom they talk to.
    parties : sequence of Party
        Whose keys they sign with.
    """

    def __init__(self, coordinator: Coordinator, parties: Sequence[Party]) -> None:
        self._processes = []
        for party in parties:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.carrier"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._processes.append(process)
            self._say(
                process,
                {
                    "url": coordinator.config.origin,
                    "seed": party.identity._identity.private_bytes_raw().hex(),  # noqa: SLF001 - a key of this run only
                    "coordinator": coordinator.key.hex(),
                    "federation": coordinator.federation.hex(),
                },
            )
        for process in self._processes:
            self._hear(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
            process.wait(30)

    def at_once(self, transfers: Mapping[int, Transfer]) -> float:
        """Let members, by their place, do one thing each at the same time; returns seconds until all are done."""
        begun = time.perf_counter()
        pairs = [(self._processes[place], transfer) for place, transfer in transfers.items()]
        for process, transfer in pairs:
            self._say(process, dataclasses.asdict(transfer))
        with ThreadPoolExecutor(len(pairs)) as pool:
            list(pool.map(lambda pair: self._hear(pair[0]), pairs))
        return time.perf_counter() - begun

    @staticmethod
    def _say(process: subprocess.Popen[str], line: dict[str, Any]) -> None:
        assert process.stdin
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()

    @staticmethod
    def _hear(process: subprocess.Popen[str]) -> None:
        assert process.stdout
        if process.stdout.readline() != "done\n":
            raise UnavailableError("a carrier has failed")
