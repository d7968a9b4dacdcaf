"""`fedanomaly models`: what this node has learnt with its federation."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import datetime as dt

from fedanomaly.cli.options import NODE_HOME, Json, NodeHome, PassphraseFile
from fedanomaly.cli.output import note, print_json, stdout, table


def models(home: NodeHome = NODE_HOME, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """List the trained models, the newest version of each, and their origin.

    [bold]Example[/bold]

    $ fedanomaly models
    """
    from fedanomaly.cli.opened import OpenedModels
    from fedanomaly.node.home import Home

    found = OpenedModels(Home(home.expanduser()), passphrase_file).list()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            model["name"],
            model["version"],
            model["detector"],
            model["dataset"],
            len(model["rounds"]),
            ", ".join(model["rounds"][0]["members"]) if model["rounds"] else "",
            dt.datetime.fromtimestamp(model["ended_at"], dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        for model in found
    ]
    if rows:
        columns = ["model", ">version", "detector", "data set", ">rounds", "learnt from", "trained"]
        stdout().print(table(columns, rows))
    else:
        note("no models yet; run: fedanomaly train DATASET")
