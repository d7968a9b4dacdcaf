"""A service's side of TLS: a context whose certificate can be exchanged while it serves."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from fedanomaly.errors import ConfigError, KeystoreError
from fedanomaly.transport.certificates import CertificateView, read_certificate

EXPIRES_SOON_DAYS = 30

log = structlog.get_logger("fedanomaly.transport")


class ServerTls:
    """Certificate and key of a server, checked before they are used.

    Parameters
    ----------
    certificate, key : Path
        PEM files; the same one if it holds both.

    Raises
    ------
    ConfigError
        If they cannot be read, do not belong together, or the certificate has expired.
    KeystoreError
        If others can read the key.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context = _context()
        self.current = self.load()

    def load(self) -> CertificateView:
        """Read the files again; connections from now on get what they hold.

        Raises
        ------
        ConfigError
            If they cannot be used; what was served before is served on.
        """
        try:
            if self._key.stat().st_mode & 0o007:
                raise KeystoreError(f"everybody can read the TLS key {self._key}", hint=f"chmod o= {self._key}")
            # Tried apart first: a context that has taken a certificate and refused its key serves nobody.
            _context().load_cert_chain(self._certificate, self._key, password=_no_password)
            found = read_certificate(self._certificate)
            if found.days_left() <= 0:
                raise ConfigError(
                    f"the TLS certificate {self._certificate} expired on {found.not_after:%Y-%m-%d}",
                    hint="put a new one there; a coordinator with its own authority: fedanomaly coordinator tls renew",
                )
            self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise ConfigError(
                f"TLS certificate {self._certificate} and key {self._key} cannot be used: {error.reason or error}",
                hint="both are PEM files, the key without a passphrase, the certificate first in its chain",
            ) from None
        except OSError as error:
            raise ConfigError(f"TLS certificate or key cannot be read: {error.filename}: {error.strerror}") from None
        self.current = found
        return found


def tell_of(certificate: CertificateView) -> None:
    """Log whom a certificate that is served now is for, and how long it is good."""
    days = certificate.days_left()
    tell = log.warning if days < EXPIRES_SOON_DAYS else log.info
    tell("certificate", hosts=certificate.hosts, expires=f"{certificate.not_after:%Y-%m-%d}", days_left=int(days))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_password() -> str:
    # Asked for by an encrypted key only; without this OpenSSL would ask at the terminal.
    return ""
