"""`fedanomaly data …`: local data sets, encrypted at rest."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedanomaly.cli.options import NODE_HOME, Drop, Json, NodeHome, PassphraseFile, names_of
from fedanomaly.cli.output import done, note, print_json, stdout, table
from fedanomaly.cli.passphrase import passphrase_of

if TYPE_CHECKING:
    from fedanomaly.features import Schema
    from fedanomaly.node.datasets import Added, Datasets, Plan
    from fedanomaly.node.sources import FileSource

app = typer.Typer(help="Local data sets: checked, split, encrypted.", no_args_is_help=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the data set; the same at every member.")],
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or Arrow file.")],
    schema: Annotated[
        Path | None,
        typer.Option("--schema", help="Feature schema; the same file at every member. Else that of the last snapshot."),
    ] = None,
    holdout: Annotated[Path | None, typer.Option("--holdout", help="File with the rows to hold out.")] = None,
    holdout_fraction: Annotated[
        float,
        typer.Option(
            "--holdout-fraction",
            min=0.0,
            max=0.5,
            help="Else this share: the last rows where features look back in time.",
        ),
    ] = 0.1,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Column for evaluation and for detectors that learn from labels; no feature."),
    ] = None,
    drop: Drop = "",
    home: NodeHome = NODE_HOME,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Add a data set, or new rows under its name; also while the node runs.

    Rows are held against the schema, split and encrypted; the file itself is
    left alone. The same rows again change nothing.

    [bold]Example[/bold]

    $ fedanomaly data add payments october.parquet --schema payments.toml
    """
    from fedanomaly.node.datasets import Datasets, Plan
    from fedanomaly.node.encoding import types_of
    from fedanomaly.node.home import Home
    from fedanomaly.node.sources import FileSource

    found = Home(home.expanduser())
    datasets = Datasets(found.root / "data", found.unlock(passphrase_of(passphrase_file)))
    agreed = _schema(datasets, name, FileSource(file), schema, [*names_of(drop), *([label] if label else [])])
    types = types_of(agreed)
    plan = Plan(
        schema=agreed,
        holdout=FileSource(holdout, types=types) if holdout else None,
        holdout_fraction=holdout_fraction,
        label=label,
    )
    source = FileSource(file, types=types)
    added = _add(datasets, name, source, plan)
    _tell(added, source, as_json=as_json)


@app.command("list")
def list_(home: NodeHome = NODE_HOME, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """List the local data sets, the newest snapshot of each.

    [bold]Example[/bold]

    $ fedanomaly data list
    """
    from fedanomaly.node.datasets import Datasets
    from fedanomaly.node.home import Home

    found = Home(home.expanduser())
    views = Datasets(found.root / "data", found.unlock(passphrase_of(passphrase_file))).list()
    if as_json:
        print_json([view.model_dump() for view in views])
        return
    rows = [
        (view.name, f"{view.rows:,}", f"{view.holdout_rows:,}", len(view.columns), view.label or "", view.generation)
        for view in views
    ]
    if rows:
        stdout().print(table(["data set", ">rows", ">held out", ">columns", "label", ">generation"], rows))
    else:
        note("no data sets yet; run: fedanomaly data add NAME FILE")


def _schema(datasets: Datasets, name: str, source: FileSource, file: Path | None, left_out: list[str]) -> Schema:
    from fedanomaly.cli.schema import infer_from
    from fedanomaly.errors import ConfigError, NotFoundError
    from fedanomaly.features import Schema
    from fedanomaly.features.schema_file import read_schema

    if file is not None:
        agreed = read_schema(file)
        if clash := sorted(set(left_out) & set(agreed.columns)):
            raise ConfigError(f"the schema has the column {clash[0]}, which is to be left out")
        return agreed
    try:
        return Schema.from_json(datasets.newest(name).schema)
    except NotFoundError:
        note("no --schema: it is inferred from this file; the other members must add theirs with the very same schema")
        return infer_from(source, left_out).schema


def _add(datasets: Datasets, name: str, source: FileSource, plan: Plan) -> Added:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from fedanomaly.cli.output import stderr

    columns = (TextColumn("encrypting"), BarColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        return datasets.add(name, source, plan, progress=lambda rows: bar.advance(task, rows))


def _tell(added: Added, source: FileSource, *, as_json: bool) -> None:
    from fedanomaly.node.datasets import view_of

    view = view_of(added.snapshot)
    ignored = [name for name in source.columns().names if name not in view.columns and name != view.label]
    if as_json:
        print_json({**view.model_dump(), "is_new": added.is_new, "ignored": ignored})
        return
    what = "added" if added.is_new else "unchanged"
    done(f"{what}    {view.name}: {view.rows:,} rows to train on, {view.holdout_rows:,} held out")
    done(f"features {', '.join(view.columns)}")
    done(f"ignored  {', '.join(ignored) or 'nothing'}" + (f"; label {view.label} lies apart" if view.label else ""))
    done(f"schema   {view.schema_digest[:16]}: must be the same at every member")
