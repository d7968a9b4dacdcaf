"""The example that shows a stream through a scoring service, with a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "encrypted_stream.py"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_stream_is_scored_and_both_sides_are_shown(terminal):
    command = [sys.executable, EXAMPLE, "--seconds", "2", "--rate", "500"]
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    environment |= {"COLUMNS": "160", **({"FORCE_COLOR": "1"} if terminal else {})}

    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", ran.stdout)
    assert ("what the bank sees" in said and "what the service could see" in said) == terminal
    assert re.search(r"latency p50 \d+ ms, p99 \d+ ms, [\d.]+ MB up, [\d.]+ MB down, \d+ alerts", said)
    caught, frauds = map(int, re.search(r"frauds: (\d+) of (\d+) caught", said).groups())
    assert 1 <= caught <= frauds
    assert re.search(r"(fraud|alert): \S+ .*", said)
    assert "computed in the clear: 0\n" in said
    assert "events and scores were not among it" in said
