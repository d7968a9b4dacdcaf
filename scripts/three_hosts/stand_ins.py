#!/usr/bin/env python3
"""What a namespace lacks of a machine: sudo, and a service manager that reads the real unit files.

Called by the name of the command that it stands in for. `systemctl` starts what
ExecStart says, as the user that User says, with the credentials that
LoadCredential names, and stops it as systemd does: SIGTERM, then patience for
TimeoutStopSec. The hardening options are not applied; `systemd-analyze` checks
them in tests/unit/house/test_deploy.py.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

RUN = Path("/run")


def user_of(name: str) -> dict[str, object]:
    """Return how subprocess becomes a user; nothing where there is one user alone."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return {}
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def sudo(arguments: list[str]) -> int:
    """Run a command as root, or as `-u USER`."""
    user: dict[str, object] = {}
    if arguments[0] == "-u":
        user, arguments = user_of(arguments[1]), arguments[2:]
    kept = {name: os.environ[name] for name in ("PATH", "COLUMNS", "NO_COLOR", "LC_ALL")}
    return subprocess.run(arguments, env={**kept, "HOME": "/var/lib/fedanomaly"}, check=False, **user).returncode


def journalctl(arguments: list[str]) -> int:
    """Print what a service has said."""
    sys.stdout.write((RUN / f"{arguments[arguments.index('-u') + 1]}.log").read_text())
    return 0


def systemctl(arguments: list[str]) -> int:
    """Start, stop, restart and reload services."""
    words = [word for word in arguments if word != "--now"]
    if words == ["daemon-reload"]:
        return 0
    verb, name = words
    if verb == "is-active":
        active = process_of(name) is not None
        print("active" if active else "inactive")
        return 0 if active else 3
    if verb in {"stop", "restart"}:
        stop(name)
    if verb in {"start", "restart", "enable"}:
        start(name)
    if verb == "reload":
        reload = shlex.split(settings_of(name)["ExecReload"].replace("$MAINPID", str(process_of(name))))
        return subprocess.run(reload, check=False).returncode
    return 0


def settings_of(name: str) -> dict[str, str]:
    """Return the settings of a unit file; of one that comes twice, the last."""
    lines = Path(f"/etc/systemd/system/{name}.service").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


def process_of(name: str) -> int | None:
    """Return the main process of a service that runs."""
    try:
        number = int((RUN / f"{name}.pid").read_text())
    except FileNotFoundError:
        return None
    return None if (RUN / f"{name}.status").exists() else number


def start(name: str) -> None:
    """Start a service, and leave somebody who waits for its end."""
    settings = settings_of(name)
    user = user_of(settings["User"])
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/var/lib/fedanomaly"}
    (RUN / f"{name}.status").unlink(missing_ok=True)
    if "LoadCredential" in settings:
        credential, _, source = settings["LoadCredential"].partition(":")
        folder = RUN / "credentials" / name
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / credential
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        if user:  # as an access control list looks to stat(2)
            os.chown(target, 0, int(str(user["group"])))
        target.chmod(0o440)
        environment["CREDENTIALS_DIRECTORY"] = str(folder)
    line = settings["ExecStart"].replace("${CREDENTIALS_DIRECTORY}", environment.get("CREDENTIALS_DIRECTORY", ""))
    command = shlex.split(line)
    command[0] = shutil.which(Path(command[0]).name) or command[0]  # the installation lies elsewhere
    if os.fork():
        while not (RUN / f"{name}.pid").exists():
            time.sleep(0.01)
        return
    os.setsid()
    with (RUN / f"{name}.log").open("ab") as log:
        options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "umask": int(settings["UMask"], 8)}
        process = subprocess.Popen(command, env=environment, **options, **user)
        for descriptor, target in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, target), descriptor)  # nobody waits for our output to end
        (RUN / f"{name}.pid").write_text(str(process.pid))
        (RUN / f"{name}.status").write_text(str(process.wait()))
    os._exit(0)


def stop(name: str) -> None:
    """Stop a service in good order; its failure is ours."""
    number, status = process_of(name), RUN / f"{name}.status"
    if number is None:
        return
    os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + float(settings_of(name)["TimeoutStopSec"])
    while not status.exists() or not status.read_text():
        if time.monotonic() > deadline:
            sys.exit(f"{name} did not stop in time")
        time.sleep(0.05)
    (RUN / f"{name}.pid").unlink()
    if status.read_text() != "0":
        sys.exit(f"{name} ended with status {status.read_text()}")


def useradd(_arguments: list[str]) -> int:
    """Make the home of a user who cannot be made here."""
    Path("/var/lib/fedanomaly").mkdir()
    return 0


def install(arguments: list[str]) -> int:
    """Install a file without an owner to give it to."""
    for option in ("-o", "-g"):
        place = arguments.index(option)
        del arguments[place : place + 2]
    return subprocess.run(["/usr/bin/install", *arguments], check=False).returncode


if __name__ == "__main__":
    commands = {"sudo": sudo, "systemctl": systemctl, "journalctl": journalctl, "useradd": useradd, "install": install}
    sys.exit(commands[Path(sys.argv[0]).name](sys.argv[1:]))
