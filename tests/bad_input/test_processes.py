"""Real processes: a reader that has gone, and a coordinator that is not there yet, or no longer."""

import os
import signal
import subprocess
import sys

import pytest

from tests.unit.node.federation import PASSPHRASE, coordinator, founded, joined, until


@pytest.mark.parametrize("command", ["explain FA100", "--help", "cost --rows 1000 --features 3"])
def test_a_reader_that_has_gone_is_no_reason_for_a_traceback(environment, tmp_path, command):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ran = subprocess.run(
            [sys.executable, "-m", "fedanomaly", *command.split()],
            env={**os.environ, **environment},
            cwd=tmp_path,
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )

    assert ran.returncode != 0
    assert b"Traceback" not in ran.stderr
    assert b"Exception ignored" not in ran.stderr


def test_a_node_waits_for_a_coordinator_that_is_away_and_goes_on_when_it_is_there(environment, tmp_path):
    founded(tmp_path)
    with coordinator(tmp_path):
        home, _ = joined(tmp_path, "north", 0)
    log = tmp_path / "node.log"

    def said(event):
        return log.read_text().count(f'"event": "{event}"')

    with (
        log.open("wb") as written,
        subprocess.Popen(
            [sys.executable, "-m", "fedanomaly", "node", "run", "--home", str(home.root)],
            env={**os.environ, **environment, "FEDANOMALY_NODE_LOG_FORMAT": "json"},
            stdout=subprocess.DEVNULL,
            stderr=written,
        ) as node,
    ):
        try:
            for turn in (1, 2):
                until(lambda turn=turn: said("coordinator-unreachable") == turn)
                with coordinator(tmp_path):
                    until(lambda turn=turn: said("coordinator-reached") == turn)
            node.send_signal(signal.SIGTERM)
            assert node.wait(60) == 0
        finally:
            node.kill()

    assert PASSPHRASE not in log.read_text()
    assert not home.running
