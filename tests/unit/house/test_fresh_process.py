"""What a fresh process loads, and what it must not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = ("numpy", "scipy", "sklearn", "pyarrow", "cffi", "fastapi", "sqlalchemy", "urllib3", "typer")


def loaded_by(statement: str) -> set[str]:
    """Return the modules of a fresh process after one statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


PUBLIC = ("Client", "simulate", "datasets.make_payments", "detectors.Loda", "detectors.Mahalanobis")


@pytest.fixture(scope="module")
def of_coordinator() -> set[str]:
    # Every module of the room, not only what its front door happens to import.
    return loaded_by(
        "import fedanomaly.coordinator as room, importlib, pkgutil\n"
        "for module in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "    importlib.import_module(module.name)"
    )


def test_the_package_itself_is_lazy() -> None:
    assert loaded_by("import fedanomaly").isdisjoint(HEAVY)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_reached_from_the_package(name: str) -> None:
    loaded_by(f"import fedanomaly as fa\nassert callable(fa.{name})")


def test_the_coordinator_loads_no_secret(of_coordinator: set[str]) -> None:
    assert "fedanomaly.coordinator" in of_coordinator
    assert of_coordinator.isdisjoint({"fedanomaly.fhe.secret", "fedanomaly.fhe.tenant"})
    assert not {name for name in of_coordinator if name.startswith(("fedanomaly.node", "fedanomaly.simulation"))}


SERVICE_SIDE = (
    "api", "config", "exchange", "home", "metrics", "models", "prepared", "receiving", "release", "server", "service",
    "slots", "wire",
)  # fmt: skip


def test_a_scoring_service_loads_nothing_that_encrypts_decrypts_or_trains() -> None:
    loaded = loaded_by("\n".join(f"import fedanomaly.scoring.{name}" for name in SERVICE_SIDE))
    assert "fedanomaly.fhe.scoring" in loaded
    assert loaded.isdisjoint({"fedanomaly.fhe.tenant", "fedanomaly.fhe.secret", "sklearn"})
    assert not {name for name in loaded if name.startswith(("fedanomaly.detectors", "fedanomaly.node"))}


def test_the_coordinator_loads_no_detector(of_coordinator: set[str]) -> None:
    assert "sklearn" not in of_coordinator
    assert not {name for name in of_coordinator if name.startswith("fedanomaly.detectors")}


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="fedanomaly")
    assert callable(command.load())
