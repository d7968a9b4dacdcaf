"""How a benchmark says what it measured: a table for people, JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

OUTPUT = Path(__file__).parent.parent / "build" / "bench"
WIDTH = 120
"""Of tables that do not go to a terminal."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What was promised and what was measured.

    Parameters
    ----------
    what : str
        The quantity.
    promised, measured : str
        With their units.
    kept : bool
        Whether the promise is kept.
    """

    what: str
    promised: str
    measured: str
    kept: bool


def at_most(what: str, limit: float, measured: float, unit: str = "") -> Budget:
    """Return a budget that a quantity must not exceed."""
    return Budget(
        what=what, promised=f"<= {_short(limit)}{unit}", measured=f"{_short(measured)}{unit}", kept=measured <= limit
    )


def at_least(what: str, limit: float, measured: float, unit: str = "") -> Budget:
    """Return a budget that a quantity must reach."""
    return Budget(
        what=what, promised=f">= {_short(limit)}{unit}", measured=f"{_short(measured)}{unit}", kept=measured >= limit
    )


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, first column left, others right."""
    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    for row in rows:
        table.add_row(*row)
    # In a file or a pipe nothing is known of the width, and names are not to be cut.
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def print_budgets(budgets: Sequence[Budget]) -> None:
    """Print promises beside what was measured."""
    rows = [(budget.what, budget.promised, budget.measured, "yes" if budget.kept else "NO") for budget in budgets]
    print_table("Budgets", ("what", "budget", "measured", "kept"), rows)


def write_json(name: str, figures: dict[str, Any]) -> None:
    """Write build/bench/NAME.json, with the machine that measured it."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "processor": _processor(), "python": platform.python_version()}
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps({**figures, "machine": machine}, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path.relative_to(OUTPUT.parent.parent)}")


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
