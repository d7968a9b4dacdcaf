"""Settings, key and invitations of a coordinator's home."""

from __future__ import annotations

import stat

import pytest

from fedanomaly.coordinator import (
    CoordinatorConfig,
    Home,
    create_app,
    create_invitation,
    federation_id,
    init_home,
    load_config,
)
from fedanomaly.errors import ConfigError, FedAnomalyError, KeystoreError
from fedanomaly.transport import Invitation

CONFIG = CoordinatorConfig(name='North "and" Söuth', members=4, threshold=3, listen_port=7411, join_s=2.5)


@pytest.fixture
def home(tmp_path):
    return init_home(tmp_path / "deep" / "home", CONFIG)


def test_settings_are_written_and_read_back(home):
    assert load_config(home.config_path) == CONFIG
    assert home.config == CONFIG


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": 2}, {"threshold": 1}, {"threshold": 4}, {"name": ""}, {"join_s": 0.0}, {"attempts": 0},
        {"listen_port": 0}, {"listen_port": 70_000}, {"max_blob_bytes": 5}, {"max_blob_bytes": 2**60},
        {"tls_key": "k"}, {"tls_certificate": "c"}, {"url": "https://h/path"},
        {"listen_host": "10.0.0.1"}, {"listen_host": "::"}, {"listen_host": "federation.example"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong, tmp_path):
    with pytest.raises(ConfigError):
        CoordinatorConfig(**{"name": "n", "members": 4, **wrong})
    values = {"name": "n", "members": 4, **wrong}
    lines = (f"{key} = {value!r}".replace("'", '"') for key, value in values.items())
    (tmp_path / "coordinator.toml").write_text("\n".join(lines))
    with pytest.raises(ConfigError):
        load_config(tmp_path / "coordinator.toml")


@pytest.mark.parametrize(
    "text",
    ["", "name = ", "members = 3", 'name = "n"\nmembers = "3"', 'name = "n"\nmembers = 3\ntreshold = 2', "\udc80"],
)
def test_a_file_that_is_not_exactly_settings_is_refused(text, tmp_path):
    (tmp_path / "coordinator.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError):
        load_config(tmp_path / "coordinator.toml")


def test_beyond_this_machine_tls_is_needed():
    CoordinatorConfig(name="n", members=3, listen_host="::1")
    CoordinatorConfig(name="n", members=3, listen_host="10.0.0.1", behind_proxy=True)
    config = CoordinatorConfig(name="n", members=3, listen_host="10.0.0.1", tls_certificate="c.pem", tls_key="k.pem")
    assert config.origin == "https://10.0.0.1:7400"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, "http://127.0.0.1:7400"),
        ({"listen_host": "::1", "listen_port": 1}, "http://[::1]:1"),
        ({"url": "https://federation.example"}, "https://federation.example"),
    ],
)
def test_nodes_are_told_where_to_go(given, origin):
    assert CoordinatorConfig(name="n", members=3, **given).origin == origin


def test_the_key_is_private_and_never_shown(home):
    assert stat.S_IMODE(home.key_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    key = home.key_path.read_bytes()
    assert key.hex() not in repr(home.identity)
    assert home.federation == federation_id(home.identity.public_key)


def test_a_home_is_made_once(home):
    key = home.key_path.read_bytes()
    with pytest.raises(ConfigError):
        init_home(home.folder, CONFIG)
    assert home.key_path.read_bytes() == key


@pytest.mark.parametrize("damage", ["missing", "readable", "short", "folder"])
def test_a_key_that_is_not_as_it_should_be_is_not_used(home, damage):
    if damage == "readable":
        home.key_path.chmod(0o640)
    elif damage == "short":
        home.key_path.write_bytes(b"short")
    else:
        home.key_path.unlink()
    if damage == "folder":
        home.key_path.mkdir()
    with pytest.raises(KeystoreError):
        create_app(home.folder)


def test_a_home_without_settings_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="coordinator init"):
        create_app(tmp_path)


def test_an_invitation_says_where_and_whom_to_trust(home):
    invitation = create_invitation(home.folder, "north")
    assert Invitation.from_text(invitation.to_text()) == invitation
    assert invitation.url == "http://127.0.0.1:7411"
    assert (invitation.coordinator, invitation.federation) == (home.identity.public_key, home.federation)
    assert invitation.secret != create_invitation(home.folder, "north").secret


def test_the_secret_of_an_invitation_is_not_kept(home):
    invitation = create_invitation(home.folder, "north")
    on_disk = b"".join(path.read_bytes() for path in home.folder.rglob("*") if path.is_file())
    assert invitation.secret_hash in on_disk
    assert invitation.secret not in on_disk


@pytest.mark.parametrize(("name", "ttl_s"), [("", 60.0), ("a\nb", 60.0), ("north", 0.0), ("north", -1.0)])
def test_an_invitation_that_nobody_could_use_is_not_made(home, name, ttl_s):
    with pytest.raises(FedAnomalyError):
        create_invitation(home.folder, name, ttl_s=ttl_s)


def test_a_home_is_served_by_one_process(home):
    with home.lock(), pytest.raises(ConfigError), Home(home.folder).lock():
        pass
    with Home(home.folder).lock():
        pass
