import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from fedanomaly.errors import ConfigError, InUseError
from fedanomaly.node.enrolment import enrol
from fedanomaly.node.home import Membership
from fedanomaly.node.run import run
from fedanomaly.transport import Invitation
from tests.unit.node.federation import PASSPHRASE, free_port, until


@pytest.fixture
def enrolled(home):
    url = f"http://127.0.0.1:{free_port()}"
    home.enrolled(Membership(name="north", url=url, coordinator=bytes(32), federation=bytes(32)))
    return home


def set_port(home, port):
    settings = home.root / "node.toml"
    settings.write_text(settings.read_text().replace("api_port = 7420", f"api_port = {port}"))


def test_a_node_that_is_not_enrolled_does_not_run(home, passphrase):
    set_port(home, 0)

    with pytest.raises(ConfigError, match="not enrolled"):
        run(home, home.unlock(passphrase), ready=lambda _address: None)
    assert not home.running


def test_a_port_that_is_taken_is_said_with_what_to_do(enrolled, passphrase):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        set_port(enrolled, taken.getsockname()[1])

        with pytest.raises(ConfigError, match="cannot be used") as caught:
            run(enrolled, enrolled.unlock(passphrase), ready=lambda _address: None)

    assert "api_port" in (caught.value.hint or "")


def test_two_nodes_never_run_on_one_home(enrolled, passphrase):
    set_port(enrolled, 0)

    with enrolled.locked(), pytest.raises(InUseError, match="another process"):
        run(enrolled, enrolled.unlock(passphrase), ready=lambda _address: None)


def test_a_stopped_node_leaves_its_home_free(enrolled, passphrase):
    set_port(enrolled, 0)
    stop, addresses = threading.Event(), []
    thread = threading.Thread(
        target=run, args=(enrolled, enrolled.unlock(passphrase)), kwargs={"ready": addresses.append, "stop": stop}
    )
    thread.start()
    until(lambda: addresses)
    assert enrolled.address == addresses[0]

    stop.set()
    thread.join(30)

    assert not thread.is_alive()
    assert not enrolled.running
    assert not (enrolled.root / "address").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_good_order(enrolled, number):
    set_port(enrolled, 0)
    environment = {**os.environ, "FEDANOMALY_PASSPHRASE": PASSPHRASE, "FEDANOMALY_NODE_LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "fedanomaly", "node", "run", "--home", str(enrolled.root)]

    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: enrolled.address)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]

    assert process.returncode == 0
    assert '"event": "node-stopped"' in said
    assert "Traceback" not in said
    assert PASSPHRASE not in said
    assert not enrolled.running


def test_an_invitation_of_somebody_else_changes_nothing(enrolled, passphrase):
    before = enrolled.membership
    invitation = Invitation(
        url="http://127.0.0.1:1", coordinator=bytes(32), federation=b"1" * 32, name="south", secret=bytes(32)
    )

    with pytest.raises(ConfigError, match="enrolled as north"):
        enrol(enrolled, enrolled.unlock(passphrase), invitation)

    assert enrolled.membership == before
