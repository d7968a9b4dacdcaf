"""A certificate authority for one coordinator, and the certificate that it signs.

    tls/ca.pem       certificate of the authority; nodes trust it, it is no secret
    tls/ca.key       its key, mode 0600; needed to renew, so it may lie elsewhere
    tls/server.pem   key and certificate of the coordinator, mode 0600

The authority may vouch for the named hosts and for nothing else (name
constraints, RFC 5280 section 4.2.1.10): whoever steals its key can imitate this
coordinator, and no other host. Key and certificate of the server share a file,
so that a renewal replaces both in one rename.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedanomaly.errors import ConfigError, KeystoreError
from fedanomaly.storage import write_durably
from fedanomaly.transport.certificates import Host, hosts_of, load_certificate

AUTHORITY, AUTHORITY_KEY, SERVER = "tls/ca.pem", "tls/ca.key", "tls/server.pem"
AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
_BACKDATED = dt.timedelta(hours=1)  # for nodes whose clock is behind
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_EVERYWHERE = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))


def create(
    folder: Path,
    names: Sequence[str],
    *,
    days: int = SERVER_DAYS,
    replace: bool = False,
    now: dt.datetime | None = None,
) -> None:
    """Make an authority for the named hosts, and a first certificate.

    Parameters
    ----------
    folder : Path
        The coordinator's home.
    names : sequence of str
        DNS names and IP addresses under which nodes reach it.
    days : int
        How long the certificate of the server is valid.
    replace : bool
        Whether an authority that is there may go: no node would trust what follows it.
    now : datetime, optional
        The time, if not the clock's.

    Raises
    ------
    ConfigError
        If a name cannot be one, or there is an authority.
    """
    hosts = [host_of(name) for name in names]
    if not hosts:
        raise ConfigError("a certificate needs the name or address under which nodes reach the coordinator")
    if (folder / AUTHORITY).exists() and not replace:
        raise ConfigError(
            "this home has a certificate authority",
            hint="to renew the certificate: fedanomaly coordinator tls renew; a new authority is one that no node "
            "trusts yet: --replace",
        )
    now = now or dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "FedAnomalyFHE"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"coordinator authority {identifier.digest.hex()[:16]}"),
        ]
    )
    authority = (
        _builder(name, name, key.public_key(), now, now + dt.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_constraints(hosts), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(folder / AUTHORITY_KEY, _pem(key))
    write_durably(folder / AUTHORITY, authority.public_bytes(serialization.Encoding.PEM))
    _issue(folder, authority, key, hosts, days=days, now=now)


def renew(
    folder: Path, *, authority_key: Path | None = None, days: int = SERVER_DAYS, now: dt.datetime | None = None
) -> None:
    """Replace key and certificate of the server; the authority, which nodes trust, stays.

    Parameters
    ----------
    folder : Path
        The coordinator's home.
    authority_key : Path, optional
        Where the authority's key lies, if not in the home.
    days : int
        How long the new certificate is valid; the authority's end is the latest.
    now : datetime, optional
        The time, if not the clock's.

    Raises
    ------
    ConfigError
        If there is no authority, or it has expired.
    KeystoreError
        If its key is missing, open to others, or another one's.
    """
    now = now or dt.datetime.now(dt.UTC)
    if not (folder / AUTHORITY).exists():
        raise ConfigError(
            "this home has no certificate authority of its own",
            hint="renew the certificate where it came from, put the files in place, and reload the coordinator",
        )
    authority = load_certificate(folder / AUTHORITY)
    if authority.not_valid_after_utc <= now:
        raise ConfigError(
            "the certificate authority has expired",
            hint="make another, and hand its certificate to every member: fedanomaly coordinator tls create --replace",
        )
    key = _authority_key(authority_key or folder / AUTHORITY_KEY)
    if key.public_key() != authority.public_key():
        raise KeystoreError("this is the key of another certificate authority")
    _issue(folder, authority, key, hosts_of(load_certificate(folder / SERVER)), days=days, now=now)


def host_of(name: str) -> Host:
    """Return a DNS name or an IP address as certificates hold it.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        labels = name.lower().split(".")
        if len(name) > 253 or labels[-1].isdecimal() or not all(map(_LABEL.fullmatch, labels)):
            raise ConfigError(f"{name!r} is neither a DNS name nor an IP address") from None
        return x509.DNSName(name.lower())


def _issue(
    folder: Path,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    hosts: list[Host],
    *,
    days: int,
    now: dt.datetime,
) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    # Not shaped like a host name: verifiers that still look there find nothing to take for one.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedAnomalyFHE coordinator")])
    end = min(now + dt.timedelta(days=days), authority.not_valid_after_utc)
    signer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(subject, authority.subject, own.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_durably(folder / SERVER, _pem(own) + certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _BACKDATED)
        .not_valid_after(end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _constraints(hosts: Sequence[Host]) -> x509.NameConstraints:
    permitted: list[x509.GeneralName] = []
    excluded: list[x509.GeneralName] = []
    for host in hosts:
        if isinstance(host, x509.DNSName):
            permitted.append(host)
        else:
            permitted.append(x509.IPAddress(ipaddress.ip_network(host.value)))
    # A kind of name that is not mentioned at all would be free.
    addresses = [name.value for name in permitted if isinstance(name, x509.IPAddress)]
    excluded += [
        x509.IPAddress(every)
        for every in _EVERYWHERE
        if not any(network.version == every.version for network in addresses)
    ]
    if not any(isinstance(host, x509.DNSName) for host in hosts):
        excluded.append(x509.DNSName(""))
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=excluded or None)


def _authority_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        open_to_others = path.stat().st_mode & 0o077
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeystoreError(
            f"the key of the certificate authority cannot be read at {path}: {error.strerror}",
            hint="if it lies elsewhere: --ca-key FILE",
        ) from None
    except (ValueError, TypeError):  # TypeError: it is encrypted
        raise KeystoreError(f"{path} is no key of a certificate authority that was made here") from None
    if open_to_others:
        raise KeystoreError("others can read the key of the certificate authority", hint=f"chmod 600 {path}")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeystoreError(f"{path} is no key of a certificate authority that was made here")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
