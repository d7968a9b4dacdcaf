"""The order of the rooms is law, and the law is enforced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINT = Path(sys.executable).parent / "lint-imports"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package that a test may spoil."""
    shutil.copytree(
        ROOT / "src" / "fedanomaly",
        tmp_path / "src" / "fedanomaly",
        ignore=shutil.ignore_patterns("__pycache__", "_native"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> tuple[bool, str]:
    environment = {**os.environ, "PYTHONPATH": str(house / "src"), "NO_COLOR": "1", "COLUMNS": "200"}
    ran = subprocess.run(
        [LINT, "--no-cache", "--no-logo"],
        cwd=house,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode == 0, ran.stdout + ran.stderr


def plant(house: Path, module: str, line: str) -> None:
    path = house / "src" / "fedanomaly" / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


def test_the_rooms_keep_their_order(house: Path) -> None:
    kept, report = lint(house)
    assert kept, report


@pytest.mark.parametrize(
    ("module", "line", "named"),
    [
        ("types/planted.py", "import fedanomaly.protocol.envelope", "fedanomaly.types is not allowed to import"),
        ("storage/planted.py", "import fedanomaly.transport", "fedanomaly.storage is not allowed to import"),
        ("coordinator/planted.py", "import fedanomaly.fhe.secret", "import fedanomaly.fhe.secret"),
        ("coordinator/planted.py", "import fedanomaly.fhe.tenant", "fedanomaly.fhe.tenant"),
        ("scoring/service.py", "import fedanomaly.fhe.tenant", "fedanomaly.fhe.tenant"),
        ("scoring/planted.py", "import fedanomaly.node", "fedanomaly.scoring is not allowed to import"),
        ("client/planted.py", "from fedanomaly.fhe.secret import EpochSecrets", "import fedanomaly.fhe.secret"),
        ("cli/planted.py", "import fedanomaly.fhe.secret", "import fedanomaly.fhe.secret"),
        ("protocol/planted.py", "import fedanomaly.fhe.secret", "import fedanomaly.fhe.secret"),
        ("fhe/sums.py", "import fedanomaly.fhe.secret", "import fedanomaly.fhe.secret"),
        ("coordinator/planted.py", "import sklearn.base", "import sklearn"),
        ("coordinator/planted.py", "import fedanomaly.detectors", "import fedanomaly.detectors"),
        ("protocol/planted.py", "import time", "import time"),
        ("novel/__init__.py", "", "fedanomaly.novel"),
    ],
    ids=lambda value: value.replace("import ", "").replace("/", "."),
)
def test_a_planted_import_is_caught(house: Path, module: str, line: str, named: str) -> None:
    plant(house, module, line)
    kept, report = lint(house)
    assert not kept
    assert named in report


def test_every_room_has_its_place_in_the_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (order,) = (contract["layers"] for contract in contracts if contract["id"] == "rooms")
    listed = {room for layer in order for room in layer.split(" | ")}
    source = ROOT / "src" / "fedanomaly"
    rooms = {path.parent.name for path in source.glob("*/__init__.py")} | {
        path.stem for path in source.glob("*.py") if path.stem not in ("__init__", "__main__")
    }
    assert listed == rooms
