"""`fedanomaly cost`: what a job will take, before anybody asks for it."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from fedanomaly.cli.options import Json
from fedanomaly.cli.output import done, note, print_json, size_text, stdout, table


def cost(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows of all members together.")],
    features: Annotated[int | None, typer.Option("--features", min=1, help="Encoded features.")] = None,
    schema: Annotated[Path | None, typer.Option("--schema", help="Take the features from this schema.")] = None,
    detector: Annotated[str, typer.Option("--detector", help="Detector to train.")] = "loda",
    param: Annotated[
        list[str] | None, typer.Option("--param", help="Parameter of the detector, as NAME=VALUE; may be repeated.")
    ] = None,
    members: Annotated[int, typer.Option("--members", min=3, help="Organisations in the federation.")] = 3,
    threshold: Annotated[int, typer.Option("--threshold", min=2, help="Decryption threshold.")] = 2,
    as_json: Json = False,
) -> None:
    """List the rounds of a job before it runs: bits, ciphertexts, bytes, seconds.

    Later steps follow from sums that are not known yet: they are played through
    on normal random rows.

    [bold]Example[/bold]

    $ fedanomaly cost --rows 1000000 --features 30 --members 5 --threshold 3
    """
    from fedanomaly.cli.costing import plan
    from fedanomaly.cli.train import params_of
    from fedanomaly.detectors import from_params
    from fedanomaly.errors import ConfigError
    from fedanomaly.features.schema_file import read_schema

    if (features is None) == (schema is None):
        raise ConfigError("give either --features or --schema")
    if threshold >= members:
        raise ConfigError("the decryption threshold must be below the number of members")
    count = features if features is not None else read_schema(schema).n_features if schema else 0
    made = from_params(detector, params_of(param or []))
    steps = plan(made, rows=rows, features=count, members=members, threshold=threshold)
    up = sum(step.message_bytes for step in steps)
    seconds = sum(step.seconds for step in steps)
    if as_json:
        print_json(
            {
                "detector": detector,
                "rows": rows,
                "features": count,
                "members": members,
                "threshold": threshold,
                "steps": [dataclasses.asdict(step) for step in steps],
                "contribution_bytes_per_member": up,
                "max_upload_bytes_per_member": 2 * up,
                "seconds": seconds,
            }
        )
        return
    listed = [
        (
            number,
            step.name,
            f"{step.numbers:,}",
            step.field_bits,
            f"{step.ciphertexts} x {step.ring}",
            size_text(step.message_bytes),
            f"{step.seconds:.1f} s",
        )
        for number, step in enumerate(steps, start=1)
    ]
    columns = [">round", "step", ">numbers", ">bits", ">ciphertexts x ring", ">up", ">expected"]
    stdout().print(table(columns, listed))
    done(f"{len(steps)} rounds: {size_text(up)} up for each member, as much again where it decrypts; {seconds:.0f} s")
    note("steps after the first depend on the data; these are those of normal random rows")
