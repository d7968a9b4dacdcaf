"""The steps of deploy/Containerfile, without a container engine; `make check-install`.

Builds the wheel in isolation, installs it into a fresh environment, and runs both
services of it as another user (as root only; else as oneself): health check, refused
second process, SIGTERM.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
DEADLINE_S = 60


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
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "*.h", "__pycache__"))
    (source / "scripts").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "scripts/build_engine.py"):
        shutil.copy(ROOT / name, source / name)
    constraints = [part for name in ("dev", "go") for part in ("--build-constraint", f"requirements/{name}.txt")]
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", *constraints, cwd=source)
    run(uv, "venv", "--quiet", "--python", interpreter(), folder / "venv")
    wheel = next((folder / "dist").glob("*.whl"))
    run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "venv/bin/python", *locked, wheel)
    return folder / "venv/bin"


def check_services(commands: Path, folder: Path) -> None:
    """Run coordinator and node of an installation, as a user who owns nothing of it."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    user = another_user()
    if user:
        os.chown(state, NOBODY, NOBODY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": f"{commands}:/usr/bin:/bin",
        "HOME": str(state),
        "FEDANOMALY_PASSPHRASE": "a long passphrase for a check",
        "FEDANOMALY_NODE_API_PORT": "0",
    }
    homes = {service: {**environment, "FEDANOMALY_HOME": str(state / service)} for service in ("coordinator", "node")}
    cli = commands / "fedanomaly"
    run(cli, "coordinator", "init", "--name", "check", "--members", "3", "--listen", f"127.0.0.1:{port}",
        "--tls-name", "localhost", env=homes["coordinator"], cwd=state, **user)  # fmt: skip
    invitation = run(cli, "coordinator", "invite", "north", env=homes["coordinator"], cwd=state, **user).strip()
    run(cli, "node", "init", env=homes["node"], cwd=state, **user)

    def healthy(service: str) -> bool:
        command = [commands / "python", ROOT / "deploy/healthcheck.py"]
        return not subprocess.run(
            command, env=homes[service], cwd=state, stderr=subprocess.DEVNULL, check=False, **user
        ).returncode

    running = []
    try:
        for service in ("coordinator", "node"):
            if healthy(service):
                raise SystemExit(f"the {service} is called healthy before it runs")
            if service == "node":
                run(cli, "node", "enrol", invitation, env=homes["node"], cwd=state, **user)
            running.append(
                subprocess.Popen(
                    [cli, service, "run"], env=homes[service], cwd=state, stderr=subprocess.DEVNULL, **user
                )
            )
            deadline = time.monotonic() + DEADLINE_S
            while not healthy(service):
                if time.monotonic() > deadline or running[-1].poll() is not None:
                    raise SystemExit(f"the {service} did not become healthy")
                time.sleep(0.2)
            print(f"{service}: healthy")
        for service, process in (("node", running[1]), ("coordinator", running[0])):
            process.terminate()
            if process.wait(DEADLINE_S):
                raise SystemExit(f"the {service} ended with {process.returncode} after SIGTERM")
            if healthy(service):
                raise SystemExit(f"the {service} is called healthy after its end")
            print(f"{service}: ended in order")
    finally:
        for process in running:
            process.kill()


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
