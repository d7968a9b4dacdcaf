"""A real scoring service on a loopback port, and tenants that talk to it."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import numpy as np
import pytest

from fedanomaly.fhe.scoring import seed
from fedanomaly.fhe.tenant import Tenant
from fedanomaly.scoring.api import create_app, guarded
from fedanomaly.scoring.config import ScoringConfig
from fedanomaly.scoring.exchange import HttpExchange
from fedanomaly.scoring.home import init_home
from fedanomaly.scoring.release import Release, make_release
from fedanomaly.scoring.server import Server
from fedanomaly.scoring.wire import FrameHead
from fedanomaly.transport import RequestSigner, serving
from fedanomaly.types import Circuit
from tests.signing import sign
from tests.unit.coordinator.conftest import ONE_TRY, Identity, free_port, plain_logs, until

__all__ = ["plain_logs"]

FEDERATION = bytes(range(32))


def circuit(n: int = 0, features: int = 3, forms: int = 2, kind="quadratic") -> Circuit:
    rng = np.random.default_rng(n)
    rows = (1,) * forms if kind == "linear" else (forms,)
    return Circuit(kind, rows, rng.normal(size=(forms, features)) / features, rng.normal(size=forms) / 4)


def readings(events: int, features: int = 3):
    return np.random.default_rng(events).normal(size=(events, features))


@dataclass
class Service:
    """A home, and who has keys there."""

    home: object
    releaser: Identity
    north: Identity
    south: Identity
    opened: list = field(default_factory=list)
    app: object = None
    server: object = None

    @property
    def url(self) -> str:
        return self.home.config.origin

    @property
    def held(self):
        return self.app.state.service

    def release(self, model: Circuit, name: str = "payments", version: int = 1, signers=None, federation=FEDERATION):
        release = Release(federation=federation, name=name, version=version, circuit=model)
        file = make_release(release, signers or [self.releaser])
        (self.home.models_path / f"{name}-{version}.release").write_bytes(file)
        return file

    def exchange(self, identity=None, patience=ONE_TRY, **options) -> HttpExchange:
        exchange = HttpExchange(self.url, identity or self.north, FEDERATION, patience=patience, **options)
        self.opened.append(exchange)
        return exchange

    def tenant(self, model: Circuit, identity=None, exchange=None) -> Tenant:
        """Return what encrypts for a model, set up over HTTP."""
        identity = identity or self.north
        offer = (exchange or self.exchange(identity)).offer(model.digest)
        return Tenant(offer.shape, seed(FEDERATION, model.digest, identity.public_key), offer.constants)

    def signed(self, method, path, body=b"", identity=None) -> httpx2.Request:
        request = httpx2.Request(method, self.url + path, content=body)
        sign(RequestSigner(identity or self.north, FEDERATION), request)
        return request

    def ask(self, request) -> httpx2.Response:
        with httpx2.Client(trust_env=False, timeout=20) as http:
            return http.send(request)

    def head_of(self, request) -> bytes:
        """Return the head of a request as it goes over the wire."""
        lines = (name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        return f"{request.method} {request.url.raw_path.decode()} HTTP/1.1\r\n".encode() + b"".join(lines) + b"\r\n"


def frame(model: Circuit, batch: bytes, batch_id: bytes = bytes(16)) -> bytes:
    head = FrameHead(direction="batch", digest=model.digest, batch_id=batch_id, size=len(batch))
    return head.to_bytes() + batch


def batch_path(model: Circuit) -> str:
    return f"/v1/models/{model.digest.hex()}/batches"


@contextmanager
def home_in(folder, **settings):
    releaser, north, south = Identity(), Identity(), Identity()
    config = ScoringConfig(
        federation=FEDERATION.hex(),
        listen_port=free_port(),
        releasers=(releaser.public_key.hex(),),
        tenants={"north": north.public_key.hex(), "south": south.public_key.hex()},
        **settings,
    )
    service = Service(init_home(folder / "home", config), releaser, north, south)
    try:
        yield service
    finally:
        for each in service.opened:
            each.close()


@contextmanager
def serve(service, **options):
    """Serve a home by a real server in a thread; `options` are uvicorn's."""
    app = create_app(service.home.folder)
    server = Server(serving.options_of(guarded(app), port=service.home.config.listen_port, **options), app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        assert server.started
        service.app, service.server = app, server
        yield service
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def service(tmp_path):
    """A home that nobody serves yet."""
    with home_in(tmp_path) as service:
        yield service


@pytest.fixture
def served(service):
    with serve(service):
        yield service


MODEL = circuit()


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A service with one released model, for tests that leave it as it is."""
    with home_in(tmp_path_factory.mktemp("standing")) as service:
        service.release(MODEL)
        with serve(service):
            yield service


def batch_id() -> bytes:
    return os.urandom(16)
