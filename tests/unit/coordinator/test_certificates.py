"""The coordinator's own certificate authority."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import stat
import subprocess

import pytest
from cryptography import x509

from fedanomaly.coordinator import CoordinatorConfig, create_invitation, init_home
from fedanomaly.coordinator.certificates import (
    AUTHORITY,
    AUTHORITY_KEY,
    SERVER,
    create,
    host_of,
    renew,
)
from fedanomaly.errors import ConfigError, KeystoreError
from fedanomaly.transport.certificates import read_certificate
from fedanomaly.transport.server_tls import ServerTls

NOW = dt.datetime.now(dt.UTC)


def test_keys_are_for_their_owner_alone(tmp_path):
    create(tmp_path, ["coordinator.example"])
    for name in (AUTHORITY_KEY, SERVER):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert b"PRIVATE" not in (tmp_path / AUTHORITY).read_bytes()


@pytest.mark.parametrize(
    "names", [["coordinator.example"], ["192.0.2.1"], ["2001:db8::1"], ["a.example", "192.0.2.1", "2001:db8::1"]]
)
def test_another_implementation_takes_the_chain_by_the_letter(tmp_path, names):
    create(tmp_path, names)
    if not (openssl := shutil.which("openssl")):
        assert "CI" not in os.environ, "openssl is missing"
        pytest.skip("needs openssl")
    kind = "-verify_hostname" if names[0].endswith("example") else "-verify_ip"
    command = [openssl, "verify", "-x509_strict", "-purpose", "sslserver", kind, names[0], "-CAfile"]
    done = subprocess.run(
        [*command, tmp_path / AUTHORITY, tmp_path / SERVER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("names", [["coordinator.example"], ["192.0.2.1"], ["2001:db8::1"]])
def test_an_authority_mentions_every_kind_of_name(tmp_path, names):
    # One that constraints do not mention is free (RFC 5280, section 4.2.1.10).
    create(tmp_path, names)
    authority = x509.load_pem_x509_certificate((tmp_path / AUTHORITY).read_bytes())
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    mentioned = [*constraints.value.permitted_subtrees, *constraints.value.excluded_subtrees]
    assert constraints.critical
    assert {type(name) for name in mentioned} == {x509.DNSName, x509.IPAddress}
    assert {name.value.version for name in mentioned if isinstance(name, x509.IPAddress)} == {4, 6}


def test_a_renewal_keeps_authority_and_hosts_and_nothing_else(tmp_path):
    create(tmp_path, ["coordinator.example", "192.0.2.1"], days=10)
    authority, before = (tmp_path / AUTHORITY).read_bytes(), (tmp_path / SERVER).read_bytes()
    renew(tmp_path, days=20)
    assert (tmp_path / AUTHORITY).read_bytes() == authority
    after = read_certificate(tmp_path / SERVER)
    assert after.hosts == ("coordinator.example", "192.0.2.1")
    assert 19 < after.days_left() <= 20
    assert not set(before.splitlines()[1:3]) & set((tmp_path / SERVER).read_bytes().splitlines())  # the key is new


def test_the_authoritys_key_may_lie_elsewhere(tmp_path):
    home, safe = tmp_path / "home", tmp_path / "safe.key"
    create(home, ["coordinator.example"])
    (home / AUTHORITY_KEY).rename(safe)
    with pytest.raises(KeystoreError, match="cannot be read") as caught:
        renew(home)
    assert "--ca-key" in caught.value.hint
    before = (home / SERVER).read_bytes()
    renew(home, authority_key=safe)
    assert (home / SERVER).read_bytes() != before


def test_a_key_that_is_another_ones_or_open_or_none_renews_nothing(tmp_path):
    for name in ("one", "two"):
        create(tmp_path / name, ["coordinator.example"])
    before = (tmp_path / "one" / SERVER).read_bytes()
    other = tmp_path / "two" / AUTHORITY_KEY
    with pytest.raises(KeystoreError, match="another certificate authority"):
        renew(tmp_path / "one", authority_key=other)
    (tmp_path / "one" / AUTHORITY_KEY).chmod(0o640)
    with pytest.raises(KeystoreError, match="others can read"):
        renew(tmp_path / "one")
    other.write_bytes(b"no key")
    with pytest.raises(KeystoreError, match="no key of a certificate authority"):
        renew(tmp_path / "one", authority_key=other)
    assert (tmp_path / "one" / SERVER).read_bytes() == before


def test_an_authority_is_not_replaced_by_accident(tmp_path):
    create(tmp_path, ["coordinator.example"])
    before = (tmp_path / AUTHORITY).read_bytes()
    with pytest.raises(ConfigError, match="has a certificate authority"):
        create(tmp_path, ["coordinator.example"])
    assert (tmp_path / AUTHORITY).read_bytes() == before
    create(tmp_path, ["coordinator.example"], replace=True)
    assert (tmp_path / AUTHORITY).read_bytes() != before


def test_a_certificate_never_outlives_its_authority(tmp_path):
    create(tmp_path, ["coordinator.example"], now=NOW - dt.timedelta(days=3640))
    renew(tmp_path, days=365)
    assert 9 < read_certificate(tmp_path / SERVER).days_left() <= 10
    with pytest.raises(ConfigError, match="authority has expired"):
        renew(tmp_path, now=NOW + dt.timedelta(days=11))


@pytest.mark.parametrize(
    "name", ["", "*.example", "a_b.example", "-a.example", "a-.example", "a..b", "https://a", "a b", "1.2.3", "a" * 254]
)
def test_what_is_no_host_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="neither"):
        create(tmp_path, [name])
    assert not list(tmp_path.iterdir())


def test_hosts_are_one_whatever_their_spelling():
    assert host_of("Coordinator.Example") == host_of("coordinator.example")
    assert host_of("[2001:DB8::1]") == host_of("2001:db8:0::1")


def test_invitations_carry_the_authority_that_is_set(tmp_path):
    own = {"url": "https://coordinator.example:7400", "tls_certificate": SERVER, "tls_key": SERVER}
    for name, authority in (("own", AUTHORITY), ("corporate", "")):
        config = CoordinatorConfig(name="test", members=3, tls_ca=authority, **own)
        home = init_home(tmp_path / name, config, tls_names=["coordinator.example"])
        carried = create_invitation(home.folder, "north").ca
        assert carried == (read_certificate(home.folder / AUTHORITY).der if authority else b"")


def test_a_certificate_that_cannot_be_served_is_said_and_the_old_one_stays(tmp_path):
    create(tmp_path / "one", ["localhost"])
    create(tmp_path / "two", ["localhost"])
    file = tmp_path / "one" / SERVER
    tls = ServerTls(file, file)
    served = tls.current
    good = file.read_bytes()
    key, certificate = good.split(b"-----BEGIN CERTIFICATE")
    other = (tmp_path / "two" / SERVER).read_bytes().split(b"-----BEGIN CERTIFICATE")[1]
    for broken in (b"", key, b"-----BEGIN CERTIFICATE" + certificate, key + b"-----BEGIN CERTIFICATE" + other):
        file.write_bytes(broken)
        with pytest.raises(ConfigError, match=r"cannot be used|no certificate"):
            tls.load()
        with pytest.raises(ConfigError):
            ServerTls(file, file)
    assert tls.current == served
    file.write_bytes(good)
    file.chmod(0o644)
    with pytest.raises(KeystoreError, match="everybody can read"):
        tls.load()
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        tls.load()


def test_an_expired_certificate_is_not_served(tmp_path):
    create(tmp_path, ["localhost"], days=5, now=NOW - dt.timedelta(days=6))
    with pytest.raises(ConfigError, match="expired on") as caught:
        ServerTls(tmp_path / SERVER, tmp_path / SERVER)
    assert "tls renew" in caught.value.hint
