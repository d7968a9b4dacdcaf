"""What small things cost: bytes of small statistics, seconds of the import, size of the wheel."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import at_most, print_budgets, write_json
from fedanomaly.fhe import Contribution, Layout, best_layout

ROOT = Path(__file__).parent.parent
MEMBERS = 16
THRESHOLD = 4
FIELD_BITS = 20
IMPORTS = 9


def message_bytes(layout: Layout) -> int:
    """Return the bytes of a contribution, its head included."""
    return len(Contribution(bytes(32), bytes(layout.message_bytes)).to_bytes())


def statistic(fields: int) -> Layout:
    """Return how so many entries of 20 bits lie in ciphertexts."""
    return best_layout(members=MEMBERS, threshold=THRESHOLD, field_bits=FIELD_BITS, fields=fields)


def import_s() -> float:
    """Return the median seconds of a fresh process that imports the package, less one that does not."""

    def median_of(statement: str) -> float:
        times = []
        for _ in range(IMPORTS):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    return median_of("import fedanomaly") - median_of("pass")


def wheel_mb() -> float:
    """Return the size of a freshly built wheel."""
    uv = Path(sys.executable).parent / "uv"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                uv,
                "build",
                "--quiet",
                "--wheel",
                "--no-build-isolation",
                "--python",
                sys.executable,
                "--out-dir",
                folder,
            ],
            cwd=ROOT,
            check=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.stat().st_size / 1e6


def main() -> None:
    """Measure, print and write what came out."""
    many, few = statistic(8_000), statistic(100)
    figures = {
        "bytes_8000_fields": message_bytes(many),
        "ciphertexts_8000_fields": many.ciphertexts,
        "bytes_100_fields": message_bytes(few),
        "import_s": import_s(),
        "wheel_mb": wheel_mb(),
    }
    print_budgets(
        [
            at_most("8,000 fields of 20 bits", 32_768, figures["bytes_8000_fields"], " bytes"),
            at_most("8,000 fields of 20 bits", 1, figures["ciphertexts_8000_fields"], " ciphertext"),
            at_most("100 fields of 20 bits", 1_024, figures["bytes_100_fields"], " bytes"),
            at_most("import fedanomaly", 0.5, figures["import_s"], " s"),
            at_most("wheel", 15, figures["wheel_mb"], " MB"),
        ]
    )
    write_json("footprint", figures)


if __name__ == "__main__":
    main()
