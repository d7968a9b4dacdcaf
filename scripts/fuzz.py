"""Runs every Go fuzz target for a bounded time, then the parsers' properties with more examples.

``python scripts/fuzz.py 10`` gives each target ten seconds. What a target finds
lies in its testdata/fuzz folder, and fails `go test` from then on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES_PER_S = 40
BRIEFLY = ("-fuzzminimizetime=10x",)  # a minute for each interesting input is Go's own bound


def targets() -> list[tuple[str, str]]:
    """Return package folder and name of every Go fuzz target."""
    found = []
    for path in sorted((ROOT / "engine").rglob("*_test.go")):
        names = re.findall(r"^func (Fuzz\w+)\(", path.read_text("utf-8"), re.MULTILINE)
        found += [(f"./{path.parent.relative_to(ROOT / 'engine')}", name) for name in names]
    return found


def ended_late(output: str) -> bool:
    """Tell whether nothing failed but the end: before Go 1.27 the deadline itself may be reported (go.dev/issue/75804).

    What a target finds is written to a file, and said; so is an input that hangs.
    """
    failures = re.findall(r"^--- FAIL: .*\n((?:[ \t]+.*\n)*)", output, re.MULTILINE)
    return [failure.strip() for failure in failures] == ["context deadline exceeded"] and "panic:" not in output


def main(arguments: list[str]) -> int:
    """Fuzz; returns 1 if something was found."""
    seconds = int(arguments[0]) if arguments else 10
    go = os.environ.get("GO") or shutil.which("go") or "go"
    failed = []
    for package, name in targets():
        since = time.monotonic()
        command = [go, "test", "-run=^$", f"-fuzz=^{name}$", f"-fuzztime={seconds}s", *BRIEFLY, package]
        ran = subprocess.run(command, cwd=ROOT / "engine", capture_output=True, text=True, check=False)
        tries = re.findall(r"execs: (\d+)", ran.stdout)
        said = f"{int(tries[-1]):,} inputs" if tries else "no inputs"
        print(f"fuzz: {package[2:]} {name}: {said}, {time.monotonic() - since:.0f} s")
        if not tries or (ran.returncode and not ended_late(ran.stdout)):
            print(ran.stdout + ran.stderr, file=sys.stderr)
            failed.append(name)
    environment = {**os.environ, "FEDANOMALY_EXAMPLES": str(EXAMPLES_PER_S * seconds)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/properties/test_parsers.py"]
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        failed.append("the Python parsers")
    if failed:
        print(f"fuzz: found something: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
