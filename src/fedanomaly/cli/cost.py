"""`fedanomaly cost`: what a job will take, before anybody asks for it."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedanomaly.cli.options import Json
from fedanomaly.cli.output import done, note, print_json, size_text, stdout, table

if TYPE_CHECKING:
    from fedanomaly.cli.costing import Forecast
    from fedanomaly.features import Schema
    from fedanomaly.types import Floats, Integers


def cost(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows of all members together.")],
    features: Annotated[int | None, typer.Option("--features", min=1, help="Encoded features.")] = None,
    schema: Annotated[Path | None, typer.Option("--schema", help="Take the features from this schema.")] = None,
    detector: Annotated[str, typer.Option("--detector", help="Detector to train.")] = "ensemble",
    param: Annotated[
        list[str] | None, typer.Option("--param", help="Parameter of the detector, as NAME=VALUE; may be repeated.")
    ] = None,
    members: Annotated[int, typer.Option("--members", min=3, help="Organisations in the federation.")] = 3,
    threshold: Annotated[int, typer.Option("--threshold", min=2, help="Decryption threshold.")] = 2,
    like: Annotated[
        Path | None, typer.Option("--like", help="Play the job through on rows of this file; takes --schema.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Column of that file with the labels.")] = None,
    evaluation: Annotated[
        bool, typer.Option("--evaluation", help="Evaluate a model of the detector; rows are the held-out ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the rounds of a job before it runs: bits, ciphertexts, bytes, seconds.

    Later steps follow from sums that are not known yet: they are played through
    on normal random rows, or on some of your own.

    [bold]Example[/bold]

    $ fedanomaly cost --rows 1000000 --features 30 --members 5 --threshold 3
    $ fedanomaly cost --rows 9000 --features 8 --detector kmeans
    $ fedanomaly cost --rows 9000 --schema shop.toml --like shop.csv
    $ fedanomaly cost --rows 20000 --features 8 --evaluation
    """
    from fedanomaly.cli.costing import forecast
    from fedanomaly.cli.train import params_of
    from fedanomaly.detectors import from_params
    from fedanomaly.errors import ConfigError
    from fedanomaly.features.schema_file import read_schema

    if (features is None) == (schema is None):
        raise ConfigError("give either --features or --schema")
    if like is not None and schema is None:
        raise ConfigError("--like takes the schema of the file as well", hint="add --schema")
    if label is not None and like is None:
        raise ConfigError("--label is a column of a file", hint="add --like FILE")
    if threshold >= members:
        raise ConfigError("the decryption threshold must be below the number of members")
    agreed = read_schema(schema) if schema else None
    count = features or (agreed.n_features if agreed else 0)
    known, labels = _rows_of(like, agreed, label) if like and agreed else (None, None)
    told = forecast(
        from_params(detector, params_of(param or [])),
        rows=rows,
        features=count,
        members=members,
        threshold=threshold,
        evaluation=evaluation,
        like=known,
        labels=labels,
    )
    if as_json:
        asked = {"detector": detector, "rows": rows, "features": count, "members": members, "threshold": threshold}
        print_json(asked | {"evaluation": evaluation} | _document(told))
        return
    _show(told)
    note(
        "numbers after the first round depend on the rows" + ("" if like else "; these are those of normal random ones")
    )


def _rows_of(file: Path, schema: Schema, label: str | None) -> tuple[Floats, Integers | None]:
    import numpy as np

    from fedanomaly.cli.costing import SAMPLE_ROWS
    from fedanomaly.errors import DataError
    from fedanomaly.features import Encoder
    from fedanomaly.node.encoding import types_of
    from fedanomaly.node.evaluator import labels_of
    from fedanomaly.node.sources import FileSource

    encoder = Encoder(schema)
    parts: list[Floats] = []
    marks: list[Floats] = []
    held = 0
    for batch in FileSource(file, types=types_of(schema)).batches():
        parts.append(encoder.encode(batch))
        if label is not None and label not in batch.schema.names:
            raise DataError(f"{file} has no column {label}")
        marks.append(labels_of(batch.column(label)) if label is not None else np.zeros(0))
        held += len(parts[-1])
        if held >= SAMPLE_ROWS:
            break
    if not held:
        raise DataError(f"{file} has no rows")
    return np.concatenate(parts), None if label is None else (np.concatenate(marks) != 0).astype(np.int64)


def _document(told: Forecast) -> dict[str, Any]:
    return {
        "rounds": round(told.rounds, 2),
        "rounds_fewest": told.fewest,
        "rounds_longest": told.longest,
        "rounds_at_most": told.most_rounds,
        "steps": [dataclasses.asdict(step) for step in told.steps],
        "contribution_bytes_per_member": told.message_bytes,
        "max_upload_bytes_per_member": told.upload_bytes,
        "download_bytes_per_member": told.download_bytes,
        "epoch_upload_bytes_per_member": told.setup_upload_bytes,
        "epoch_download_bytes_per_member": told.setup_download_bytes,
        "seconds": told.seconds,
    }


def _show(told: Forecast) -> None:
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
        for number, step in enumerate(told.steps, start=1)
    ]
    columns = [">round", "step", ">numbers", ">bits", ">ciphertexts x ring", ">up", ">expected"]
    stdout().print(table(columns, listed))
    expected = f"{told.fewest}" if told.fewest == told.longest else f"{told.fewest} to {told.longest}"
    done(f"rounds      {expected} expected, at most {told.most_rounds}; {told.seconds:.0f} s")
    done(f"each member {size_text(told.upload_bytes)} up where it decrypts, {size_text(told.download_bytes)} down")
    setup = f"{size_text(told.setup_upload_bytes)} and {size_text(told.setup_download_bytes)}"
    done(f"key epoch   {setup} on top, once for all its jobs")
