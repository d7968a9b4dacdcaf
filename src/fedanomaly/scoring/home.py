"""The scoring service's home folder: what lies where, and how it is made.

    scoring.toml   settings
    models/        release files

No secret lies here, and nothing is written while it serves: any copy of a home
is as good as another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from fedanomaly.errors import ConfigError
from fedanomaly.scoring.config import ScoringConfig, load_config
from fedanomaly.storage import write_durably


@dataclass(frozen=True)
class Home:
    """Paths and settings of one scoring service.

    Parameters
    ----------
    folder : Path
        Its home folder.
    """

    folder: Path

    @property
    def config_path(self) -> Path:
        """Where the settings lie."""
        return self.folder / "scoring.toml"

    @property
    def models_path(self) -> Path:
        """Where release files lie."""
        return self.folder / "models"

    @cached_property
    def config(self) -> ScoringConfig:
        """The settings, read once."""
        return load_config(self.config_path)


def init_home(folder: Path, config: ScoringConfig) -> Home:
    """Make a home.

    Raises
    ------
    ConfigError
        If there is one already.
    """
    home = Home(folder)
    if home.config_path.exists():
        raise ConfigError("there is a scoring service in this home already", hint="choose another folder")
    home.models_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(home.config_path, config.to_toml().encode())
    return home


def add_tenant(folder: Path, name: str, key: str) -> None:
    """Let somebody else use the service, from its next start or SIGHUP on.

    Raises
    ------
    ConfigError
        If there is a tenant of that name or key, or the key cannot be one.
    """
    home = Home(folder)
    config = home.config
    if name in config.tenants:
        raise ConfigError(f"there is a tenant {name} already", hint="its key is in scoring.toml")
    changed = msgspec.structs.replace(config, tenants={**config.tenants, name: key})
    write_durably(home.config_path, changed.to_toml().encode())
