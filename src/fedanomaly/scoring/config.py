"""What the operator of a scoring service may set: `scoring.toml`, checked once, then frozen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from fedanomaly.errors import ConfigError, MessageError
from fedanomaly.transport import is_loopback
from fedanomaly.transport.wire import parse_digest

MIB = 1024 * 1024
MAX_NAME = 100


class ScoringConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one scoring service.

    Parameters
    ----------
    federation : str
        Identifier of the federation, 64 hexadecimal digits.
    listen_host : str
        Address to listen on.
    listen_port : int
        Port to listen on.
    tls_certificate, tls_key : str
        PEM files; relative paths start at the home. Needed beyond loopback.
    behind_proxy : bool
        Whether something in front of it speaks TLS.
    releasers : tuple of str
        Public keys of 64 hexadecimal digits; what one of them signed is for all tenants.
    max_in_flight_batches : int
        Requests that are received or computed at once; more are told to come again.
    max_in_flight_per_tenant : int
        How many of them one tenant may have.
    max_batch_mib : int
        Largest batch in MiB; a model that needs larger ones is not served. Times
        `max_in_flight_batches` it bounds the memory for batches.
    prepared_mib : int
        Memory in MiB for models made ready for tenants; what was used longest ago goes first.
    max_uploads_per_tenant : int
        Models that one tenant may have here of its own; 0: none.
    max_upload_mib : int
        Their size together in MiB.
    threads : int
        Batches that are computed at once; 0: one for each processor.
    log_level : {"debug", "info", "warning", "error"}
        The least that is logged.
    tenants : dict of str to str
        Who may ask: a name, and its public key of 64 hexadecimal digits.
    """

    federation: str
    listen_host: str = "127.0.0.1"
    listen_port: int = 7430
    tls_certificate: str = ""
    tls_key: str = ""
    behind_proxy: bool = False
    releasers: tuple[str, ...] = ()
    max_in_flight_batches: int = 32
    max_in_flight_per_tenant: int = 16
    max_batch_mib: int = 16
    prepared_mib: int = 256
    max_uploads_per_tenant: int = 8
    max_upload_mib: int = 16
    threads: int = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    tenants: dict[str, str] = {}

    def __post_init__(self) -> None:
        _ = (self.federation_id, self.releaser_keys, self.tenant_names)  # checks them
        if not 1 <= self.listen_port <= 65535:
            raise ConfigError("listen_port must be between 1 and 65535")
        for name, most in _LIMITS.items():
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be between 1 and {most}")
        if not 0 <= self.max_uploads_per_tenant <= 1000 or not 0 <= self.threads <= 1000:
            raise ConfigError("max_uploads_per_tenant and threads must be between 0 and 1000")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("tls_certificate and tls_key belong together")
        if not (is_loopback(self.listen_host) or self.tls_certificate or self.behind_proxy):
            raise ConfigError(
                "beyond this machine a scoring service listens with TLS only",
                hint="set tls_certificate and tls_key, or behind_proxy",
            )

    @property
    def federation_id(self) -> bytes:
        """The federation's identifier."""
        return _key("federation", self.federation)

    @property
    def releaser_keys(self) -> frozenset[bytes]:
        """Public keys of who may release models."""
        return frozenset(_key("releasers", key) for key in self.releasers)

    @property
    def tenant_names(self) -> dict[bytes, str]:
        """Names by public key."""
        if any(not 1 <= len(name) <= MAX_NAME or not name.isprintable() for name in self.tenants):
            raise ConfigError(f"a tenant's name has 1 to {MAX_NAME} printable characters")
        found = {_key(f"tenants.{name}", key): name for name, key in self.tenants.items()}
        if len(found) != len(self.tenants):
            raise ConfigError("two tenants have one key")
        return found

    @property
    def worker_threads(self) -> int:
        """Batches that are computed at once."""
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def origin(self) -> str:
        """Where it listens."""
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.listen_host}]" if ":" in self.listen_host else self.listen_host
        return f"{scheme}://{host}:{self.listen_port}"

    def to_toml(self) -> str:
        """Return the text of a file that `load_config` reads."""
        values = msgspec.structs.asdict(self)
        tenants = values.pop("tenants")  # a table, so it comes last
        lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
        lines += ["", "[tenants]", *(f"{_toml(name)} = {_toml(key)}" for name, key in tenants.items())]
        return "\n".join(lines) + "\n"


_LIMITS = {
    "max_in_flight_batches": 10_000,
    "max_in_flight_per_tenant": 10_000,
    "max_batch_mib": 1024,
    "prepared_mib": 1024 * 1024,
    "max_upload_mib": 1024,
}


def load_config(path: Path) -> ScoringConfig:
    """Read and check `scoring.toml`.

    Raises
    ------
    ConfigError
        If it is missing, or something in it cannot be.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ScoringConfig)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path.name} in this home", hint="run: fedanomaly scoring init") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from None


def _key(setting: str, text: str) -> bytes:
    try:
        return parse_digest(text)
    except MessageError:
        raise ConfigError(f"{setting} must be 64 lower-case hexadecimal digits") from None


def _toml(value: object) -> str:
    return msgspec.json.encode(value).decode()
