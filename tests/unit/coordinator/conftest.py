"""A real coordinator on a loopback port, and members that talk to it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedanomaly.coordinator import CoordinatorConfig, create_app, create_invitation, init_home
from fedanomaly.coordinator.server import Server
from fedanomaly.protocol import Enrol, seal
from fedanomaly.transport import CoordinatorClient, Patience

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
    server = Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="on"), app)
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

    def log(self):
        """Everything in the log, as the first member sees it."""
        return self.clients[0].feed(0)[0]


@pytest.fixture
def federation(tmp_path):
    config = CoordinatorConfig(name="test", members=3, listen_port=free_port(), max_blob_bytes=32 << 20)
    federation = Federation(init_home(tmp_path / "home", config))
    yield federation
    for client in federation.clients:
        client.close()


@pytest.fixture
def served(federation):
    with serve(federation.home) as app:
        federation.app = app
        yield federation
