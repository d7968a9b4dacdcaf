"""`fedanomaly schema …`: what the columns of a data set are; agreed by all members."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedanomaly.cli.options import Drop, Json, names_of
from fedanomaly.cli.output import done, note, print_json, writing

if TYPE_CHECKING:
    from fedanomaly.features import Inference, Schema
    from fedanomaly.node.sources import FileSource

app = typer.Typer(help="Feature schemas: one file that all members share.", no_args_is_help=True)


@app.command()
def infer(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or Arrow file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it; else it is printed.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="Column that is no feature.")] = None,
    drop: Drop = "",
) -> None:
    """Propose a schema from a file; read it before the members agree on it.

    Levels of categorical columns come from this file: add those that only other
    members have, or their rows count as unknown.

    [bold]Example[/bold]

    $ fedanomaly schema infer october.parquet --label is_fraud --out payments.toml
    """
    from fedanomaly.node.sources import FileSource

    found = infer_from(FileSource(file), [*names_of(drop), *([label] if label else [])])
    for name, why in found.ignored.items():
        note(f"left out: {name} ({why})")
    if out is None:
        print(found.schema.to_toml(), end="")
        return
    with writing(out):
        out.write_text(found.schema.to_toml(), "utf-8")
    done(f"wrote {out}: {len(found.schema.columns)} columns, {found.schema.n_features} features")
    done(f"digest {found.schema.digest.hex()[:16]}; every member sees the levels that it lists")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or Arrow file.")],
    schema: Annotated[Path, typer.Option("--schema", help="Feature schema.")],
    as_json: Json = False,
) -> None:
    """Hold every row of a file against a schema; fail at the first misfit.

    [bold]Example[/bold]

    $ fedanomaly schema check november.csv --schema payments.toml
    """
    from fedanomaly.node.encoding import conformed, types_of
    from fedanomaly.node.sources import FileSource

    agreed, rows = read_schema(schema), 0
    source = FileSource(file, types=types_of(agreed))
    for batch in source.batches():
        rows += conformed(agreed, batch).num_rows
    ignored = [name for name in source.columns().names if name not in agreed.columns]
    if as_json:
        print_json({"rows": rows, "columns": list(agreed.columns), "ignored": ignored, "digest": agreed.digest.hex()})
        return
    done(f"{rows:,} rows fit; {len(agreed.columns)} columns are used, ignored: {', '.join(ignored) or 'none'}")


def read_schema(file: Path) -> Schema:
    """Read a schema file.

    Raises
    ------
    SchemaError
        If it is missing, or no schema.
    """
    from fedanomaly.errors import SchemaError
    from fedanomaly.features import Schema

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SchemaError(
            f"no schema can be read from {file}: {reason}", hint="write one with: fedanomaly schema infer FILE"
        ) from None
    return Schema.from_json(text) if file.suffix.lower() == ".json" else Schema.from_toml(text)


def infer_from(source: FileSource, left_out: list[str]) -> Inference:
    """Return the schema that a file suggests, without some columns.

    Raises
    ------
    DataError
        If the file has no rows.
    """
    import pyarrow as pa

    from fedanomaly.errors import DataError
    from fedanomaly.features import infer_schema

    batches = list(source.batches())
    if not batches:
        raise DataError("the file has no rows to infer a schema from")
    return infer_schema(pa.Table.from_batches(batches), drop=left_out)
