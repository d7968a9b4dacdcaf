"""What a certificate says: for whom it is, and until when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from fedanomaly.errors import ConfigError

Host = x509.DNSName | x509.IPAddress


@dataclass(frozen=True, kw_only=True)
class CertificateView:
    """What an operator needs to know of a certificate.

    Parameters
    ----------
    hosts : tuple of str
        Names and addresses that it is for; none for an authority.
    not_after : datetime
        When it expires, UTC.
    fingerprint : str
        SHA-256 of it, as `openssl x509 -fingerprint -sha256` shows it.
    der : bytes
        The certificate.
    """

    hosts: tuple[str, ...]
    not_after: dt.datetime
    fingerprint: str
    der: bytes

    def days_left(self, now: dt.datetime | None = None) -> float:
        """Return the days until it expires; negative once it has."""
        return (self.not_after - (now or dt.datetime.now(dt.UTC))) / dt.timedelta(days=1)


def read_certificate(path: Path) -> CertificateView:
    """Return what the first certificate of a PEM file says.

    Raises
    ------
    ConfigError
        If there is none.
    """
    certificate = load_certificate(path)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return CertificateView(
        hosts=tuple(str(host.value) for host in hosts_of(certificate)),
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        der=der,
    )


def hosts_of(certificate: x509.Certificate) -> list[Host]:
    """Return the names and addresses that a certificate is for; none for an authority."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def load_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises
    ------
    ConfigError
        If there is none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise ConfigError(f"the certificate {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} holds no certificate in PEM form") from None
