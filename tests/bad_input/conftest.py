"""The command in this process, the federation of the unit tests, and what a home holds."""

import hashlib

import pytest

from fedanomaly.node.home import Home
from tests.bad_input.tables import SCHEMA
from tests.unit.cli.conftest import environment, fedanomaly, process, start
from tests.unit.node.federation import CHEAP, PASSPHRASE, federation, trained

__all__ = ["environment", "fedanomaly", "federation", "process", "start", "trained"]


@pytest.fixture
def node(tmp_path):
    return Home.create(tmp_path / "home", PASSPHRASE, cost=CHEAP).root


@pytest.fixture
def schema(tmp_path):
    (tmp_path / "schema.toml").write_text(SCHEMA.to_toml())
    return tmp_path / "schema.toml"


@pytest.fixture
def contents():
    """Return what lies below a folder: every file with its bytes and mode; the lock of a registry holds nothing."""

    def of(root):
        return {
            str(path.relative_to(root)): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.stat().st_size
        }

    return of
