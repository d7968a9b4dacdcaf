"""A job as it goes: a table that redraws itself, or one line for every change."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fedanomaly.cli.output import size_text, table

Told = dict[str, Any]
STYLES = {"accepted": "green", "rejected": "red", "void": "yellow"}


class JobView:
    """Redraws the rounds of a job while it runs; a context manager.

    Parameters
    ----------
    console : Console
        Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, told: Told) -> None:
        """Draw what the node tells."""
        self._live.update(drawn(told))


class Lines:
    """Prints a line for every round that changed its state.

    Parameters
    ----------
    console : Console
        Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def show(self, told: Told) -> None:
        """Print what is new in what the node tells."""
        self._say(headline(told))
        for entry in told["rounds"]:
            if who(entry):
                self._say(f"round {entry['round']}  {step_text(entry)}  {entry['state']}  {who(entry)}")

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._console.print(line, markup=False)


def drawn(told: Told) -> RenderableType:
    """Return the picture of a job."""
    rows = []
    for entry in told["rounds"]:
        state = Text(entry["state"], style=STYLES.get(entry["state"], "cyan"))
        rows.append(
            (entry["round"], step_text(entry), entry["fields"], size_text(entry["message_bytes"]), state, entry)
        )
    shown = table(["round", "step", ">numbers", ">each sends", "state", "who"], [])
    for number, step, fields, size, state, entry in rows:
        shown.add_row(str(number), step, f"{fields:,}", size, state, who(entry))
    head = Text(headline(told))
    parts: list[RenderableType] = [head, shown] if rows else [head]
    if told["state"] not in STYLES:
        parts.append(Spinner("dots", text="waiting for the members"))
    return Group(*parts)


def headline(told: Told) -> str:
    """Return one line on a job."""
    ready = f", ready: {', '.join(told['ready'])}" if told["ready"] else ""
    refused = f", declined: {', '.join(told['declined'])}" if told["declined"] else ""
    reason = f" ({told['reason']})" if told["reason"] else ""
    return f"job {told['id'][:12]} {told['state']}{reason}{ready}{refused}"


def step_text(entry: Told) -> str:
    """Return the name of a round's step, or its number while the name is not known here."""
    return entry["step_name"] or f"step {entry['step']}"


def who(entry: Told) -> str:
    """Return who has done what in a round: the latest that there is."""
    for key, verb in (("opened_by", "opened by"), ("contributed", "contributed"), ("joined", "joined")):
        if entry[key]:
            return f"{verb} {', '.join(entry[key])}"
    return ""
