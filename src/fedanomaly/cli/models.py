"""`fedanomaly models …`: what this node has learnt with its federation."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fedanomaly.cli.options import NODE_HOME, Json, NodeHome, PassphraseFile
from fedanomaly.cli.output import done, note, print_json, size_text, stdout, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedanomaly.detectors import Detector
    from fedanomaly.scoring.rehearsal import HiddenRehearsal, Rehearsal

Told = TypeVar("Told")

app = typer.Typer()


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    home: NodeHome = NODE_HOME,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """List the trained models, the newest version of each, and their origin.

    [bold]Example[/bold]

    $ fedanomaly models
    """
    if context.invoked_subcommand:
        # They would be lost: the command behind has its own.
        if given := [name for name in context.params if _given(context, name)]:
            flag = "--json" if given[0] == "as_json" else f"--{given[0].replace('_', '-')}"
            raise typer.BadParameter(f"put {flag} behind {context.invoked_subcommand}", ctx=context)
        return
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


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[int | None, typer.Option(help="Version; default: the newest.")] = None,
    home: NodeHome = NODE_HOME,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Show one model, and what it takes to score with it on ciphertexts.

    A batch of made-up events is encrypted, scored and decrypted here, so errors
    and speeds are those of this model on one core of this machine: with the model
    in the clear at the service, and hidden from it (score --hide-model).

    [bold]Example[/bold]

    $ fedanomaly models show payments
    """
    from fedanomaly.cli.opened import OpenedModels
    from fedanomaly.node.home import Home
    from fedanomaly.scoring.rehearsal import rehearse, rehearse_hidden

    model = OpenedModels(Home(home.expanduser()), passphrase_file).load(name, version)
    encrypted, why_not = _told(rehearse, model.detector)
    hidden, why_not_hidden = _told(rehearse_hidden, model.detector)
    if as_json:
        print_json(
            {
                "model": name,
                "version": model.lineage["version"],
                "encrypted": encrypted and dataclasses.asdict(encrypted),
                "why_not": why_not,
                "hidden": hidden and dataclasses.asdict(hidden),
                "why_not_hidden": why_not_hidden,
            }
        )
        return
    done(f"{name}, version {model.lineage['version']}: {model.detector.name}, {model.detector.n_features_in_} features")
    done(f"on ciphertexts: {f'no. {why_not}' if encrypted is None else _of_encrypted(encrypted)}")
    if hidden or why_not_hidden != why_not:  # else it has no circuit, which was said already
        done(f"with the model hidden: {f'no. {why_not_hidden}' if hidden is None else _of_hidden(hidden)}")


def _told(rehearse: Callable[[Detector], Told], detector: Detector) -> tuple[Told | None, str | None]:
    from fedanomaly.errors import FedAnomalyError

    try:
        return rehearse(detector), None
    except FedAnomalyError as error:  # it has no circuit, or none that can be computed so
        return None, error.args[0]


def _of_encrypted(told: Rehearsal) -> str:
    approximation = ""
    if (off := told.approximation_error) is not None:
        approximation = (
            f"  polynomial off by {off:.2f} from minus the logarithm of density along a projection, root mean square\n"
        )
    return (
        f"{told.kind} circuit, {told.forms} forms of {told.features} readings, {told.outputs} outputs\n"
        f"  precision  error of an output at most {told.max_relative_error:.1e}, {told.weight_bits} bits for weights\n"
        f"{approximation}"
        f"  bytes      {told.bytes_up_per_event:,.0f} up and {told.bytes_down_per_event:,.0f} down "
        "an event, in full batches\n"
        f"  speed      service {told.service_events_per_s:,.0f}, tenant {told.tenant_events_per_s:,.0f} "
        f"events a second on one core ({told.instructions})"
    )


def _of_hidden(told: HiddenRehearsal) -> str:
    measured = ""
    if told.measured_forms < told.forms:
        measured = f"  measured   on its first {told.measured_forms:,} forms, and scaled up\n"
    return (
        f"{told.forms:,} forms come back for each event, and outputs are made of them here\n"
        f"{measured}"
        f"  precision  error of an output at most {told.max_relative_error:.1e}\n"
        f"  bytes      {told.bytes_up_per_event:,.0f} up and {told.bytes_down_per_event:,.0f} down "
        f"an event, in full batches; before them {size_text(told.model_bytes)} of model up\n"
        f"  speed      service {told.service_events_per_s:,.0f}, tenant {told.owner_events_per_s:,.0f} "
        f"events a second on one core; before them {told.model_s:.1f} s for the model"
    )


@app.command()
def release(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    to: Annotated[
        Path, typer.Option("--to", help="File whose name ends in .release, or a folder such as the service's models.")
    ],
    version: Annotated[int | None, typer.Option(help="Version; default: the newest.")] = None,
    home: NodeHome = NODE_HOME,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Sign a model so that scoring services offer it to all of their tenants.

    A service takes the file if this node's identity is one of its releasers. It
    holds the model in the clear, and no row; it is written whole or not at all.

    [bold]Example[/bold]

    $ fedanomaly models release payments --to /srv/scoring/models
    """
    from fedanomaly.cli.released import write_release
    from fedanomaly.node.home import Home

    told = write_release(Home(home.expanduser()), passphrase_file, name, version, to.expanduser())
    if as_json:
        print_json(told)
        return
    done(f"release    {told['model']}, version {told['version']}, circuit {told['digest'][:16]}…")
    done(f"federation {told['federation']}")
    done(f"signed by  {told['signer']}")
    done(f"written    {told['file']}")
    done("next       put it into the models folder of each service whose releasers list that key")


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
