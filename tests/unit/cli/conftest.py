"""The command in this process, and as a process of its own."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fedanomaly.cli import main
from tests.unit.node.federation import PASSPHRASE, federation, trained

__all__ = ["federation", "trained"]


@pytest.fixture
def environment(tmp_path):
    return {"HOME": str(tmp_path), "FEDANOMALY_PASSPHRASE": PASSPHRASE, "NO_COLOR": "1", "COLUMNS": "120"}


@pytest.fixture
def fedanomaly(environment, tmp_path, monkeypatch, capfd):
    """Run a command in this process, through its front door."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDANOMALY_HOME", raising=False)

    def call(*arguments, code=0, **more):
        with monkeypatch.context() as here:
            for name, value in {**environment, **more}.items():
                here.delenv(name, raising=False) if value is None else here.setenv(name, value)
            here.setattr(sys, "argv", ["fedanomaly", *map(str, arguments)])
            here.setattr(sys, "stdin", io.StringIO())
            capfd.readouterr()
            try:
                main()
                returncode = 0
            except SystemExit as ended:
                returncode = ended.code or 0
        out, err = capfd.readouterr()
        assert returncode == code, err
        return SimpleNamespace(stdout=out, stderr=err)

    return call


@pytest.fixture
def start(environment, tmp_path):
    """Start a command as a process of its own."""

    def call(*arguments):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FEDANOMALY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "fedanomaly", *map(str, arguments)],
            env={**kept, **environment},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


@pytest.fixture
def process(start):
    """Run a command as a process of its own."""

    def call(*arguments, code=0):
        with start(*arguments) as running:
            out, err = running.communicate(timeout=120)
        assert running.returncode == code, err
        assert "Traceback" not in err
        return SimpleNamespace(stdout=out, stderr=err)

    return call
