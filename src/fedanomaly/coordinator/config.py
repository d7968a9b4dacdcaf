"""What the operator of a coordinator may set: `coordinator.toml`, checked once, then frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from fedanomaly.errors import ConfigError
from fedanomaly.protocol import Settings
from fedanomaly.transport import check_origin, is_loopback

MIB = 1024 * 1024


class CoordinatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one coordinator.

    Parameters
    ----------
    name : str
        Name of the federation.
    members : int
        How many organisations take part.
    threshold : int
        Decryption threshold t: up to t - 1 members may collude and learn nothing.
    join_s, contribute_s, statement_s, vote_s : float
        Seconds that each phase of a round waits for its members.
    attempts : int
        Rounds that one step may take before its job ends void.
    listen_host : str
        Address to listen on.
    listen_port : int
        Port to listen on.
    url : str
        Origin under which nodes reach it; empty: from `listen_host` and `listen_port`.
    tls_certificate, tls_key : str
        PEM files; relative paths start at the home. Needed beyond loopback.
    tls_ca : str
        PEM file of the authority behind that certificate. Invitations carry it, and nodes trust
        nobody else; empty: they trust whom their system trusts.
    behind_proxy : bool
        Whether something in front of it speaks TLS.
    max_blob_bytes : int
        Largest attachment in bytes.
    metrics_port : int
        Port for Prometheus, on 127.0.0.1 only and for whoever can reach that; 0: none.
    log_level : {"debug", "info", "warning", "error"}
        The least that is logged.
    """

    name: str
    members: int
    threshold: int = 2
    join_s: float = 60.0
    contribute_s: float = 120.0
    statement_s: float = 60.0
    vote_s: float = 120.0
    attempts: int = 3
    listen_host: str = "127.0.0.1"
    listen_port: int = 7400
    url: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    behind_proxy: bool = False
    max_blob_bytes: int = 256 * MIB
    metrics_port: int = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        _ = self.settings  # checks what it is made of
        if not 1 <= self.listen_port <= 65535:
            raise ConfigError("listen_port must be between 1 and 65535")
        if not 0 <= self.metrics_port <= 65535:
            raise ConfigError("metrics_port must be between 0 and 65535")
        if not MIB <= self.max_blob_bytes <= 4095 * MIB:
            raise ConfigError("max_blob_bytes must be between 1 MiB and 4095 MiB")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("tls_certificate and tls_key belong together")
        if not (is_loopback(self.listen_host) or self.tls_certificate or self.behind_proxy):
            raise ConfigError(
                "beyond this machine a coordinator listens with TLS only",
                hint="init with --tls-name NAME; or set tls_certificate and tls_key, or behind_proxy",
            )
        check_origin(self.origin)

    @property
    def settings(self) -> Settings:
        """What the protocol needs of this."""
        return Settings(
            name=self.name,
            members=self.members,
            threshold=self.threshold,
            join_s=self.join_s,
            contribute_s=self.contribute_s,
            statement_s=self.statement_s,
            vote_s=self.vote_s,
            attempts=self.attempts,
        )

    @property
    def origin(self) -> str:
        """Where nodes reach this coordinator."""
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.listen_host}]" if ":" in self.listen_host else self.listen_host
        return self.url or f"{scheme}://{host}:{self.listen_port}"

    def to_toml(self) -> str:
        """Return the text of a file that `load_config` reads."""
        values = msgspec.structs.asdict(self)
        return "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in values.items())


def load_config(path: Path) -> CoordinatorConfig:
    """Read and check `coordinator.toml`.

    Raises
    ------
    ConfigError
        If it is missing, or something in it cannot be.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=CoordinatorConfig)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path.name} in this home", hint="run: fedanomaly coordinator init") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from None
