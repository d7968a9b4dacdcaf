"""Whom a TLS connection trusts, and what to do when it does not.

One source counts: the file that is named, or else the certificates that this
system trusts (OpenSSL's store, which `SSL_CERT_FILE` and `SSL_CERT_DIR` move,
so that the authority of an organisation can be there). They are never added to
each other: an authority that came with an invitation must vouch alone, or any
authority of the system could stand in for it.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from fedanomaly.errors import CertificateError, ConfigError, FedAnomalyError, UnavailableError

# What OpenSSL's verification says (x509_vfy.h, X509_V_ERR_...).
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
_OUTSIDE_CONSTRAINTS = {47, 48}
_OTHER_HOST = {62, 64}


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the context of outgoing connections: TLS 1.2 or later, certificate and host checked.

    Parameters
    ----------
    ca_file : Path or None
        Certificates to trust instead of the system's.

    Raises
    ------
    ConfigError
        If the file holds no certificate that can be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"no certificates can be read from {ca_file}: {error.strerror or error}",
            hint="it must be a PEM file of the certificate authority that signed the coordinator's certificate",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fingerprint_of(ca_file: Path) -> str:
    """Return the SHA-256 of the first certificate in a PEM file, as `openssl x509 -fingerprint` writes it."""
    text = ca_file.read_text("ascii", errors="replace")
    _, found, rest = text.partition(ssl.PEM_HEADER)
    if not found:
        raise ConfigError(f"{ca_file} holds no certificate in PEM form")
    first = ssl.PEM_HEADER + rest.partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest().hex(":").upper()


def tls_failure(error: BaseException, host: str) -> FedAnomalyError | None:
    """Return what a failed handshake means; None if it failed for another reason.

    Parameters
    ----------
    error : BaseException
        As the HTTP client raised it; the cause is somewhere behind it.
    host : str
        Whom it wanted to reach.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, host)
        if isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            return UnavailableError(
                f"{host} answers, but does not speak TLS there",
                hint="compare address and port with the coordinator's operator; plain HTTP stays on one machine",
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> CertificateError:
    if error.verify_code == _EXPIRED:
        return CertificateError(
            f"the certificate of {host} has expired",
            hint="its operator renews it with: fedanomaly coordinator tls renew; or the clock of this machine is wrong",
        )
    if error.verify_code == _NOT_YET_VALID:
        return CertificateError(
            f"the certificate of {host} is not valid yet",
            hint="compare the clocks of both machines: date --utc",
        )
    if error.verify_code in _OTHER_HOST:
        return CertificateError(
            f"the certificate is not for {host}",
            hint="the coordinator's operator makes one that names this host, or invites to the host that it names",
        )
    if error.verify_code in _OUTSIDE_CONSTRAINTS:
        return CertificateError(
            f"the authority behind the certificate may not vouch for {host}",
            hint="the coordinator's operator makes a new authority for it: fedanomaly coordinator tls create",
        )
    if error.verify_code in _UNKNOWN_ISSUER:
        return CertificateError(
            f"nobody whom this node trusts vouches for the certificate of {host}",
            hint="get the authority's certificate from the coordinator's operator, compare its fingerprint over "
            "another channel, and name its file: --ca when enrolling, later ca in node.toml",
        )
    return CertificateError(
        f"the certificate of {host} does not hold: {error.verify_message}",
        hint="show this message to the coordinator's operator",
    )
