"""Starts services as processes of their own, and again each time one is killed.

`python -m tests.e2e.nursery` has everything imported and forks a process for
each service: a start takes a tenth of a second, so that a test can kill hundreds
of times. It reads one command a line, and prints one line for every end.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

STOP_TIMEOUT_S = 60.0
ROOT = Path(__file__).parents[2]


class Nursery:
    """The process that starts services; leaving the block ends it and them.

    Parameters
    ----------
    folder : Path
        Where logs and journals go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids: dict[str, int] = {}
        self.kills: dict[str, int] = {}
        self._condition = threading.Condition()

    def __enter__(self) -> Self:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FEDANOMALY_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**kept, "FEDANOMALY_NODE_API_PORT": "0", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._process.stdout.close()

    def start(self, name: str, kind: str, *arguments: str, points: Sequence[str] = ()) -> None:
        """Start a service; it dies at `points` and is started again."""
        self._say(do="start", name=name, kind=kind, argv=arguments, points=points, folder=str(self.folder))
        self._until(lambda: name in self.pids)

    def kill(self, name: str) -> None:
        """Kill a service with SIGKILL; it is started again."""
        before = self.pids[name]
        os.kill(before, signal.SIGKILL)
        self._until(lambda: self.pids.get(name, before) != before)

    def stop(self, name: str) -> None:
        """Ask a service to end, and wait for it."""
        self._say(do="stop", name=name)
        self._until(lambda: name not in self.pids)

    def journal(self, name: str) -> Path:
        """Return where the deaths of a service are written down."""
        return self.folder / f"{name}.deaths"

    def _say(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._condition:
                if told["event"] == "started":
                    self.pids[told["name"]] = told["pid"]
                elif told["status"] == -signal.SIGKILL:
                    self.kills[told["name"]] = self.kills.get(told["name"], 0) + 1
                else:
                    del self.pids[told["name"]]
                self._condition.notify_all()

    def _until(self, condition: Any) -> None:
        with self._condition:
            assert self._condition.wait_for(condition, STOP_TIMEOUT_S)


class Keeper:
    """What runs in the nursery's own process."""

    def __init__(self) -> None:
        self._specs: dict[str, dict[str, Any]] = {}
        self._names: dict[int, str] = {}
        self._leaving: set[str] = set()

    def run(self) -> None:
        """Serve commands until there are no more, then end every service."""
        try:
            self._serve()
        finally:  # also when nobody reads what it prints any more
            for pid in list(self._names):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _serve(self) -> None:
        buffer = b""
        while True:
            readable, _, _ = select.select([0], [], [], 0.02)
            self._reap()
            if not readable:
                continue
            piece = os.read(0, 1 << 16)
            if not piece:
                break
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                self._do(json.loads(line))

    def _do(self, command: dict[str, Any]) -> None:
        name = command["name"]
        if command["do"] == "start":
            self._specs[name] = command
            self._leaving.discard(name)
            self._start(name)
        else:
            self._leaving.add(name)
            for pid in [pid for pid, known in self._names.items() if known == name]:
                os.kill(pid, signal.SIGTERM)

    def _start(self, name: str) -> None:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _become(self._specs[name])
        self._names[pid] = name
        print(json.dumps({"event": "started", "name": name, "pid": pid}), flush=True)

    def _reap(self) -> None:
        while self._names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name, code = self._names.pop(pid), os.waitstatus_to_exitcode(status)
            print(json.dumps({"event": "ended", "name": name, "status": code}), flush=True)
            if code == -signal.SIGKILL and name not in self._leaving:
                self._start(name)


def _become(spec: dict[str, Any]) -> None:
    """Turn a fresh fork into a service."""
    from fedanomaly.cli import main
    from tests.e2e.reaper import IN, Reaper

    os.setsid()
    folder = Path(spec["folder"])
    log = os.open(folder / f"{spec['name']}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    IN[spec["kind"]](Reaper(folder / f"{spec['name']}.deaths", spec["points"]))
    sys.argv = ["fedanomaly", *spec["argv"]]
    code = 1
    try:
        code = main() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import fedanomaly.cli.coordinator
    import fedanomaly.cli.node
    import fedanomaly.coordinator.server
    import fedanomaly.detectors
    import fedanomaly.features
    import fedanomaly.node.run  # noqa: F401 - imported before the forks
    import tests.e2e.reaper  # noqa: F401

    Keeper().run()
