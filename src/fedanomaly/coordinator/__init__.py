"""The coordinator: keeps the log, moves rounds on, sees no secret.

It imports neither a detector nor anything that holds a key share; the linter
and a test keep it so.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedanomaly.coordinator.api import create_app
    from fedanomaly.coordinator.config import CoordinatorConfig, load_config
    from fedanomaly.coordinator.home import Home, Identity, create_invitation, federation_id, init_home
    from fedanomaly.coordinator.lifecycle import call_new_epoch
    from fedanomaly.coordinator.progress import read_status
    from fedanomaly.coordinator.server import run

__all__ = [
    "CoordinatorConfig",
    "Home",
    "Identity",
    "call_new_epoch",
    "create_app",
    "create_invitation",
    "federation_id",
    "init_home",
    "load_config",
    "read_status",
    "run",
]

_MODULES = {
    "CoordinatorConfig": "config",
    "Home": "home",
    "Identity": "home",
    "call_new_epoch": "lifecycle",
    "create_app": "api",
    "create_invitation": "home",
    "federation_id": "home",
    "init_home": "home",
    "load_config": "config",
    "read_status": "progress",
    "run": "server",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a function
    # Lazy: a command that reads the status loads no web server.
    if name in _MODULES:
        return getattr(importlib.import_module(f"fedanomaly.coordinator.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'fedanomaly.coordinator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
