"""The models of a node: through its API while it runs, else from its home."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedanomaly.cli.passphrase import passphrase_of
from fedanomaly.cli.running import running_node
from fedanomaly.client.models import Model
from fedanomaly.node.home import Home

if TYPE_CHECKING:
    from fedanomaly.node.models import ModelStore


class OpenedModels:
    """Models of a home, whether its node runs or not.

    Parameters
    ----------
    home : Home
        The folder.
    passphrase_file : Path or None
        Asked for only while the node does not run.
    """

    def __init__(self, home: Home, passphrase_file: Path | None) -> None:
        self._home = home
        self._passphrase_file = passphrase_file

    def list(self) -> list[dict[str, Any]]:
        """Return the newest version of every model."""
        if self._home.address:
            with running_node(self._home) as node:
                return node.models()
        from fedanomaly.node.views import model_view

        return [model_view(lineage).model_dump() for lineage in self._store().newest()]

    def load(self, name: str, version: int | None) -> Model:
        """Return one model."""
        if self._home.address:
            with running_node(self._home) as node:
                return node.model(name, version)
        from fedanomaly.node.views import model_view

        found = self._store().load(name, version)
        return Model(model_view(found.lineage).model_dump(), found.state.to_bytes())

    def _store(self) -> ModelStore:
        from fedanomaly.node.models import ModelStore

        return ModelStore(self._home.root / "models", self._home.unlock(passphrase_of(self._passphrase_file)))
