"""Hosts on one machine: a network namespace and a mount namespace each, a bridge between them.

A host has its own address, loopback, /etc, /opt, /run and /var/lib; it shares the
kernel, the installed packages and the clock. Everything lies in a namespace of
this program, so that nothing of it is left when the program ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = ("sudo", "systemctl", "journalctl")
# In a user namespace there is one user alone: nothing to make, nothing to give files to.
WITHOUT_USERS = ("useradd", "install")
OWN = ("etc", "opt", "run", "var/lib")
DOMAIN = "fraud-watch.example"
COMMAND_TIMEOUT_S = 120


def has_users() -> bool:
    """Whether there are other users than this one here."""
    return Path("/proc/self/uid_map").read_text().split()[2:] != ["1"]


@dataclass(frozen=True)
class Host:
    """One host.

    Parameters
    ----------
    name : str
        Its name, and that of its namespace.
    folder : Path
        Where its files lie, seen from outside.
    holder : int
        A process that keeps its namespaces.
    """

    name: str
    folder: Path
    holder: int

    @property
    def desk(self) -> Path:
        """The folder in which its operator works."""
        return self.folder / "desk"

    def run(self, command: str) -> tuple[int, str]:
        """Run what its operator types; returns the exit status and what was printed."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{ROOT / '.venv/bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.desk),
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        inside = ["nsenter", "--target", str(self.holder), "--mount", "--net", f"--wd={self.desk}"]
        with subprocess.Popen(
            [*inside, "bash", "-c", command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                return -1, f"(nothing for {COMMAND_TIMEOUT_S} s)"
        return process.returncode, printed


def make_hosts(names: tuple[str, ...]) -> dict[str, Host]:
    """Make the hosts and the network between them; each knows the names of all.

    Returns
    -------
    dict of str to Host
        By name.
    """
    _run("mount", "--make-rprivate", "/")
    kept = _reachable_by_all([ROOT, Path(sys.base_prefix), Path(sys.prefix)])
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")  # `ip netns` keeps its names there
    _run("ip", "link", "add", "name", "federation", "type", "bridge")
    _run("ip", "link", "set", "federation", "up")
    work = Path(tempfile.mkdtemp(prefix="three-hosts-", dir="/tmp"))
    work.chmod(0o755)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(work))
    known = "".join(f"10.77.0.{number} {name}.{DOMAIN}\n" for number, name in enumerate(names, start=1))
    hosts = {}
    for number, name in enumerate(names, start=1):
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", "name", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", f"to-{name}", "master", "federation", "up")
        for words in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up"],
                      ["address", "add", f"10.77.0.{number}/24", "dev", "eth0"]):  # fmt: skip
            _run("ip", "-n", name, *words)
        hosts[name] = _host(name, work / name, kept, known)
    return hosts


def _host(name: str, folder: Path, kept: list[Path], known: str) -> Host:
    for part in ("bin", "desk", *OWN):
        (folder / part).mkdir(parents=True)
    copy = ["cp", "-a", "/etc/.", folder / "etc"]  # what this user may not read stays away
    subprocess.run(copy, stderr=subprocess.DEVNULL, check=False)
    with (folder / "etc/hosts").open("a") as file:
        file.write(f"\n{known}")
    for command in (*STAND_INS, *(() if has_users() else WITHOUT_USERS)):
        (folder / "bin" / command).symlink_to(Path(__file__).parent / "stand_ins.py")
    (folder / "desk/fedanomaly").symlink_to(ROOT)
    mounts = []
    for part in OWN:
        inside = [path for path in kept if path.is_relative_to(Path("/") / part)]
        for path in inside:  # an installation under /opt, for one
            target = folder / path.relative_to("/")
            target.mkdir(parents=True)
            mounts.append(f"mount --rbind {path} {target}")
        mounts.append(f"mount --rbind {folder / part} /{part}")
    script = " && ".join([*mounts, "echo ready", "exec sleep infinity"])
    # The process lives as long as this program: both are in one process namespace.
    enter_host = ["ip", "netns", "exec", name, "unshare", "--mount", "sh", "-c", script]
    holder = subprocess.Popen(enter_host, stdout=subprocess.PIPE, text=True)
    if holder.stdout is None or holder.stdout.readline() != "ready\n":
        raise SystemExit(f"host {name} could not be made")
    return Host(name, folder, holder.pid)


def _reachable_by_all(paths: list[Path]) -> list[Path]:
    """Let other users reach what we run: Python may lie in a home that is closed to them."""
    save = Path(tempfile.mkdtemp(prefix="three-hosts-", dir="/tmp"))
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(save))
    for number, path in enumerate(paths):
        closed = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
        if not closed:
            continue
        kept = [other for other in paths if other.is_relative_to(closed[0])]
        for place, other in enumerate(kept):
            (save / f"{number}-{place}").mkdir()
            _run("mount", "--rbind", str(other), str(save / f"{number}-{place}"))
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(closed[0]))
        for place, other in enumerate(kept):
            other.mkdir(parents=True, exist_ok=True)
            _run("mount", "--rbind", str(save / f"{number}-{place}"), str(other))
    return paths


def enter(program: list[str]) -> None:
    """Become the first process of fresh namespaces and run a program there.

    Returns only where this machine allows none; as root without the right to
    make them, and as anybody else, it tries a user namespace first.
    """
    missing = [tool for tool in ("unshare", "nsenter", "ip", "curl") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"three-hosts: needs {', '.join(missing)} (util-linux, iproute2, curl)")
    spaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    unshare = shutil.which("unshare") or ""
    for as_root in ([], ["--user", "--map-root-user"]):
        probe = [unshare, *as_root, *spaces, "ip", "link", "add", "name", "probe", "type", "bridge"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            os.execv(unshare, [unshare, *as_root, *spaces, *program])  # noqa: S606 - no shell is wanted


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"three-hosts: {' '.join(command)}: {done.stderr.strip()}")
