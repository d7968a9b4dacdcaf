"""The settings of a node: `node.toml` for the machine, `policy.toml` for the organisation."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fedanomaly.errors import ConfigError
from fedanomaly.protocol import Policy
from fedanomaly.transport.wire import MAX_WAIT_S

IDENTITY_BYTES = 32


class _FileSettings(BaseSettings):
    """Settings of a TOML file; a variable of the environment wins over it."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        return env_settings, init_settings


class NodeConfig(_FileSettings):
    """Settings of the machine that a node runs on: `node.toml`."""

    model_config = SettingsConfigDict(env_prefix="FEDANOMALY_NODE_")

    api_port: int = Field(
        default=7420, ge=0, le=65535, description="Port of the loopback API (127.0.0.1 only); 0 picks a free one."
    )
    ca: str = Field(
        default="",
        description="PEM file of the authorities to trust for the coordinator's certificate; relative paths start at "
        "the home. Empty: the authority that came at enrolment, else those of the system (SSL_CERT_FILE moves them).",
    )
    poll_wait_s: float = Field(
        default=20.0, gt=0, le=MAX_WAIT_S, description="Seconds that one request for news waits at the coordinator."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How log lines look: for people or for machines."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )


class PolicyFile(_FileSettings):
    """What a node accepts, whatever the coordinator says: `policy.toml`."""

    model_config = SettingsConfigDict(env_prefix="FEDANOMALY_POLICY_")

    min_members: int = Field(default=3, description="Smallest federation; at least 3.")
    min_threshold: int = Field(
        default=2, description="Smallest decryption threshold; at least 2: so many members are needed to open anything."
    )
    identities: list[str] = Field(
        default=[], description="Public keys (hex) that a roster may hold; empty: whoever the coordinator enrolled."
    )
    detectors: list[str] = Field(
        default=[],
        description='Detectors that may be trained, "evaluation" to let models be evaluated; empty: all that come with '
        "this package. One of another package must be named.",
    )
    datasets: list[str] = Field(default=[], description="Local data sets that may take part; empty: all.")
    max_upload_bytes: int = Field(
        default=256_000_000,
        gt=0,
        le=256_000_000,  # a node holds it whole, and its head still fits what `CoordinatorClient` sends
        description="Largest encrypted contribution to one round, in bytes.",
    )
    score_remotely: str = Field(
        default="",
        description="URL of a scoring service: rows that the node is asked to score are scored there, encrypted, and "
        "not here. Empty: here.",
    )
    score_remotely_ca: str = Field(
        default="",
        description="PEM file of the authorities to trust for that service; relative paths start at the home. Empty: "
        "those of the system.",
    )
    score_remotely_or_here: bool = Field(
        default=False,
        description="Whether rows are scored here, and the answer says so, while that service is away or cannot "
        "compute the model. If not, that is an error.",
    )

    score_remotely_hide_model: bool = Field(
        default=False,
        description="Whether scoring services get models encrypted, so that they learn no weights; for `fedanomaly "
        "score --encrypted` too, whichever it asks. A model that cannot be hidden is one that they cannot compute.",
    )

    def policy(self) -> Policy:
        """Return the checked policy.

        Raises
        ------
        ConfigError
            If it goes below what the protocol demands.
        """
        return Policy(
            min_members=self.min_members,
            min_threshold=self.min_threshold,
            identities=tuple(_identity(text) for text in self.identities),
            detectors=tuple(self.detectors),
            datasets=tuple(self.datasets),
            max_message_bytes=self.max_upload_bytes,
        )


def _identity(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != IDENTITY_BYTES:
        raise ConfigError(f"policy.toml: identities: {text[:20]!r} is no public key of 64 hexadecimal digits")
    return key


Settings = TypeVar("Settings", bound=BaseSettings)


def read_toml(path: Path, kind: type[Settings]) -> Settings:
    """Read and check a settings file.

    Raises
    ------
    ConfigError
        If it is missing, no TOML, or has an unknown or impossible setting.
    """
    try:
        return kind(**tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing", hint="run: fedanomaly node init") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        setting = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {setting}: {first['msg']}") from None
