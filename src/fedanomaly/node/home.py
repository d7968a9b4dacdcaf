"""A node's home folder: what lies where, and that one process runs on it at a time.

node.toml       settings of the machine       policy.toml     what the node accepts
keystore.json   identity and data key         token           opens the loopback API
federation.json where it is enrolled          rows.sqlite     ledger, sealed
epochs/         secrets of key epochs         data/           data sets, encrypted
models/         trained models, sealed        evaluations/    of models, sealed
lock, address   of the running node
log.json        what was seen of the log      restored.json   if it came from a backup
ca.pem          trusted for TLS, if the coordinator has an authority of its own
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from fedanomaly.errors import ConfigError, InUseError, KeystoreError
from fedanomaly.node.durable import make_folder
from fedanomaly.node.keystore import Cost, Keystore, check_passphrase, check_private
from fedanomaly.node.templates import NODE_TOML, POLICY_TOML
from fedanomaly.storage import write_durably

if TYPE_CHECKING:
    from fedanomaly.node.config import NodeConfig, PolicyFile
    from fedanomaly.protocol import Policy

TOKEN_BYTES = 32

# Open file description locks (fcntl(2)): they belong to the open file, not to the
# process, and can be asked about without being taken.
_FLOCK = struct.Struct("@hhqqi0q")  # struct flock: l_type, l_whence, l_start, l_len, l_pid
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Membership(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a node is enrolled; the coordinator's key is pinned here.

    Parameters
    ----------
    name : str
        Name of this organisation.
    url : str
        Address of the coordinator.
    coordinator : bytes
        Its Ed25519 public key.
    federation : bytes
        Identifier of the federation.
    """

    name: str
    url: str
    coordinator: bytes
    federation: bytes


class Home:
    """A home folder that was made by `create`.

    Parameters
    ----------
    root : Path
        The folder.

    Raises
    ------
    ConfigError
        If it is not a node's home.
    """

    def __init__(self, root: Path) -> None:
        if not (root / "node.toml").is_file():
            raise ConfigError(f"{root} is not the home of a node", hint="run: fedanomaly node init")
        self.root = root

    @classmethod
    def create(cls, root: Path, passphrase: str, *, cost: Cost | None = None) -> Self:
        """Make a home with a new identity; an unfinished one is completed.

        Raises
        ------
        ConfigError
            If there is one already.
        KeystoreError
            If the passphrase is too short.
        """
        check_passphrase(passphrase)
        if (root / "node.toml").exists():
            raise ConfigError(f"{root} is the home of a node already", hint="choose another folder with --home")
        if (root / "keystore.json").exists():
            Keystore.open(root / "keystore.json", passphrase)
        for folder in (root, root / "epochs", root / "data", root / "models"):
            make_folder(folder)
        if not (root / "keystore.json").exists():
            Keystore.create(root / "keystore.json", passphrase, cost=cost)
        write_durably(root / "token", secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n")
        write_durably(root / "policy.toml", POLICY_TOML.encode())
        write_durably(root / "node.toml", NODE_TOML.encode())  # last: a home with it is complete
        return cls(root)

    @property
    def config(self) -> NodeConfig:
        """Settings of the machine, as they stand in the file now."""
        from fedanomaly.node.config import NodeConfig, read_toml  # noqa: PLC0415 - most commands need neither

        return read_toml(self.root / "node.toml", NodeConfig)

    @property
    def policy(self) -> Policy:
        """What the node accepts, as it stands in the file now."""
        return self.policy_file.policy()

    @property
    def policy_file(self) -> PolicyFile:
        """All settings of `policy.toml`, as they stand in the file now."""
        from fedanomaly.node.config import PolicyFile, read_toml  # noqa: PLC0415 - loads the protocol and its engine

        return read_toml(self.root / "policy.toml", PolicyFile)

    @property
    def token(self) -> str:
        """The secret that opens the loopback API.

        Raises
        ------
        KeystoreError
            If others may read it.
        """
        path = self.root / "token"
        check_private(path)
        return path.read_text("ascii").strip()

    def unlock(self, passphrase: str) -> Keystore:
        """Open the keystore.

        Raises
        ------
        KeystoreError
            If it does not open, others may read it, or others may write in the home.
        """
        # policy.toml and the pinned key in federation.json are only as good as the folder that they lie in.
        if self.root.stat().st_mode & 0o022:
            raise KeystoreError(f"others may write in {self.root}", hint=f"run: chmod 700 {self.root}")
        return Keystore.open(self.root / "keystore.json", passphrase)

    @property
    def membership(self) -> Membership | None:
        """Where the node is enrolled, or None."""
        try:
            data = (self.root / "federation.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=Membership)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigError(f"{self.root / 'federation.json'} is damaged") from None

    def check_membership(self, membership: Membership) -> None:
        """Refuse a second federation: an identity serves one.

        Raises
        ------
        ConfigError
            If the node is enrolled somewhere else.
        """
        known = self.membership
        if known is not None and known != membership:
            raise ConfigError(
                f"this node is enrolled as {known.name} at {known.url}",
                hint="a second federation needs a second home",
            )

    def enrolled(self, membership: Membership) -> None:
        """Record where the node is enrolled, durably.

        Raises
        ------
        ConfigError
            If it is enrolled somewhere else.
        """
        self.check_membership(membership)
        text = msgspec.json.format(msgspec.json.encode(membership), indent=2)
        write_durably(self.root / "federation.json", text + b"\n")

    @property
    def authority(self) -> Path | None:
        """Certificates (PEM) to trust for the coordinator; None: those that the system trusts.

        `ca` of `node.toml` wins over what came at enrolment.
        """
        if self.config.ca:
            return self.root / Path(self.config.ca).expanduser()
        carried = self.root / "ca.pem"
        return carried if carried.exists() else None

    @property
    def scoring_authority(self) -> Path | None:
        """Certificates (PEM) to trust for the scoring service of the policy; None: those that the system trusts."""
        named = self.policy_file.score_remotely_ca
        return self.root / Path(named).expanduser() if named else None

    def trust(self, certificates: bytes) -> None:
        """Keep the certificates (PEM) to trust for the coordinator; none: those that the system trusts."""
        if certificates:
            write_durably(self.root / "ca.pem", certificates)
        else:
            (self.root / "ca.pem").unlink(missing_ok=True)

    @property
    def address(self) -> str | None:
        """Address of the loopback API while the node runs, else None."""
        try:
            return (self.root / "address").read_text("ascii").strip() if self.running else None
        except FileNotFoundError:
            return None

    @property
    def running(self) -> bool:
        """Whether a process holds the lock of this home."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        finally:
            os.close(descriptor)
        return _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home: no second process runs on it.

        The kernel lets go of the lock however the process ends.

        Raises
        ------
        InUseError
            If another process holds it.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
            except (BlockingIOError, PermissionError):
                raise InUseError(
                    f"another process runs the node of {self.root}",
                    hint="stop it first; two processes on one ledger could answer twice",
                ) from None
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def announced(self, address: str) -> Iterator[None]:
        """Let the commands of this machine know where the loopback API listens."""
        path = self.root / "address"
        write_durably(path, address.encode("ascii") + b"\n")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
