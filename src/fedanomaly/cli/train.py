"""`fedanomaly train`: ask the federation for a model and watch it being learnt."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedanomaly.cli.options import NODE_HOME, Json, NodeHome, at
from fedanomaly.cli.output import done, note, print_json, size_text

if TYPE_CHECKING:
    from pathlib import Path

    from fedanomaly.client import Client, Job

ID_DIGITS = 32
"""Hexadecimal digits of a job's id."""
HALF_LIFE_DAYS = 30.0


def train(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(help="Data set; every member uses its own of that name.", show_default=False)
    ] = None,
    detector: Annotated[str, typer.Option("--detector", help="Detector to train.")] = "ensemble",
    model: Annotated[str | None, typer.Option("--model", help="Name of the model; else that of the data set.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="Parameter of the detector, as NAME=VALUE; may be repeated.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="ROWS",
            help="Take so many rows of each member, so that all count the same; a power of two from 1024 on.",
        ),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Teach the model that there is the rows added since; older ones fade.")
    ] = False,
    half_life_days: Annotated[
        float, typer.Option("--half-life", help="With --refresh: days after which rows count half.")
    ] = HALF_LIFE_DAYS,
    follow: Annotated[
        str | None,
        typer.Option("--follow", help="Watch a job that was asked for before; the start of its id is enough."),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Longest wait in seconds; the job goes on.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job to end.")] = True,
    home: NodeHome = NODE_HOME,
    as_json: Json = False,
) -> None:
    """Train a detector with the federation, through the node that runs here.

    Ctrl-C leaves the job alone: it goes on at the node.

    [bold]Example[/bold]

    $ fedanomaly train payments
    $ fedanomaly train payments --detector mahalanobis --model weekly
    $ fedanomaly train payments --param contamination=0.005
    $ fedanomaly train payments --sample 65536
    $ fedanomaly train payments --model weekly --refresh --half-life 14
    $ fedanomaly train --follow 712e88bfc7f8
    """
    from fedanomaly.cli.running import running_node
    from fedanomaly.errors import ConfigError
    from fedanomaly.node.home import Home

    if (dataset is None) == (follow is None):
        raise ConfigError("give either a data set or --follow JOB")
    _check_refresh(context, refresh=refresh)
    with running_node(Home(home.expanduser())) as node:
        params = params_of(param or [])
        if follow is not None:
            job = _known(node, follow)
        elif refresh:
            job = _refreshed(node, str(dataset), model or str(dataset), half_life_days)
        else:
            job = node.train(str(dataset), detector, params=params, model=model, sample=sample)
        if not wait:
            _asked(job, home, as_json=as_json)
            return
        try:
            watch(job, timeout_s)
        except KeyboardInterrupt:
            note(f"the job goes on at the node; watch it again: fedanomaly train --follow {job.id[:12]}{at(home)}")
            raise
        told = job.told()
        kept = node.model(told["model"])
    if as_json:
        print_json({**told, "model_version": kept.lineage["version"]})
        return
    done(f"model {told['model']} version {kept.lineage['version']}: {told['detector']}, {len(told['rounds'])} rounds")
    done(f"sent {size_text(told['sent_bytes'])}; nothing but encrypted sums")


def _check_refresh(context: typer.Context, *, refresh: bool) -> None:
    from fedanomaly.errors import ConfigError

    others = ("detector", "param", "sample", "follow") if refresh else ("half_life_days",)
    given = [name for name in others if _is_given(context, name)]
    if given and refresh:
        raise ConfigError(
            f"--refresh goes without --{given[0]}", hint="the model keeps its detector and its parameters"
        )
    if given:
        raise ConfigError("--half-life goes with --refresh only")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refreshed(node: Client, dataset: str, model: str, half_life_days: float) -> Job:
    """Ask for a refresh of a model of this data set."""
    from fedanomaly.errors import ConfigError

    trained_on = {told["name"]: told["dataset"] for told in node.models()}.get(model, dataset)
    if trained_on != dataset:
        raise ConfigError(f"the model {model} was trained on the data set {trained_on}, not on {dataset}")
    return node.refresh(model, half_life_days=half_life_days)


def _known(node: Client, start: str) -> Job:
    """Return the one job of the log whose id begins so, or the job with that whole id."""
    from fedanomaly.errors import NotFoundError

    found = [told["id"] for told in node.jobs() if told["id"].startswith(start)]
    if len(found) == 1:
        return node.job(found[0])
    if found:
        raise NotFoundError(f"{len(found)} jobs begin with {start}", hint="give more of the id")
    if len(start) < ID_DIGITS:
        raise NotFoundError(f"there is no job {start}", hint="fedanomaly node status lists them")
    return node.job(start)  # just asked for, and not in the log yet


def _asked(job: Job, home: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": job.id})
    else:
        done(f"asked for job {job.id}; watch it: fedanomaly train --follow {job.id[:12]}{at(home)}")


def watch(job: Job, timeout_s: float | None) -> None:
    """Wait for a job to end, and show meanwhile what happens: drawn on a terminal, else line by line.

    Raises
    ------
    JobError
        If it ended without a result.
    UnavailableError
        If it did not end in time; it goes on.
    """
    from fedanomaly.cli.live import JobView, Lines
    from fedanomaly.cli.output import stderr

    console = stderr()
    if not console.is_terminal:
        job.wait(timeout_s, Lines(console).show)
        return
    with JobView(console) as view:
        job.wait(timeout_s, view.show)


def params_of(given: list[str]) -> dict[str, Any]:
    """Return parameters given as NAME=VALUE; a value is JSON, or else text.

    Raises
    ------
    ConfigError
        If one has no name or no value.
    """
    from fedanomaly.errors import ConfigError

    params: dict[str, Any] = {}
    for entry in given:
        name, equals, text = entry.partition("=")
        if not equals or not name:
            raise ConfigError("--param is NAME=VALUE, such as contamination=0.01")
        try:
            params[name] = json.loads(text)
        except ValueError:
            params[name] = text
    return params
