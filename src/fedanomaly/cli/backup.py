"""`fedanomaly coordinator backup | restore` and `fedanomaly node backup | restore`."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedanomaly.cli.options import COORDINATOR_HOME, NODE_HOME, CoordinatorHome, Json, NodeHome, PassphraseFile, at
from fedanomaly.cli.output import done, note, print_json, size_text, writing
from fedanomaly.cli.passphrase import passphrase_of

if TYPE_CHECKING:
    from fedanomaly.storage.archive import Manifest

Target = Annotated[Path, typer.Argument(help="The file to make; there must be none of that name.")]
Source = Annotated[Path, typer.Argument(help="The backup.", exists=True, dir_okay=False)]


def back_up_coordinator(file: Target, home: CoordinatorHome = COORDINATOR_HOME, as_json: Json = False) -> None:
    """Write settings, key, log and attachments into one file; also while it runs.

    The file holds the coordinator's key: keep it like the home.

    [bold]Example[/bold]

    $ fedanomaly coordinator backup federation.backup
    """
    from fedanomaly.coordinator.backup import back_up

    with writing(file):
        _tell(file, back_up(home.expanduser(), file), as_json=as_json)


def restore_coordinator(file: Source, home: CoordinatorHome = COORDINATOR_HOME, as_json: Json = False) -> None:
    """Make a coordinator's home from a backup; the old one must never run again.

    Members go on only if the backup has all that they have seen of the log.

    [bold]Example[/bold]

    $ fedanomaly coordinator restore federation.backup --home /srv/federation
    """
    from fedanomaly.coordinator.backup import restore

    with writing(home):
        made = restore(file, home.expanduser())
    if as_json:
        print_json({"home": str(made.folder), "federation": made.federation.hex()})
        return
    done(f"home       {made.folder}")
    done(f"next       fedanomaly coordinator run{at(home)}")
    note("members that have seen more of the log than is in the backup refuse it (FA405)")


def back_up_node(file: Target, home: NodeHome = NODE_HOME, as_json: Json = False) -> None:
    """Write keystore, settings, ledger, data and models into one file, at any time.

    What is secret in it is sealed under the passphrase, which is not in it.
    Secrets of key epochs are left out: a restored node needs a new key epoch.

    [bold]Example[/bold]

    $ fedanomaly node backup north-bank.backup
    """
    from fedanomaly.node.backup import back_up
    from fedanomaly.node.home import Home

    with writing(file):
        _tell(file, back_up(Home(home.expanduser()), file), as_json=as_json)


def restore_node(
    file: Source, home: NodeHome = NODE_HOME, passphrase_file: PassphraseFile = None, as_json: Json = False
) -> None:
    """Make a node's home from a backup; the old one must never run again.

    The restored node takes part once there is a new key epoch and its data sets
    have new rows: it cannot know what was summed over the old ones meanwhile.

    [bold]Example[/bold]

    $ fedanomaly node restore north-bank.backup --home /srv/node
    """
    from fedanomaly.node.backup import restore

    with writing(home):
        made = restore(file, home.expanduser(), passphrase_of(passphrase_file))
    if as_json:
        print_json({"home": str(made.root)})
        return
    done(f"home       {made.root}")
    done(f"next       fedanomaly data add NAME FILE{at(home)}, with new rows, for every data set")
    done("then       ask the coordinator's operator for a new key epoch: fedanomaly coordinator new-epoch")
    done(f"then       fedanomaly node run{at(home)}")


def _tell(file: Path, manifest: Manifest, *, as_json: bool) -> None:
    size_bytes = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "size_bytes": size_bytes, "files": len(manifest.files)})
        return
    done(f"{file}: {len(manifest.files)} files, {size_text(size_bytes)}")
