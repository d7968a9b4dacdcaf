"""`fedanomaly demo`: a whole federation of real processes, on generated or on your own data."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from fedanomaly.cli.options import Json
from fedanomaly.cli.output import note, print_json, stderr

DETECTORS = ("mahalanobis", "loda")


def demo(
    files: Annotated[list[Path] | None, typer.Argument(help="More files, as for --data.", show_default=False)] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Your own CSV or Parquet files: one for each organisation, or one to split."),
    ] = None,
    split_by: Annotated[str | None, typer.Option("--split-by", help="Column that says whose an event is.")] = None,
    members: Annotated[
        int | None, typer.Option("--members", min=3, help="Number of organisations to split into.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Column with 0 and 1, for evaluation only.")] = None,
    drop: Annotated[str, typer.Option("--drop", help="Columns to leave out, separated by commas.")] = "",
    detector: Annotated[
        list[str] | None, typer.Option("--detector", help="Detector to train; may be repeated.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where homes and logs go; a temporary folder if left out.")
    ] = None,
    events: Annotated[int, typer.Option("--events", min=1000, help="How many payments to generate.")] = 60_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the generated payments and of every split.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the processes running and say how to talk to them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a whole federation on this machine, and see what it gains.

    A coordinator and three or more organisations start, each a process with its
    own home. Keys are set up without a dealer, two detectors are trained from
    encrypted sums, and the result is compared with each organisation's own
    model and with pooled plaintext.

    [bold]Example[/bold]

    $ fedanomaly demo
    $ fedanomaly demo --data transactions.csv --members 5 --label is_fraud
    $ fedanomaly demo --data north.csv south.csv west.csv --label is_fraud
    $ fedanomaly demo --json > result.json
    """
    from fedanomaly.cli.demo.prepare import organisations_of
    from fedanomaly.cli.demo.processes import Services
    from fedanomaly.cli.demo.report import as_dict, print_report
    from fedanomaly.cli.demo.stages import Stage

    console = stderr()
    began = time.monotonic()
    plan = organisations_of(
        [*(data or []), *(files or [])],
        split_by=split_by,
        members=members,
        label=label,
        drop=[name for name in drop.split(",") if name],
        seed=seed,
        events=events,
    )
    for line in plan.notes:
        note(line)
    root = folder or Path(tempfile.mkdtemp(prefix="fedanomaly-demo-"))
    note(f"homes and logs in {root}")
    with Services(root, keep=keep) as services:
        stage = Stage(plan, services, console)
        stage.set_up()
        results = [stage.train(name) for name in detector or DETECTORS]
        seconds = time.monotonic() - began
        if as_json:
            print_json(as_dict(plan, results, seconds))
        else:
            print_report(plan, results, seconds)
        if keep:
            stage.say_how_to_talk()
    if not keep and folder is None:
        note("the processes have ended; --keep leaves them running, --folder keeps homes and logs in one place")
