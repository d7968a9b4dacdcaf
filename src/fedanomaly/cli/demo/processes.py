"""Starts the public commands as processes, each with its own home, and ends them again."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fedanomaly.errors import UnavailableError

STOP_TIMEOUT_S = 15.0
LAST_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Service:
    """One running service.

    Parameters
    ----------
    name : str
        Organisation, or "coordinator".
    home : Path
        Its home.
    log : Path
        What it prints.
    process : subprocess.Popen
        The process.
    """

    name: str
    home: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None


class Services:
    """The processes of one demonstration; leaving the block ends those that it started.

    Parameters
    ----------
    folder : Path
        Where homes and logs go.
    keep : bool
        Leave the processes running at the end.
    """

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        self.folder = folder
        self.keep = keep
        self.running: list[Service] = []
        self.passphrase_file = folder / "passphrase"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.passphrase_file.exists():
            descriptor = os.open(self.passphrase_file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self.keep and kind is None):
            self.stop()

    def run(self, *arguments: str) -> str:
        """Run a command to its end and return what it printed.

        Raises
        ------
        UnavailableError
            If it fails; with the last lines that it printed.
        """
        done = subprocess.run(  # noqa: S603 (our own command)
            _command(arguments), env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnavailableError(f"`fedanomaly {' '.join(arguments[:2])}` failed:\n{done.stderr.strip()}")
        return done.stdout

    def start(self, name: str, home: Path, *arguments: str) -> Service:
        """Start a service in the background."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                _command(arguments),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        service = Service(name=name, home=home, log=log, process=process)
        self.running.append(service)
        return service

    def check(self) -> None:
        """Raise if a service has ended by itself.

        Raises
        ------
        UnavailableError
            With the last lines of its log.
        """
        for service in self.running:
            if not service.running:
                lines = service.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
                raise UnavailableError(f"{service.name} has stopped:\n" + "\n".join(lines), hint=f"see {service.log}")

    def stop(self) -> None:
        """End every process that was started here."""
        for service in self.running:
            if service.running:
                service.process.send_signal(signal.SIGTERM)
        for service in self.running:
            try:
                service.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()
        self.running.clear()

    def _environment(self) -> Mapping[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FEDANOMALY_")}
        return {**kept, "FEDANOMALY_NODE_API_PORT": "0"}


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "fedanomaly", *arguments]
