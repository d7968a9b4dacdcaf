"""A job as it goes: a table that redraws itself, or one line for every round."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fedanomaly.cli.output import size_text, table

Told = dict[str, Any]
STYLES = {"accepted": "green", "rejected": "red", "void": "yellow"}
"""How an end looks; what is not in here goes on."""


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
    """Prints a line for every change of a job, every refusal, and every finished round.

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
        job = f"job {told['id'][:12]}"
        if told["state"] not in STYLES:
            self._say(f"{job} {told['state']}")
        for name, reason in told["declined"].items():
            self._say(f"{job} {name} declined: {reason}")
        for entry in told["rounds"]:
            if entry["state"] in STYLES:
                self._say(finished(entry))
        if told["state"] in STYLES:
            self._say(headline(told))

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._console.print(line, markup=False)


def drawn(told: Told) -> RenderableType:
    """Return the picture of a job."""
    shown = table(["round", "step", ">numbers", ">each sends", "state", "who"], [])
    for entry in told["rounds"]:
        state = Text(entry["state"], style=STYLES.get(entry["state"], "cyan"))
        size = size_text(entry["message_bytes"])
        shown.add_row(str(entry["round"]), step_text(entry), f"{entry['fields']:,}", size, state, who(entry))
    head = Text(headline(told))
    parts: list[RenderableType] = [head, shown] if told["rounds"] else [head]
    if told["state"] not in STYLES:
        parts.append(Spinner("dots", text="waiting for the members"))
    return Group(*parts)


def headline(told: Told) -> str:
    """Return one line on a job."""
    ready = f", ready: {', '.join(told['ready'])}" if told["ready"] else ""
    refused = "".join(f", {name} declined ({reason})" for name, reason in told["declined"].items())
    reason = f" ({told['reason']})" if told["reason"] else ""
    return f"job {told['id'][:12]} {told['state']}{reason}{ready}{refused}"


def finished(entry: Told) -> str:
    """Return one line on a round that is over: whose sum it was, and who failed to take part."""
    line = f"round {entry['round']}  {step_text(entry)}  {entry['state']}"
    if entry["contributors"]:
        line += f": {entry['fields']:,} numbers of {', '.join(entry['contributors'])}"
        line += f", {size_text(entry['message_bytes'])} each"
    if entry.get("progress_name"):
        line += f"; {entry['progress_name']} {entry['progress']:.6g}"
    if entry["state"] != "accepted" and entry["reason"]:
        line += f" ({entry['reason']})"
    return line + _absent(entry)


def step_text(entry: Told) -> str:
    """Return the name of a round's step, or its number while the name is not known here."""
    return entry["step_name"] or f"step {entry['step']}"


def who(entry: Told) -> str:
    """Return who has done what in a round: the latest that there is, and who is awaited."""
    for key, verb in (("opened_by", "opened by"), ("contributed", "contributed"), ("joined", "joined")):
        if entry[key]:
            return f"{verb} {', '.join(entry[key])}" + _absent(entry)
    return ""


def _absent(entry: Told) -> str:
    """Return who joined a round and has not sent what it should; in roster order, as all names are."""
    if entry["state"] == "collecting":
        missing, verb = set(entry["joined"]) - set(entry["contributed"]), "waiting for"
    elif entry["state"] in {"closed", "opening"}:
        missing, verb = set(entry["decryptors"]) - set(entry["opened_by"]), "waiting for"
    else:
        missing, verb = set(entry["joined"]) - set(entry["contributed"]), "nothing from"
    names = [name for name in entry["joined"] if name in missing]
    return f"; {verb} {', '.join(names)}" if entry["decryptors"] and names else ""
