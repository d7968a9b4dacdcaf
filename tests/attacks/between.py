"""Somebody on the socket between members and coordinator, who reads and changes what passes; and members behind it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fedanomaly.coordinator import CoordinatorConfig, init_home
from fedanomaly.errors import FedAnomalyError
from fedanomaly.protocol import Enrol, Entry, Post, seal
from fedanomaly.simulation import Party
from fedanomaly.transport import CoordinatorClient, Patience
from tests.unit.coordinator.conftest import Federation, free_port, serve
from tests.unit.protocol.toy import ToyLearner, toy_rows

ONCE = Patience(attempts=1, connect_timeout_s=5, io_timeout_s=5)
NAMES = ("north", "south", "west", "east")
Answer = bytes | Iterable[bytes] | None
"""What is sent back instead, perhaps piece by piece; None breaks the connection."""


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, and its answer as it came from the coordinator."""

    request: bytes
    answer: bytes

    @property
    def line(self) -> str:
        return self.request.split(b"\r\n", 1)[0].decode("latin-1")


class Between:
    """A proxy on loopback in front of one port.

    Parameters
    ----------
    port : int
        Of the coordinator.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.exchanges: list[Exchange] = []
        self.request: Callable[[bytes], bytes | None] = lambda raw: raw
        self.answer: Callable[[bytes, bytes], Answer] = lambda _request, raw: raw
        threading.Thread(target=self._accept, daemon=True).start()

    def honest(self) -> None:
        """Let everything pass from now on."""
        self.request = lambda raw: raw
        self.answer = lambda _request, raw: raw

    def close(self) -> None:
        self._listener.close()

    def forward(self, raw: bytes) -> bytes:
        """Send a request to the coordinator as it is; returns the whole answer, empty if there is none."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=20) as far:
            far.sendall(raw)
            method = raw.split(b" ", 1)[0].decode("latin-1")
            answer = http.client.HTTPResponse(far, method=method)
            try:
                answer.begin()
                body = answer.read()
            except (http.client.HTTPException, OSError):
                return b""
            head = [f"HTTP/1.1 {answer.status} {answer.reason}"]
            head += [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
            return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            near.settimeout(30)
            while raw := _request(near):
                changed = self.request(raw)
                if changed is None:
                    return
                answer = self.forward(changed)
                self.exchanges.append(Exchange(changed, answer))
                pieces = self.answer(raw, answer)
                if pieces is None:
                    return
                for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                    near.sendall(piece)
                if pieces is not answer:
                    return  # whatever was said about its length


def _request(near: socket.socket) -> bytes:
    raw = bytearray()
    while b"\r\n\r\n" not in raw:
        piece = near.recv(1 << 16)
        if not piece:
            return b""
        raw += piece
    head, _, _ = bytes(raw).partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    whole = len(head) + 4 + (int(lengths[0].split(b":")[1]) if lengths else 0)
    while len(raw) < whole:
        piece = near.recv(1 << 16)
        if not piece:
            return b""
        raw += piece
    return bytes(raw)


def said(status: int, body: bytes, *headers: str) -> bytes:
    """Return an answer, whatever the coordinator would say. It is the last of its connection, and says so."""
    head = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Organisation:
    """A member that talks to the coordinator as a node does, through whoever is in between."""

    def __init__(self, federation, url: str, name: str, own: ToyLearner) -> None:
        home = federation.home
        self.name = name
        self.party = Party(name, lambda _: own)
        self.client = CoordinatorClient(
            url,
            signer=self.party.identity,
            coordinator=home.identity.public_key,
            federation=home.federation,
            patience=ONCE,
        )
        federation.clients.append(self.client)
        self.member = self.party.start(home.identity.public_key, home.federation)
        self.sent: list[Post] = []
        self.refused: list[FedAnomalyError] = []
        enrolment = seal(self.party.identity, home.federation, "enrol", Enrol(name=name).to_bytes()).envelope
        self.client.enrol(federation.invite(name), enrolment)

    def step(self) -> int:
        """Fold what is new and do what is due; returns how many entries were new."""
        log = self.member.transcript
        entries, head = self.client.feed(log.head, chain=log.chain(log.head))
        for entry in entries:
            self._fold(entry)
        if log.head >= head:
            for post in self.member.act(self.client.download):
                self.sent.append(post)
                if post.attachment is not None:
                    self.client.upload(post.attachment)
                self.client.post(post.envelope)
        return len(entries)

    def _fold(self, entry: Entry) -> None:
        try:
            self.member.accept(entry)
        except FedAnomalyError as error:
            self.refused.append(error)

    def tried(self) -> FedAnomalyError | None:
        """Do a step; returns what it failed with."""
        try:
            self.step()
        except FedAnomalyError as error:
            return error
        return None


class Web:
    """A real coordinator, somebody in between, and three members."""

    def __init__(self, federation, app) -> None:
        self.federation, self.app = federation, app
        self.between = Between(federation.home.config.listen_port)
        self.organisations: list[Organisation] = []

    def enrol(self) -> None:
        for index, name in enumerate(NAMES[: self.federation.home.config.members]):
            own = ToyLearner(toy_rows(index))
            self.organisations.append(Organisation(self.federation, self.between.url, name, own))

    def pump(self) -> None:
        while sum(organisation.step() for organisation in self.organisations):
            pass

    @property
    def head(self) -> int:
        return self.app.state.service.transcript.head

    @property
    def log(self):
        return self.app.state.service.transcript

    def blobs(self) -> set[str]:
        """Return the names of everything that the coordinator keeps apart from its log."""
        return {path.name for path in self.federation.home.blobs_path.rglob("*") if path.is_file()}


@contextlib.contextmanager
def web(folder, members: int = 3) -> Iterator[Web]:
    """Serve a coordinator and enrol members through somebody in between; a key epoch is live."""
    config = CoordinatorConfig(name="test", members=members, listen_port=free_port())
    federation = Federation(init_home(folder / "home", config))
    with serve(federation.home) as app:
        made = Web(federation, app)
        try:
            made.enrol()
            made.pump()
            yield made
        finally:
            made.between.close()
            for organisation in made.organisations:
                organisation.member.close()
    for client in federation.clients:
        client.close()
