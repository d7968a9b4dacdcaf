"""The coordinator: keeps the log, moves rounds on, sees no secret.

It imports neither a detector nor anything that holds a key share; the linter
and a test keep it so.
"""

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
