"""One-time invitations: a single line that lets an organisation in.

It carries everything that a node needs to enrol: where the coordinator is, the
key that the node will pin, the federation, a secret that works once and, if the
coordinator has an authority of its own for TLS, that authority's certificate: it
is trusted for this one connection, on the same ground as the key beside it.
Whoever has the line can use it, so it goes through a channel that both sides trust.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fedanomaly.errors import ConfigError, MessageError, VersionError
from fedanomaly.types.canonical import begin, item

PREFIX = "fedanomaly-invite-"
MAX_URL_BYTES = 250
MAX_NAME = 100
MAX_CA_BYTES = 4096
_PLAIN, _WITH_CA = 1, 2
"""Versions: the second carries a certificate authority between URL and name."""
_CHECK_BYTES = 4
_FIXED_BYTES = 1 + 3 * 32 + 1


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What an invitation says.

    Parameters
    ----------
    url : str
        Origin of the coordinator, such as ``https://federation.example:7400``.
    coordinator : bytes
        Its Ed25519 public key, 32 bytes.
    federation : bytes
        Identifier of the federation, 32 bytes.
    name : str
        The organisation that it is for.
    secret : bytes
        32 random bytes; never in a log.
    ca : bytes
        Certificate (DER) of the authority that vouches for the coordinator's own; empty: one that nodes know.
    """

    url: str
    coordinator: bytes
    federation: bytes
    name: str
    secret: bytes = field(repr=False)
    ca: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if {len(self.coordinator), len(self.federation), len(self.secret)} != {32}:
            raise MessageError("a key, a federation or a secret has 32 bytes")
        check_origin(self.url)
        if len(self.ca) > MAX_CA_BYTES:
            raise ConfigError(f"an invitation carries a certificate of {MAX_CA_BYTES} bytes at most")
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise ConfigError(f"an organisation's name has 1 to {MAX_NAME} printable characters")

    @property
    def secret_hash(self) -> bytes:
        """What the coordinator stores instead of the secret."""
        return secret_hash(self.secret)

    def to_text(self) -> str:
        """Return the line; it is a secret."""
        url = self.url.encode("ascii")
        keys = self.coordinator + self.federation + self.secret
        ca = len(self.ca).to_bytes(2, "little") + self.ca if self.ca else b""
        body = bytes([_WITH_CA if ca else _PLAIN]) + keys + bytes([len(url)]) + url + ca + self.name.encode()
        return PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> Invitation:
        """Read what `to_text` wrote; white space around it does no harm.

        Raises
        ------
        MessageError
            If the line is not an invitation, or was damaged on its way.
        VersionError
            If it was made by a version that is not known here.
        """
        encoded = text.strip().removeprefix(PREFIX)
        if encoded == text.strip():
            raise MessageError(f"an invitation starts with {PREFIX}")
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
            if len(body) <= _FIXED_BYTES or check != _check(body):
                raise _damaged()
            if body[0] not in {_PLAIN, _WITH_CA}:
                raise VersionError("the invitation is of an unknown version", hint="upgrade this side")
            end = _FIXED_BYTES + body[_FIXED_BYTES - 1]
            url, ca, rest = body[_FIXED_BYTES:end].decode("ascii"), b"", body[end:]
            if body[0] == _WITH_CA:
                size = 2 + int.from_bytes(rest[:2], "little")
                ca, rest = rest[2:size], rest[size:]
            name = rest.decode()
        except (binascii.Error, ValueError):
            raise _damaged() from None
        keys = {"coordinator": body[1:33], "federation": body[33:65], "secret": body[65:97]}
        invitation = cls(url=url, name=name, ca=ca, **keys)
        if invitation.to_text() != text.strip():
            raise _damaged()
        return invitation


def secret_hash(secret: bytes) -> bytes:
    """Return the hash by which an invitation is known; its secret has 256 random bits."""
    return hashlib.sha256(begin("invitation") + item("secret", secret)).digest()


def check_origin(url: str) -> str:
    """Return `url`, which must be an origin: scheme, host, perhaps a port, and nothing else.

    Raises
    ------
    ConfigError
        If it is anything else.
    """
    try:
        parts = urlsplit(url)
        good = (
            url == f"{parts.scheme}://{parts.netloc}"
            and parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and (parts.port is None or parts.port > 0)
            and url.isascii()
            and url.isprintable()
            and " " not in url
            and len(url) <= MAX_URL_BYTES
        )
    except ValueError:
        good = False
    if not good:
        raise ConfigError("the coordinator's URL must be like https://host or https://host:port")
    return url


def _check(body: bytes) -> bytes:
    return hashlib.sha256(begin("invitation check") + item("body", body)).digest()[:_CHECK_BYTES]


def _damaged() -> MessageError:
    return MessageError("the invitation is damaged", hint="copy the whole line again")
