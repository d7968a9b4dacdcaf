"""What commands print: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedanomaly.errors import ConfigError

UNITS = ("B", "KB", "MB", "GB")


def stdout() -> Console:
    """Return the console for results."""
    return _wide(Console(highlight=False, soft_wrap=True, emoji=False))


def stderr() -> Console:
    """Return the console for progress and notes."""
    return _wide(Console(stderr=True, highlight=False, soft_wrap=True, emoji=False))


def _wide(console: Console) -> Console:
    # A file or a pipe has no edge to wrap at.
    if not console.is_terminal:
        console.width = 240
    return console


def print_json(value: object) -> None:
    """Print a result for machines: one JSON document."""
    # Plain print: rich would wrap and colour.
    print(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Say something beside the result."""
    stderr().print(text, style="dim", markup=False)


def done(text: str) -> None:
    """Say what was done."""
    stdout().print(text, markup=False)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Turn the system's refusal to write a file into an error that names it.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = "there is no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise ConfigError(f"{file} cannot be written: {reason}", hint="choose another file") from None


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> Table:
    """Return a plain table; cells are shown as they are, but for what would steer a terminal."""
    out = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    for column in columns:
        out.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in rows:
        # Names come from files of others: neither rich's markup nor escape sequences.
        out.add_row(*(Text(_harmless(str(cell))) for cell in row))
    return out


def _harmless(text: str) -> str:
    return "".join(mark if mark.isprintable() or mark == "\n" else "?" for mark in text)


def size_text(size_bytes: float) -> str:
    """Return a size for people: 31.2 KB (powers of 1000)."""
    for unit in UNITS[:-1]:
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} {UNITS[-1]}"
