from pathlib import Path

import pytest

from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Keystore
from tests.unit.node.federation import CHEAP, PASSPHRASE, federation, trained

__all__ = ["federation", "trained"]


@pytest.fixture
def passphrase() -> str:
    return PASSPHRASE


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore.create(tmp_path / "keystore.json", PASSPHRASE, cost=CHEAP)


@pytest.fixture
def other_keystore(tmp_path: Path) -> Keystore:
    return Keystore.create(tmp_path / "other.json", PASSPHRASE, cost=CHEAP)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", PASSPHRASE, cost=CHEAP)
