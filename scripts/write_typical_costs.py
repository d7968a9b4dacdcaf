"""Writes src/fedanomaly/cli/typical_costs.py: what a job of every detector takes in a typical federation.

`fedanomaly detectors list` and the page on detectors show these figures. They
follow from the code alone, but for a minute of arithmetic, so they are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedanomaly.cli.costing import forecast
from fedanomaly.cli.typical_costs import TYPICAL_JOB
from fedanomaly.detectors import from_params, registry

FILE = Path(__file__).parent.parent / "src" / "fedanomaly" / "cli" / "typical_costs.py"
MARK = "TYPICAL = {\n"


def line(name: str) -> str:
    """Return the entry of a detector."""
    told = forecast(from_params(name), **TYPICAL_JOB)
    return f'    "{name}": Typical({round(told.rounds)}, {told.most_rounds}, {told.upload_bytes:_}),\n'


def main() -> int:
    """Write the file."""
    before = FILE.read_text(encoding="utf-8").split(MARK)[0]
    FILE.write_text(before + MARK + "".join(map(line, registry())) + "}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
