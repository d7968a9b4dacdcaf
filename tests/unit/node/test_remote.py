"""A node whose policy says "score remotely": a real node, a real service."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from unittest.mock import Mock

import httpx2
import numpy as np
import pytest

from fedanomaly.client import Client
from fedanomaly.detectors import PCA, Loda
from fedanomaly.errors import ConfigError, CryptoError, WrongAnswerError
from fedanomaly.fhe.hidden import HiddenShape
from fedanomaly.fhe.tenant import BatchKey
from fedanomaly.node.doctor import examine
from fedanomaly.node.home import Home, Membership
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.remote import MAX_MODELS, RemoteScoring
from fedanomaly.node.run import _listening, _served
from fedanomaly.node.service import NodeService
from fedanomaly.scoring import HttpExchange
from fedanomaly.scoring.config import ScoringConfig
from fedanomaly.scoring.home import init_home
from tests.unit.coordinator.conftest import free_port
from tests.unit.node.federation import PASSPHRASE, payments, until
from tests.unit.node.test_api import score, stream_of
from tests.unit.scoring.conftest import Service, serve

ROWS = np.random.default_rng(0).normal(size=(500, 4))
NAMES = {"name": "made-here", "request": "00"}


@dataclass
class Node:
    """A node of the federation, its loopback API, and models with a circuit (hidden) and without (open)."""

    home: Home
    keystore: Keystore
    service: NodeService
    address: str
    http: httpx2.Client

    def local(self, rows, name="hidden"):
        with Client(self.address, token=self.home.token) as client:
            return client.model(name).score(rows)

    @property
    def problems(self):
        return len([event for event in self.service.feed.after(0) if event.name == "remote-scoring-failed"])


@pytest.fixture
def node(trained):
    home, keystore, running = trained.homes[1], trained.keystores[1], trained.services[0]
    with trained.client() as client:
        known = {model["name"] for model in client.models()}
        for name, detector in (("hidden", "pca"), ("open", "hbos")):
            if name not in known:
                client.train("payments", detector, model=name).wait(120)
    until(lambda: {"hidden", "open"} <= {lineage.name for lineage in running.models.newest()})
    with _listening(0) as listener, _served(running, home.token, listener):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        headers = {"authorization": f"Bearer {home.token}"}
        with httpx2.Client(base_url=address, headers=headers, trust_env=False, timeout=60) as http:
            yield Node(home, keystore, running, address, http)


@pytest.fixture
def service(trained, tmp_path):
    key = trained.keystores[1].public_key
    federation = trained.home.membership.federation.hex()
    config = ScoringConfig(federation=federation, listen_port=free_port(), tenants={"east": key.hex()})
    return Service(init_home(tmp_path / "scoring", config), None, None, None)


@pytest.fixture
def policy(trained, monkeypatch):
    """Set what the policy says; the running node takes it as at a start."""
    running, made = trained.services[0], []

    def says(url, *, or_here=False, hide_model=False, ca=""):
        monkeypatch.setenv("FEDANOMALY_POLICY_SCORE_REMOTELY", url)
        monkeypatch.setenv("FEDANOMALY_POLICY_SCORE_REMOTELY_CA", ca)
        monkeypatch.setenv("FEDANOMALY_POLICY_SCORE_REMOTELY_OR_HERE", str(or_here).lower())
        monkeypatch.setenv("FEDANOMALY_POLICY_SCORE_REMOTELY_HIDE_MODEL", str(hide_model).lower())
        made.append(RemoteScoring.of(trained.homes[1], trained.keystores[1], running.feed))
        monkeypatch.setattr(running, "remote", made[-1])
        return made[-1]

    yield says
    for remote in made:
        remote.close()


def test_rows_are_scored_by_the_service_and_the_answer_says_so(node, service, policy):
    rows = payments(9, 200)
    policy(service.url)
    with serve(service):
        told = score(node.http, stream_of(rows), "hidden").json()
        assert b"fedanomaly_scoring_batches_total 1.0" in service.held.metrics.text()
    wanted = node.local(rows)
    assert np.allclose(told["scores"], wanted, rtol=5e-4, atol=5e-4)
    assert told["predictions"] == [-1 if value > told["threshold"] else 1 for value in told["scores"]]
    assert told["remote"] is True
    assert told["scored_here"] == 0
    assert told["bytes_up"] > told["bytes_down"] > 10_000
    assert len(told["uncertain"]) == 200
    assert sum(told["uncertain"]) < 5


def test_without_a_policy_rows_are_scored_here_and_the_answer_says_so(node):
    rows = payments(9, 50)
    told = score(node.http, stream_of(rows), "hidden").json()
    assert told["scores"] == node.local(rows).tolist()
    assert (told["remote"], told["scored_here"], told["bytes_up"], told["bytes_down"]) == (False, 50, 0, 0)
    assert told["uncertain"] == [False] * 50


@pytest.mark.parametrize(("name", "told"), [("open", (422, "FA100")), ("hidden", (503, "FA500"))])
def test_what_the_service_cannot_score_is_an_error_and_not_scored_here(node, service, policy, name, told):
    policy(service.url)  # nobody listens there
    before = node.problems
    answer = score(node.http, stream_of(payments(9, 50)), name)
    assert (answer.status_code, answer.json()["code"]) == told
    assert "scores" not in answer.json()
    assert node.problems == before + 1


@pytest.mark.parametrize("name", ["open", "hidden"])
def test_it_is_scored_here_where_the_policy_says_so_and_the_answer_tells(node, service, policy, name):
    policy(service.url, or_here=True)
    rows = payments(9, 50)
    before = node.problems
    told = score(node.http, stream_of(rows), name).json()
    assert told["scores"] == node.local(rows, name).tolist()
    assert (told["remote"], told["scored_here"]) == (False, 50)
    assert node.problems == before + 1


def test_a_service_that_lies_is_never_replaced_by_a_score_from_here(node, service, policy, monkeypatch):
    policy(service.url, or_here=True)
    honest = BatchKey.decrypt
    monkeypatch.setattr(BatchKey, "decrypt", lambda key, answer: honest(key, answer) + 1.0)
    with serve(service):
        answer = score(node.http, stream_of(payments(9, 50)), "hidden")
    assert answer.json()["code"] == WrongAnswerError.code
    assert answer.status_code >= 400


def test_a_service_that_is_started_anew_is_asked_on(node, service, policy):
    policy(service.url)
    rows = payments(9, 50)
    for _ in range(2):
        with serve(service):
            told = score(node.http, stream_of(rows), "hidden").json()
        assert np.allclose(told["scores"], node.local(rows), rtol=5e-4, atol=5e-4)


def test_the_service_gets_hidden_models_where_the_policy_says_so(node, service, policy):
    policy(service.url, hide_model=True)
    rows = payments(9, 200)
    with serve(service):
        told = score(node.http, stream_of(rows), "hidden").json()
        kept = service.held.uploads.of(node.keystore.public_key)
    assert [type(model.shape) for model in kept] == [HiddenShape]
    assert np.allclose(told["scores"], node.local(rows), rtol=5e-4, atol=5e-4)
    assert (told["remote"], told["scored_here"]) == (True, 0)


def test_what_must_be_hidden_and_cannot_be_is_not_sent_in_the_clear(service, policy):
    curves, lineage, rows = Loda(n_projections=5, polynomial=True).fit(ROWS), SimpleNamespace(**NAMES), ROWS[:10]
    with serve(service):
        with pytest.raises(ConfigError, match="a polynomial circuit cannot be hidden"):
            policy(service.url, hide_model=True).score(lineage, curves, rows)
        assert policy(service.url, hide_model=True, or_here=True).score(lineage, curves, rows) is None
        assert service.held.uploads.count == 0


def test_a_service_that_lied_about_a_hidden_model_gets_it_no_second_time(node, service, policy, monkeypatch):
    remote = policy(service.url, hide_model=True)
    detector, lineage, honest = PCA(n_components=2).fit(ROWS), SimpleNamespace(**NAMES), BatchKey.decrypt
    with serve(service):
        with monkeypatch.context() as lying:
            lying.setattr(BatchKey, "decrypt", lambda key, answer: honest(key, answer) + 1.0)
            with pytest.raises(WrongAnswerError):
                remote.score(lineage, detector, ROWS[:10])
        remote._scorers.clear()  # as after eight other models
        with pytest.raises(WrongAnswerError, match="not given it again"):
            remote.score(lineage, detector, ROWS[:10])
        assert service.held.uploads.count == 1


def test_secrets_of_hidden_models_end_with_the_node(node, service, policy):
    remote = policy(service.url, hide_model=True)
    with serve(service):
        remote.score(SimpleNamespace(**NAMES), PCA(n_components=2).fit(ROWS), ROWS[:10])
        (scorer,) = remote._scorers.values()
        remote.close()
    with pytest.raises(CryptoError):
        scorer._hidden._key.encrypt(ROWS[:10])


def test_a_setting_that_cannot_be_keeps_the_node_from_starting(trained, policy):
    with pytest.raises(ConfigError):
        policy("ftp://127.0.0.1")
    with pytest.raises(ConfigError):
        policy("https://scoring.invalid", ca="missing.pem")


def test_only_so_many_models_are_kept_ready(trained, service, monkeypatch):
    made = []
    monkeypatch.setattr("fedanomaly.scoring.EncryptedScorer", lambda *_any, **_more: made.append(Mock()) or made[-1])
    exchange = HttpExchange(service.url, trained.keystores[1], bytes(32))
    remote = RemoteScoring(exchange, trained.services[0].feed, or_here=False, hide_model=False)
    for turn in (*range(MAX_MODELS), 0, MAX_MODELS, 0, 1):
        remote._scorer(str(turn), None)
    remote.close()
    assert len(made) == MAX_MODELS + 2
    assert len(remote._scorers) == MAX_MODELS


def found(home, passphrase=PASSPHRASE):
    lines = {check.name: check for check in examine(home, passphrase=passphrase, told=None)}
    return lines.get("scoring service")


def test_a_doctor_asks_the_service(trained, service, policy):
    home, other = trained.homes[1], trained.homes[2]
    assert found(home) is None
    policy(service.url)
    assert found(home, None).level == "warn"
    assert (found(home).level, "FA500" in found(home).found) == ("fail", True)
    with serve(service):
        assert found(home).level == "ok"
        assert "encrypted" not in found(home).found
        assert "FA406" in found(other).found
        policy(service.url, hide_model=True)
        assert "models are sent encrypted" in found(home).found


def test_a_node_starts_with_what_its_policy_says(home, passphrase, service):
    home.enrolled(Membership(name="north", url="http://127.0.0.1:1", coordinator=bytes(32), federation=b"f" * 32))
    services = [NodeService.open(home, passphrase)]
    text = (home.root / "policy.toml").read_text()
    (home.root / "policy.toml").write_text(text.replace('score_remotely = ""', f'score_remotely = "{service.url}"'))
    services.append(NodeService.open(home, passphrase))
    assert [running.remote is None for running in services] == [True, False]
    for running in services:
        running.stop()
