"""A coordinator that speaks TLS, as its own process."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from fedanomaly.coordinator import CoordinatorConfig, create_invitation, init_home
from fedanomaly.coordinator.certificates import AUTHORITY, SERVER, renew
from fedanomaly.errors import CertificateError, ConfigError
from fedanomaly.protocol import Enrol, seal
from fedanomaly.transport import CoordinatorClient
from fedanomaly.transport.certificates import read_certificate
from tests.unit.coordinator.conftest import ONE_TRY, Identity, free_port, until


@pytest.fixture
def home(tmp_path):
    port = free_port()
    config = CoordinatorConfig(
        name="test", members=3, listen_port=port, url=f"https://localhost:{port}", tls_certificate=SERVER,
        tls_key=SERVER, tls_ca=AUTHORITY,
    )  # fmt: skip
    return init_home(tmp_path / "home", config, tls_names=["localhost"])


@contextmanager
def process(home):
    """Run the coordinator; yields its process, whose `events` reads the log."""
    log = home.folder / "log"
    command = [sys.executable, "-m", "fedanomaly", "coordinator", "run", "--home", str(home.folder)]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr, stdin=subprocess.DEVNULL) as child:
        child.events = lambda name: [e for e in map(json.loads, log.read_text().splitlines()) if e["event"] == name]
        try:
            until(lambda: (log.read_text().endswith("\n") and child.events("certificate")) or child.poll() is not None)
            yield child
        finally:
            child.kill()


def client(home, identity=None, ca_file=None):
    return CoordinatorClient(
        home.config.origin,
        signer=identity or Identity(),
        coordinator=home.identity.public_key,
        federation=home.federation,
        patience=ONE_TRY,
        ca_file=ca_file or home.folder / AUTHORITY,
    )


def served(home):
    """Return the certificate that a new connection gets."""
    text = ssl.get_server_certificate(("localhost", home.config.listen_port))
    return ssl.PEM_cert_to_DER_cert(text)


def test_a_renewed_certificate_is_served_after_sighup_and_a_broken_one_is_not(home):
    with process(home) as child, client(home) as member:
        member.federation()
        before = served(home)
        assert before == read_certificate(home.folder / SERVER).der

        renew(home.folder)
        child.send_signal(signal.SIGHUP)
        until(lambda: len(child.events("certificate")) == 2)
        after = served(home)
        assert after == read_certificate(home.folder / SERVER).der != before
        member.federation()

        (home.folder / SERVER).write_bytes(b"nonsense")
        child.send_signal(signal.SIGHUP)
        until(lambda: child.events("certificate-kept"))
        assert served(home) == after
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


def test_a_member_that_trusts_the_system_alone_sends_nothing(home):
    with process(home), pytest.raises(CertificateError), CoordinatorClient(
        home.config.origin,
        signer=Identity(),
        coordinator=home.identity.public_key,
        federation=home.federation,
        patience=ONE_TRY,
    ) as member:  # fmt: skip
        member.federation()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_who_waits_over_tls_and_loses_nothing(home, number):
    identity, outcome = Identity(), []
    with process(home) as child, client(home, identity) as member:
        enrol = seal(identity, home.federation, "enrol", Enrol(name="north").to_bytes()).envelope
        head = member.enrol(create_invitation(home.folder, "north"), enrol)
        log = member.feed(0)
        asked = threading.Event()
        asking = member._connection._http.urlopen
        member._connection._http.urlopen = lambda *args, **how: asked.set() or asking(*args, **how)
        waiting = threading.Thread(target=lambda: outcome.append(member.feed(head, wait_s=25)))
        waiting.start()
        assert asked.wait(10)
        member.status()  # answered on another connection after the question has gone out
        child.send_signal(number)
        assert child.wait(15) == 0
        waiting.join(15)
        assert outcome == [([], head)]
        assert child.events("stopping")
    with process(home), client(home, identity) as member:
        assert member.feed(0) == log


def test_beyond_this_machine_it_listens_with_tls_or_behind_a_proxy_only(tmp_path):
    given = {"name": "test", "members": 3, "listen_host": "0.0.0.0", "url": "https://coordinator.example"}  # noqa: S104
    with pytest.raises(ConfigError, match="with TLS only") as caught:
        CoordinatorConfig(**given)
    assert "behind_proxy" in caught.value.hint
    CoordinatorConfig(**given, behind_proxy=True)
    CoordinatorConfig(**given, tls_certificate=SERVER, tls_key=SERVER)
