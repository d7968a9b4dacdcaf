"""The coordinator's home folder: what lies where, and how it is made.

    coordinator.toml     settings
    coordinator.key      Ed25519 key of 32 bytes, mode 0600
    coordinator.sqlite   the log and the invitations
    coordinator.lock     held by the process that serves this home
    blobs/               attachments
    tls/                 certificate authority and certificate, if it has its own

Nothing in here opens a sum: the coordinator holds no key share and no data.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedanomaly.coordinator.certificates import create
from fedanomaly.coordinator.config import CoordinatorConfig, load_config
from fedanomaly.errors import ConfigError, KeystoreError
from fedanomaly.storage import write_durably
from fedanomaly.storage.envelopes import EnvelopeLog
from fedanomaly.transport import Invitation
from fedanomaly.transport.certificates import read_certificate
from fedanomaly.types.canonical import begin, item

DAY_S = 24 * 3600.0


class Identity:
    """The coordinator's Ed25519 key; signs, and never shows itself.

    Parameters
    ----------
    key : Ed25519PrivateKey
        The key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Identity({self.public_key.hex()})"

    def sign(self, data: bytes) -> bytes:
        """Return the signature of 64 bytes."""
        return self._key.sign(data)


@dataclass(frozen=True)
class Home:
    """Paths and identity of one coordinator.

    Parameters
    ----------
    folder : Path
        Its home folder.
    """

    folder: Path

    @property
    def config_path(self) -> Path:
        """Where the settings lie."""
        return self.folder / "coordinator.toml"

    @property
    def key_path(self) -> Path:
        """Where the key lies."""
        return self.folder / "coordinator.key"

    @property
    def database_path(self) -> Path:
        """Where the log lies."""
        return self.folder / "coordinator.sqlite"

    @property
    def blobs_path(self) -> Path:
        """Where attachments lie."""
        return self.folder / "blobs"

    @cached_property
    def config(self) -> CoordinatorConfig:
        """The settings, read once."""
        return load_config(self.config_path)

    @cached_property
    def identity(self) -> Identity:
        """The key, read once.

        Raises
        ------
        KeystoreError
            If others can read it, or it is not a key.
        """
        try:
            mode = self.key_path.stat().st_mode
            raw = self.key_path.read_bytes()
        except OSError as error:
            raise KeystoreError(f"the coordinator's key cannot be read: {error.strerror}") from None
        if mode & 0o077:
            raise KeystoreError("others can read the coordinator's key", hint=f"chmod 600 {self.key_path.name}")
        if len(raw) != 32:
            raise KeystoreError("the coordinator's key is damaged")
        return Identity(Ed25519PrivateKey.from_private_bytes(raw))

    @cached_property
    def federation(self) -> bytes:
        """The federation's identifier: one key, one federation."""
        return federation_id(self.identity.public_key)

    @property
    def authority(self) -> bytes:
        """Certificate (DER) of the authority that nodes are to trust; empty: whom their system trusts."""
        path = self.config.tls_ca
        return read_certificate(self.folder / path).der if path else b""

    def check(self) -> None:
        """Raise unless settings and key are usable."""
        _ = self.config, self.identity

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second coordinator out of this home: two would write two logs.

        Raises
        ------
        ConfigError
            If another process serves it.
        """
        handle = os.open(self.folder / "coordinator.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError("another process serves this home", hint="stop it first") from None
            yield
        finally:
            os.close(handle)


def federation_id(coordinator: bytes) -> bytes:
    """Return the identifier of the federation that a coordinator's key opens."""
    return hashlib.sha256(begin("federation") + item("coordinator", coordinator)).digest()


def init_home(folder: Path, config: CoordinatorConfig, *, tls_names: Sequence[str] = ()) -> Home:
    """Make a coordinator's home with a fresh key.

    Parameters
    ----------
    folder : Path
        Where.
    config : CoordinatorConfig
        Its settings.
    tls_names : sequence of str
        Hosts for which to make a certificate authority and a certificate; none: neither.

    Raises
    ------
    ConfigError
        If there is one already, or a name cannot be one.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = Home(folder)
    if home.key_path.exists() or home.config_path.exists():
        raise ConfigError("there is a coordinator in this home already", hint="choose another folder")
    if tls_names:
        create(folder, tls_names, replace=True)  # left over from a start that did not get further
    write_durably(home.key_path, Ed25519PrivateKey.generate().private_bytes_raw())
    write_durably(home.config_path, config.to_toml().encode())
    return home


def create_invitation(folder: Path, name: str, *, ttl_s: float = 7 * DAY_S, now_s: float | None = None) -> Invitation:
    """Invite an organisation; works while the coordinator runs.

    Parameters
    ----------
    folder : Path
        The coordinator's home.
    name : str
        Name that the organisation will have in the federation.
    ttl_s : float
        Seconds until the invitation expires.
    now_s : float, optional
        Seconds since the Unix epoch; the clock's, if not given.

    Returns
    -------
    Invitation
        Its `to_text()` is the line to hand over; only a hash of its secret is kept here.
    """
    if ttl_s <= 0:
        raise ConfigError("an invitation needs time to be used")
    home = Home(folder)
    invitation = Invitation(
        url=home.config.origin,
        coordinator=home.identity.public_key,
        federation=home.federation,
        name=name,
        secret=secrets.token_bytes(32),
        ca=home.authority,
    )
    asyncio.run(_store(home, invitation, (time.time() if now_s is None else now_s) + ttl_s))
    return invitation


async def _store(home: Home, invitation: Invitation, expires_at: float) -> None:
    log = await EnvelopeLog.open(home.database_path)
    try:
        await log.invite(invitation.secret_hash, invitation.name, expires_at)
    finally:
        await log.close()
