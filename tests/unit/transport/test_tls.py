"""Certificates that hold and certificates that do not, each from a real server."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from http.server import ThreadingHTTPServer

import pytest

from fedanomaly.coordinator.certificates import AUTHORITY, SERVER, create
from fedanomaly.errors import CertificateError, ConfigError, UnavailableError
from fedanomaly.transport import Connection, Patience
from fedanomaly.transport.certificates import read_certificate
from fedanomaly.transport.trust import client_context, fingerprint_of
from tests.unit.transport.conftest import Scripted

PATIENCE = Patience(connect_timeout_s=5, io_timeout_s=5, attempts=3, retry_for_s=10)
NOW = dt.datetime.now(dt.UTC)


class Counting(ThreadingHTTPServer):
    daemon_threads = True
    handshakes = 0

    def get_request(self):
        self.handshakes += 1
        return super().get_request()

    def handle_error(self, *_):
        """Handshakes that fail are what is tested."""


@pytest.fixture
def serve():
    """Serve HTTPS with a PEM file; returns the server."""
    running = []

    def start(pem, *, latest=ssl.TLSVersion.MAXIMUM_SUPPORTED):
        server = Counting(("127.0.0.1", 0), Scripted)
        server.asked, server.answers = [], [(200, b"yes")]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.maximum_version = latest
        # The handshake runs in the thread of its connection, where it may fail.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        server.port = server.server_address[1]
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def made(folder, *names, **options):
    folder.mkdir()
    create(folder, names or ("localhost", "127.0.0.1"), **options)
    return folder


def ask(server, ca_file, host="localhost"):
    url = f"https://{host}:{server.port}"
    with Connection(url, signer=None, patience=PATIENCE, ca_file=ca_file) as connection:
        return connection.call("GET", "/v1/federation", limit_bytes=10, signed=False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_right_certificate_is_taken(serve, tmp_path, host):
    own = made(tmp_path / "own")
    assert ask(serve(own / SERVER), own / AUTHORITY, host) == b"yes"


def test_an_expired_certificate_says_so_and_who_renews_it(serve, tmp_path):
    own = made(tmp_path / "own", days=30, now=NOW - dt.timedelta(days=40))
    server = serve(own / SERVER)
    with pytest.raises(CertificateError, match="certificate of localhost has expired") as caught:
        ask(server, own / AUTHORITY)
    assert "coordinator tls renew" in caught.value.hint
    assert "clock" in caught.value.hint
    assert server.handshakes == 1  # it would be the same certificate a second later
    assert not server.asked


def test_a_certificate_of_the_future_points_to_the_clocks(serve, tmp_path):
    own = made(tmp_path / "own", now=NOW + dt.timedelta(days=2))
    with pytest.raises(CertificateError, match="not valid yet") as caught:
        ask(serve(own / SERVER), own / AUTHORITY)
    assert "clock" in caught.value.hint


@pytest.mark.parametrize(("names", "host"), [(["localhost"], "127.0.0.1"), (["127.0.0.1"], "localhost")])
def test_a_certificate_for_another_host_is_refused(serve, tmp_path, names, host):
    own = made(tmp_path / "own", *names)
    with pytest.raises(CertificateError, match=f"not for {host}"):
        ask(serve(own / SERVER), own / AUTHORITY, host)


def test_a_certificate_of_another_authority_is_refused(serve, tmp_path):
    own, other = made(tmp_path / "own"), made(tmp_path / "other")
    with pytest.raises(CertificateError, match="nobody whom this node trusts") as caught:
        ask(serve(own / SERVER), other / AUTHORITY)
    assert "--ca" in caught.value.hint


def self_signed(folder, name="localhost"):
    """A certificate that signs itself, as `openssl req -x509` makes them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "self.pem").write_bytes(key.private_bytes(pem, pkcs8, plain) + certificate.public_bytes(pem))
    return folder / "self.pem"


@pytest.mark.parametrize("with_authority", [False, True])
def test_a_self_signed_certificate_is_refused(serve, tmp_path, with_authority):
    ca_file = made(tmp_path / "own") / AUTHORITY if with_authority else None
    with pytest.raises(CertificateError, match="nobody whom this node trusts"):
        ask(serve(self_signed(tmp_path)), ca_file)


def test_an_authority_vouches_for_its_hosts_alone(serve, tmp_path, monkeypatch):
    from fedanomaly.coordinator import certificates

    own = made(tmp_path / "own", "coordinator.example")
    with monkeypatch.context() as patched:  # what a thief of the authority's key would do
        patched.setattr(certificates, "hosts_of", lambda _: [certificates.host_of("localhost")])
        certificates.renew(own)
    assert read_certificate(own / SERVER).hosts == ("localhost",)
    with pytest.raises(CertificateError, match="may not vouch for localhost"):
        ask(serve(own / SERVER), own / AUTHORITY)


def test_the_systems_store_counts_unless_a_file_is_named(serve, tmp_path, monkeypatch):
    own, other = made(tmp_path / "own"), made(tmp_path / "other")
    server = serve(own / SERVER)
    with pytest.raises(CertificateError):
        ask(server, None)
    monkeypatch.setenv("SSL_CERT_FILE", str(own / AUTHORITY))  # how an organisation adds its own authority
    assert ask(server, None) == b"yes"
    with pytest.raises(CertificateError):
        ask(server, other / AUTHORITY)


def test_old_versions_of_tls_are_not_spoken(tmp_path):
    context = client_context(made(tmp_path / "own") / AUTHORITY)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_tls_1_2_still_connects(serve, tmp_path):
    own = made(tmp_path / "own")
    assert ask(serve(own / SERVER, latest=ssl.TLSVersion.TLSv1_2), own / AUTHORITY) == b"yes"


def test_a_port_without_tls_is_told_apart(scripted):
    one_try = Patience(attempts=1)
    url = scripted.url.replace("http:", "https:")
    with (
        Connection(url, signer=None, patience=one_try) as connection,
        pytest.raises(UnavailableError, match="does not speak TLS"),
    ):
        connection.call("GET", "/", limit_bytes=10, signed=False)


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_file_without_certificates_is_refused_before_anybody_is_called(tmp_path, text):
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match="no certificates can be read"):
        Connection("https://localhost:1", signer=None, patience=PATIENCE, ca_file=file)


def test_the_fingerprint_is_that_of_the_certificate(tmp_path):
    own = made(tmp_path / "own")
    assert fingerprint_of(own / AUTHORITY) == read_certificate(own / AUTHORITY).fingerprint
