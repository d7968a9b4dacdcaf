import subprocess
import sys
import textwrap

import pytest

from fedanomaly.errors import ConfigError, InUseError, KeystoreError
from fedanomaly.node.home import Home, Membership
from fedanomaly.node.keystore import Cost
from fedanomaly.protocol import Policy

CHEAP = Cost(memory_kib=19_456, iterations=2, lanes=1)
HOLDER = """
    import pathlib, sys
    from fedanomaly.node.home import Home
    with Home(pathlib.Path(sys.argv[1])).locked():
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def holder(home):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_new_home_is_private_and_complete(home):
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.root.iterdir()}

    assert modes == {
        "data": 0o700,
        "epochs": 0o700,
        "keystore.json": 0o600,
        "models": 0o700,
        "node.toml": 0o600,
        "policy.toml": 0o600,
        "token": 0o600,
    }


def test_the_files_of_a_new_home_hold_the_defaults(home):
    assert home.policy == Policy()
    assert home.config.api_port == 7420
    assert home.membership is None
    assert home.address is None


def test_every_home_has_its_own_long_token(home, tmp_path, passphrase):
    other = Home.create(tmp_path / "other", passphrase, cost=CHEAP)

    assert len(home.token) >= 40
    assert home.token != other.token


def test_a_home_is_made_once(home, passphrase):
    with pytest.raises(ConfigError, match="already"):
        Home.create(home.root, passphrase, cost=CHEAP)


def test_an_interrupted_creation_is_completed_with_the_same_identity(home, passphrase):
    identity = home.unlock(passphrase).public_key
    (home.root / "node.toml").unlink()

    assert Home.create(home.root, passphrase).unlock(passphrase).public_key == identity


def test_an_interrupted_creation_is_not_completed_by_somebody_else(home):
    (home.root / "node.toml").unlink()

    with pytest.raises(KeystoreError):
        Home.create(home.root, "some other passphrase")


def test_any_other_folder_is_no_home(tmp_path):
    with pytest.raises(ConfigError, match="not the home"):
        Home(tmp_path)


def test_a_second_process_on_one_home_is_refused(home, holder):
    with pytest.raises(InUseError, match="another process"), home.locked():
        raise AssertionError("two processes hold one home")


def test_the_lock_is_seen_without_being_taken(home, holder):
    assert home.running


def test_a_killed_process_holds_nothing(home, holder):
    holder.kill()
    holder.wait()

    assert not home.running
    with home.locked():
        assert home.running


def test_one_process_cannot_hold_a_home_twice(home):
    with home.locked(), pytest.raises(InUseError), home.locked():
        raise AssertionError("held twice")


def test_an_address_without_a_running_node_is_not_believed(home):
    (home.root / "address").write_text("http://127.0.0.1:1")

    assert home.address is None


def test_the_address_is_there_while_the_node_runs(home):
    with home.locked(), home.announced("http://127.0.0.1:7420"):
        assert home.address == "http://127.0.0.1:7420"
    assert not (home.root / "address").exists()


def test_a_token_that_others_may_read_is_refused(home):
    (home.root / "token").chmod(0o644)

    with pytest.raises(KeystoreError, match="others may read"):
        _ = home.token


def test_an_identity_serves_one_federation(home):
    first = Membership(name="north", url="http://127.0.0.1:1", coordinator=bytes(32), federation=bytes(32))
    home.enrolled(first)
    home.enrolled(first)

    with pytest.raises(ConfigError, match="enrolled as north"):
        home.enrolled(Membership(name="north", url="http://127.0.0.1:1", coordinator=bytes(32), federation=b"1" * 32))
    assert home.membership == first


def test_a_damaged_enrolment_is_said(home):
    (home.root / "federation.json").write_text("{")

    with pytest.raises(ConfigError, match="damaged"):
        _ = home.membership


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_home_that_others_may_write_in_is_not_opened(home, passphrase, mode):
    """They could put their own policy there, or another coordinator's key."""
    home.root.chmod(mode)

    with pytest.raises(KeystoreError, match="others may write"):
        home.unlock(passphrase)
