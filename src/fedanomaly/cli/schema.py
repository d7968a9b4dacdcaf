"""`fedanomaly schema …`: what the columns of a data set are; agreed by all members."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedanomaly.cli.options import Drop, Json, names_of
from fedanomaly.cli.output import done, note, print_json, stdout, table, writing

if TYPE_CHECKING:
    from fedanomaly.errors import SchemaError
    from fedanomaly.features import Inference, Violation
    from fedanomaly.node.sources import FileSource

app = typer.Typer(help="Feature schemas: one file that all members share.", no_args_is_help=True)


@app.command()
def infer(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or Arrow file.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it; else it is printed.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="Column that is no feature.")] = None,
    drop: Drop = "",
    windows: Annotated[
        bool, typer.Option("--windows", help="With what an entity did lately, for columns of identifiers.")
    ] = False,
) -> None:
    """Propose a schema from a file; read it before the members agree on it.

    Levels of categorical columns come from this file: add those that only other
    members have, or their rows count as unknown.

    [bold]Example[/bold]

    $ fedanomaly schema infer october.parquet --label is_fraud --out payments.toml
    """
    from fedanomaly.node.sources import FileSource

    found = infer_from(FileSource(file), [*names_of(drop), *([label] if label else [])], windows=windows)
    for name, why in found.ignored.items():
        note(f"left out: {name} ({why})")
    if found.windows and not windows:
        entities = ", ".join(window.entity[0] for window in found.windows)
        note(f"--windows adds counts, sums and times between rows of the same {entities}")
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
    first: Annotated[int, typer.Option("--first", min=0, help="Rows to name of every misfit.")] = 10,
    as_json: Json = False,
) -> None:
    """Hold every row of a file against a schema; list what does not fit.

    Misfits are told by column and row, the first row of all being 0, and never
    with their value.

    [bold]Example[/bold]

    $ fedanomaly schema check november.csv --schema payments.toml
    """
    import pyarrow as pa

    from fedanomaly.features import Checker
    from fedanomaly.features.schema_file import read_schema
    from fedanomaly.node.sources import FileSource

    agreed = read_schema(schema)
    checker = Checker(agreed, first=first)
    # Cells of a CSV file are read as text: reading them as numbers would stop at the first that is none.
    source = FileSource(file, types=dict.fromkeys(agreed.columns, pa.string()))
    for batch in source.batches():
        checker.add(batch)
    ignored = [name for name in source.columns().names if name not in agreed.columns]
    if as_json:
        told = {"rows": checker.n_rows, "columns": list(agreed.columns), "ignored": ignored}
        violations = [asdict(found) for found in checker.violations]
        print_json({**told, "digest": agreed.digest.hex(), "violations": violations})
    elif checker.violations:
        rows = [(found.column, found.what, f"{found.total:,}", _rows_text(found)) for found in checker.violations]
        stdout().print(table(["column", "what", ">rows", "which"], rows))
    if checker.violations:
        raise _misfit(checker.violations)
    if not as_json:
        used = f"{checker.n_rows:,} rows fit; {len(agreed.columns)} columns are used"
        done(f"{used}, ignored: {', '.join(ignored) or 'none'}")


def _rows_text(found: Violation) -> str:
    if not found.rows:
        return ""
    return ", ".join(map(str, found.rows)) + (", …" if found.total > len(found.rows) else "")


def _misfit(violations: list[Violation]) -> SchemaError:
    from fedanomaly.errors import SchemaError

    told = "; ".join(f"column {found.column!r} {found.what}" for found in violations[:3])
    more = len(violations) - 3
    return SchemaError(
        told + (f"; and {more} more" if more > 0 else ""), hint="correct the data, or the schema at every member"
    )


def infer_from(source: FileSource, left_out: list[str], *, windows: bool = False) -> Inference:
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
    return infer_schema(pa.Table.from_batches(batches), drop=left_out, windows=windows)
