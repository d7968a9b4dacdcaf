"""The steps of deploy/Containerfile, without a container engine; `make check-install`.

Builds the wheel in isolation, installs it into a fresh environment, and runs the three
services of it as another user (as root only; else as oneself): health check, scores on
ciphertexts with the model seen and hidden, SIGTERM.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
DEADLINE_S = 60
SCORES = """
import os
import sys
from pathlib import Path

import numpy as np

import fedanomaly as fa
from fedanomaly.node.home import Home

home, passphrase = Home(Path(os.environ["FEDANOMALY_HOME"])), os.environ["FEDANOMALY_PASSPHRASE"]
rows = np.random.default_rng(0).normal(size=(5_000, 6))
detector = fa.detectors.Mahalanobis().fit(rows)
for hide_model in (False, True):
    asked = {"identity": home.unlock(passphrase), "federation": home.membership.federation, "hide_model": hide_model}
    with fa.EncryptedScorer(detector, sys.argv[1], **asked) as scorer:
        scored = scorer.score(rows)
    assert np.allclose(scored.scores, detector.anomaly_scores(rows), rtol=5e-4, atol=5e-4)
    assert scored.local == 0
"""


def run(*command: str | Path, **options: Any) -> str:  # noqa: ANN401 - those of subprocess.run
    """Run a step to its end; its failure is ours."""
    print("$", *command, flush=True)
    return subprocess.run(
        [str(part) for part in command], check=True, text=True, stdout=subprocess.PIPE, **options
    ).stdout


def another_user() -> dict[str, Any]:
    """Return how subprocess becomes somebody who owns nothing; nothing unless we are root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def interpreter() -> str:
    """Return a Python that another user can run: ours may lie in a home that is closed to them."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            enough = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(enough, check=False, cwd="/", **another_user()).returncode == 0:
                return candidate
        except OSError:
            continue
    raise SystemExit("no Python 3.11 or later that another user can run")


def install(folder: Path) -> Path:
    """Build the wheel and install it; returns the folder of the commands."""
    uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
    locked = ("--constraint", ROOT / "requirements/dev.txt")
    source = folder / "src"  # what the Containerfile copies, and nothing else
    for name in ("requirements", "engine", "src"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("libfedanomaly.*", "__pycache__"))
    (source / "scripts").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "scripts/build_engine.py"):
        shutil.copy(ROOT / name, source / name)
    constraints = [part for name in ("dev", "go") for part in ("--build-constraint", f"requirements/{name}.txt")]
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", *constraints, cwd=source)
    run(uv, "venv", "--quiet", "--python", interpreter(), folder / "venv")
    wheel = next((folder / "dist").glob("*.whl"))
    run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "venv/bin/python", *locked, wheel)
    return folder / "venv/bin"


@dataclass(frozen=True)
class Installation:
    """An installation, used by somebody who owns nothing of it.

    Parameters
    ----------
    commands : Path
        The folder of its commands.
    state : Path
        Where the homes of its services lie, each in a folder of the service's name.
    """

    commands: Path
    state: Path

    def environment(self, service: str) -> dict[str, str]:
        """Return the variables of a service."""
        return {
            "PATH": f"{self.commands}:/usr/bin:/bin",
            "HOME": str(self.state),
            "FEDANOMALY_HOME": str(self.state / service),
            "FEDANOMALY_PASSPHRASE": "a long passphrase for a check",
            "FEDANOMALY_NODE_API_PORT": "0",
        }

    def run(self, service: str, *arguments: str, program: str = "fedanomaly") -> str:
        """Run a command on the home of a service; returns what it printed."""
        command = (self.commands / program, *arguments)
        return run(*command, env=self.environment(service), cwd=self.state, **another_user())

    def start(self, service: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a service and wait until it is healthy; it must not be called so before."""
        if self.healthy(service):
            raise SystemExit(f"the {service} is called healthy before it runs")
        command = [self.commands / "fedanomaly", service, "run", *arguments]
        process = subprocess.Popen(
            command, env=self.environment(service), cwd=self.state, stderr=subprocess.DEVNULL, **another_user()
        )
        deadline = time.monotonic() + DEADLINE_S
        while not self.healthy(service):
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise SystemExit(f"the {service} did not become healthy")
            time.sleep(0.2)
        print(f"{service}: healthy")
        return process

    def end(self, service: str, process: subprocess.Popen[bytes]) -> None:
        """End a service in good order."""
        process.terminate()
        if process.wait(DEADLINE_S):
            raise SystemExit(f"the {service} ended with {process.returncode} after SIGTERM")
        if self.healthy(service):
            raise SystemExit(f"the {service} is called healthy after its end")
        print(f"{service}: ended in order")

    def healthy(self, service: str) -> bool:
        """Ask as a container's health check does."""
        command = [self.commands / "python", ROOT / "deploy/healthcheck.py"]
        options = {"env": self.environment(service), "cwd": self.state, **another_user()}
        return not subprocess.run(command, stderr=subprocess.DEVNULL, check=False, **options).returncode


def check_services(commands: Path, folder: Path) -> None:
    """Run coordinator, node and scoring service of an installation, and score."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    if another_user():
        os.chown(state, NOBODY, NOBODY)
    here, port, scoring_port = Installation(commands, state), free_port(), free_port()
    here.run("coordinator", "coordinator", "init", "--name", "check", "--members", "3",
             "--listen", f"127.0.0.1:{port}", "--tls-name", "localhost")  # fmt: skip
    invitation = here.run("coordinator", "coordinator", "invite", "north").strip()
    here.run("node", "node", "init")
    running = {}
    try:
        running["coordinator"] = here.start("coordinator")
        federation = json.loads(here.run("node", "node", "enrol", invitation, "--json"))["federation"]
        running["node"] = here.start("node")
        identity = json.loads(here.run("node", "node", "status", "--json"))["identity"]
        address = f"127.0.0.1:{scoring_port}"
        here.run("scoring", "scoring", "init", "scoring", "--federation", federation, "--listen", address)
        here.run("scoring", "scoring", "add-tenant", "scoring", "north", identity)
        running["scoring"] = here.start("scoring", "scoring")
        here.run("node", "-c", SCORES, f"http://{address}", program="python")
        print("scoring: scores are right, with the model seen and with it hidden")
        for service in ("scoring", "node", "coordinator"):
            here.end(service, running[service])
    finally:
        for process in running.values():
            process.kill()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    """Build, install, run."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="fedanomaly-install-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        commands = install(folder)
        check_services(commands, folder)
    print("install: the wheel builds, installs and runs")


if __name__ == "__main__":
    main()
