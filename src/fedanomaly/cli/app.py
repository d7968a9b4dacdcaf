"""The tree of commands, and what happens when one fails."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedanomaly import __version__
from fedanomaly.cli import coordinator, cost, data, models, node, schema, score, train
from fedanomaly.cli.demo import demo
from fedanomaly.errors import FedAnomalyError

app = typer.Typer(
    name="fedanomaly",
    help="Competing organisations learn one anomaly detector together; nobody sees anybody else's data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)

FAILED, INTERRUPTED = 1, 130


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fedanomaly {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Competing organisations learn one anomaly detector together; nobody sees anybody else's data."""


app.add_typer(coordinator.app, name="coordinator")
app.add_typer(node.app, name="node")
app.add_typer(schema.app, name="schema")
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("score")(score.score)
app.command("models")(models.models)
app.command("cost")(cost.cost)
app.command("demo")(demo)


def main() -> None:
    """Run the command line; a failure ends with its code and what to do about it."""
    try:
        app()
    except FedAnomalyError as error:
        print_failure(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def print_failure(error: FedAnomalyError) -> None:
    """Say on stderr what went wrong."""
    print(f"error {error.code}: {Exception.__str__(error)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
