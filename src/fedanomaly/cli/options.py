"""Options that several commands share, and what they default to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NODE_HOME = Path("~/.fedanomaly/node")
COORDINATOR_HOME = Path("~/.fedanomaly/coordinator")
SCORING_HOME = Path("~/.fedanomaly/scoring")

NodeHome = Annotated[
    Path,
    typer.Option("--home", envvar="FEDANOMALY_HOME", help="Home folder of the node.", show_default=str(NODE_HOME)),
]
CoordinatorHome = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FEDANOMALY_HOME",
        help="Home folder of the coordinator.",
        show_default=str(COORDINATOR_HOME),
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File with the passphrase of the keystore, mode 0600. Else FEDANOMALY_PASSPHRASE, else a prompt.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Drop = Annotated[str, typer.Option("--drop", help="Columns to leave out, separated by commas.")]


def at(home: Path) -> str:
    """Return the option that leads the next command to a home; nothing for a default one."""
    return "" if home in {NODE_HOME, COORDINATOR_HOME} else f" --home {home}"


def names_of(listed: str) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in listed.split(",") if name.strip()]
