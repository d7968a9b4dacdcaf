"""A real coordinator on a loopback port, and members that talk to it."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
import structlog
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedanomaly.coordinator import CoordinatorConfig, create_app, create_invitation, init_home
from fedanomaly.coordinator.api import guarded
from fedanomaly.coordinator.server import Server
from fedanomaly.protocol import Enrol, seal
from fedanomaly.protocol.messages import Hello, RosterAccept
from fedanomaly.transport import CoordinatorClient, Patience, RequestSigner
from fedanomaly.transport.http import Http
from fedanomaly.transport.wire import PART_BYTES
from tests.signing import sign
from tests.unit.cli.conftest import environment, fedanomaly
from tests.unit.coordinator.web import Web, sha256

__all__ = ["environment", "fedanomaly"]

ONE_TRY = Patience(attempts=1, connect_timeout_s=5, io_timeout_s=20)


class Identity:
    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, timeout_s: float = 20.0):
    """Wait for something that another process or thread does."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return value


@contextmanager
def serve(home):
    """Serve a home by a real server in a thread; yields the application."""
    app = create_app(home.folder)
    port = home.config.listen_port
    server = Server(
        uvicorn.Config(guarded(app), port=port, log_config=None, http=Http, access_log=False, lifespan="on"), app
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield app
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@dataclass
class Federation:
    home: object
    clients: list = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.home.config.origin

    def client(self, identity, patience=ONE_TRY, **options) -> CoordinatorClient:
        client = CoordinatorClient(
            self.url,
            signer=identity,
            coordinator=self.home.identity.public_key,
            federation=self.home.federation,
            patience=patience,
            **options,
        )
        self.clients.append(client)
        return client

    def invite(self, name: str, **options):
        return create_invitation(self.home.folder, name, **options)

    def enrolment(self, identity, name: str):
        return seal(identity, self.home.federation, "enrol", Enrol(name=name).to_bytes()).envelope

    def enrol(self, name: str):
        identity = Identity()
        client = self.client(identity)
        client.enrol(self.invite(name), self.enrolment(identity, name))
        return identity, client

    def say(self, identity, message, attachment=None):
        return seal(identity, self.home.federation, message.kind, message.to_bytes(), attachment)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.home.config.listen_port), timeout=10)

    def put_head(self, identity, data: bytes, number: int = 0) -> bytes:
        """Return the signed head of a request that sends one part of `data`."""
        path = f"/v1/blobs/{hashlib.sha256(data).hexdigest()}/parts/{number}?size={len(data)}"
        part = data[number * PART_BYTES : (number + 1) * PART_BYTES]
        request = httpx2.Request("PUT", self.url + path, content=part)
        sign(RequestSigner(identity, self.home.federation), request)
        lines = (name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        return f"PUT {path} HTTP/1.1\r\n".encode() + b"".join(lines) + b"\r\n"

    def log(self):
        """Everything in the log, as the first member sees it."""
        return self.clients[0].feed(0)[0]


@contextmanager
def found(folder):
    config = CoordinatorConfig(name="test", members=3, listen_port=free_port(), max_blob_bytes=32 << 20)
    federation = Federation(init_home(folder / "home", config))
    try:
        yield federation
    finally:
        for client in federation.clients:
            client.close()


@pytest.fixture(autouse=True)
def plain_logs():
    """Log one line of JSON for each event, whatever other tests have set: pretty tracebacks take seconds."""
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    yield
    structlog.configure(**before)


@pytest.fixture
def federation(tmp_path):
    with found(tmp_path) as federation:
        yield federation


@pytest.fixture
def served(federation):
    with serve(federation.home) as app:
        federation.app = app
        yield federation


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A coordinator with one member, for tests that leave it as it is."""
    with found(tmp_path_factory.mktemp("standing")) as federation, serve(federation.home) as app:
        federation.app = app
        federation.member = federation.enrol("north")
        yield federation


@pytest.fixture
def web(standing):
    opened = []

    def web(federation, identity=None):
        opened.append(Web(federation, identity))
        return opened[-1]

    yield web
    for each in opened:
        each.close()


@pytest.fixture
def dealing(served):
    """Three members up to their deals, and the digest of their roster."""
    members = [served.enrol(name) for name in ("north", "south", "west")]
    call = served.log()[-1].envelope.digest
    for identity, client in members:
        client.post(served.say(identity, Hello(call=call, nonce=os.urandom(32), hello=bytes(1248))).envelope)
    roster = sha256(served.log()[-1].envelope.body)
    for identity, client in members:
        client.post(served.say(identity, RosterAccept(roster=roster)).envelope)
    return members, roster
