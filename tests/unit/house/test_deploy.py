"""The service files: what systemd itself says of them, and that their commands exist."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[3] / "deploy/systemd").glob("*.service"))


def settings_of(unit: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
    return {name: value for name, _, value in lines}


@pytest.fixture
def analyze(tmp_path):
    """Run systemd-analyze on a unit whose command is this installation's."""
    if not (command := shutil.which("systemd-analyze")):
        assert "CI" not in os.environ, "systemd-analyze is missing"
        pytest.skip("needs systemd-analyze")

    def run(unit, *arguments):
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/fedanomaly/bin", str(Path(sys.executable).parent)))
        done = subprocess.run([command, *arguments, copy], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_there_is_a_unit_for_each_service():
    assert [unit.stem for unit in UNITS] == ["fedanomaly-coordinator", "fedanomaly-node", "fedanomaly-scoring"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(analyze, unit):
    said = analyze(unit, "verify", "--man=no")
    assert unit.name not in said  # a warning names the file and the line


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_is_exposed_as_little_as_a_network_service_can_be(analyze, unit):
    analyze(unit, "security", "--offline=yes", "--threshold=15")  # tenths; 0 is best, a bare service has 96


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_command_of_a_unit_has_these_options(unit):
    _, *arguments = shlex.split(settings_of(unit)["ExecStart"])
    options = {argument for argument in arguments if argument.startswith("--")}
    command = [sys.executable, "-m", "fedanomaly", *arguments[:2], "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
    assert all(option in said.stdout for option in options)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_waits_longer_than_a_graceful_stop_takes(unit):
    from fedanomaly.node.service import STOP_TIMEOUT_S
    from fedanomaly.scoring.server import DRAIN_S
    from fedanomaly.transport.serving import GRACEFUL_STOP_S

    longest = {"coordinator": GRACEFUL_STOP_S, "node": STOP_TIMEOUT_S, "scoring": DRAIN_S + GRACEFUL_STOP_S}
    assert int(settings_of(unit)["TimeoutStopSec"]) > longest[unit.stem.removeprefix("fedanomaly-")] + 10


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_secret_is_on_a_command_line_or_in_the_environment(unit):
    settings = settings_of(unit)
    assert "FEDANOMALY_PASSPHRASE" not in unit.read_text()
    assert settings["LimitCORE"] == "0"
    if "node" in unit.name:
        assert settings["LoadCredential"].startswith("passphrase:")
        assert settings["MemorySwapMax"] == "0"
