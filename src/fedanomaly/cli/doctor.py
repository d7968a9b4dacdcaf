"""`fedanomaly doctor`: what keeps a service from working, and what to do about it."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedanomaly.cli.options import COORDINATOR_HOME, NODE_HOME, SCORING_HOME, Json, PassphraseFile
from fedanomaly.cli.output import print_json, stdout, table
from fedanomaly.cli.passphrase import VARIABLE, passphrase_of

if TYPE_CHECKING:
    from fedanomaly.client.jobs import Told
    from fedanomaly.node.home import Home
    from fedanomaly.transport.checks import Check

Homes = Annotated[
    list[Path] | None,
    typer.Argument(help="Homes of any services; FEDANOMALY_HOME, else the default ones if not given."),
]


def doctor(homes: Homes = None, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Check clock, disk, permissions, versions, reachability, keys, quota, logs.

    It changes nothing and may run beside the service. What a keystore seals is
    checked if its passphrase is given. The exit status is 1 if something needs
    action, else 0.

    [bold]Example[/bold]

    $ fedanomaly doctor
    $ fedanomaly doctor /srv/scoring
    $ fedanomaly doctor /srv/node --passphrase-file passphrase.txt --json
    """
    found = [(home, check) for home in _homes(homes) for check in _examined(home, passphrase_file)]
    if as_json:
        print_json([{"home": str(home), **asdict(check)} for home, check in found])
    else:
        for home in dict.fromkeys(home for home, _ in found):
            rows = [(check.level, check.name, check.found, check.step) for at, check in found if at == home]
            stdout().print(table(["", "checked", "found", "next step"], rows, title=str(home)))
    if any(check.level == "fail" for _, check in found):
        raise typer.Exit(1)


def _homes(given: list[Path] | None) -> list[Path]:
    from fedanomaly.errors import ConfigError

    named = given or [Path(at) for at in (os.environ.get("FEDANOMALY_HOME"),) if at]
    if named:
        return [home.expanduser() for home in named]
    defaults = (NODE_HOME.expanduser(), COORDINATOR_HOME.expanduser(), SCORING_HOME.expanduser())
    homes = [home for home in defaults if home.is_dir()]
    if not homes:
        raise ConfigError("there is no home to look at", hint="name it: fedanomaly doctor FOLDER")
    return homes


def _examined(home: Path, passphrase_file: Path | None) -> Iterator[Check]:
    if (home / "coordinator.toml").exists() or (home / "coordinator.key").exists():
        from fedanomaly.coordinator import Home as CoordinatorHome
        from fedanomaly.coordinator.doctor import examine as examine_coordinator

        yield from examine_coordinator(CoordinatorHome(home))
        return
    if (home / "scoring.toml").exists():
        from fedanomaly.scoring.doctor import examine as examine_scoring
        from fedanomaly.scoring.home import Home as ScoringHome

        yield from examine_scoring(ScoringHome(home))
        return
    from fedanomaly.node.doctor import examine
    from fedanomaly.node.home import Home

    node = Home(home)
    given = passphrase_file is not None or VARIABLE in os.environ
    yield from examine(node, passphrase=passphrase_of(passphrase_file) if given else None, told=_told(node))


def _told(home: Home) -> Told | None:
    from fedanomaly.cli.running import running_node
    from fedanomaly.errors import FedAnomalyError

    try:
        if home.address is None:
            return None
        with running_node(home) as node:
            return node.status()
    except FedAnomalyError:  # unreadable token and the like: a line of its own says so
        return None
