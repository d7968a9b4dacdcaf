"""The coordinator's side of TLS: a context whose certificate can be exchanged while it serves."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedanomaly.coordinator.certificates import CertificateView, read_certificate
from fedanomaly.errors import ConfigError, KeystoreError

EXPIRES_SOON_DAYS = 30


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
                    hint="run: fedanomaly coordinator tls renew; or put a new one there",
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


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_password() -> str:
    # Asked for by an encrypted key only; without this OpenSSL would ask at the terminal.
    return ""
