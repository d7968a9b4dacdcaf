"""Runs all benchmarks, or the one that is named, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    "secure_sum",
    "encrypted_scoring",
    "encrypted_model",
    "footprint",
    "coordinator",
    "round",
    "setup",
    "quality",
    "domains",
    "payments",
    "speed",
)


def main(names: list[str]) -> int:
    """Run benchmarks; 0 if all of them ran, whatever they measured."""
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    root = Path(__file__).parent.parent
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=root, check=False).returncode
        for name in names or BENCHMARKS
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
