"""The tree of commands, and what happens when one fails."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fedanomaly import __version__
from fedanomaly.cli import (
    backup,
    coordinator,
    cost,
    data,
    detectors,
    evaluate,
    models,
    node,
    schema,
    score,
    scoring,
    train,
)
from fedanomaly.cli.demo import demo
from fedanomaly.cli.doctor import doctor
from fedanomaly.cli.explain import explain, failure_text
from fedanomaly.errors import FedAnomalyError

TRY, FEDERATION, WORK = "Try it on this machine", "Found and run a federation", "Learn and score"
"""Headings of `fedanomaly --help`."""


class InOrder(TyperGroup):
    """Lists commands in the order in which somebody new needs them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - its type is private to typer
        """Return the names as they were added, groups and commands alike."""
        return list(ORDER)


app = typer.Typer(
    name="fedanomaly",
    cls=InOrder,
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


coordinator.app.command("backup")(backup.back_up_coordinator)
coordinator.app.command("restore")(backup.restore_coordinator)
node.app.command("backup")(backup.back_up_node)
node.app.command("restore")(backup.restore_node)
app.command("demo", rich_help_panel=TRY)(demo)
app.command("cost", rich_help_panel=TRY)(cost.cost)
app.add_typer(detectors.app, name="detectors", rich_help_panel=TRY)
app.command("explain", rich_help_panel=TRY)(explain)
app.add_typer(coordinator.app, name="coordinator", rich_help_panel=FEDERATION)
app.add_typer(node.app, name="node", rich_help_panel=FEDERATION)
app.add_typer(scoring.app, name="scoring", rich_help_panel=FEDERATION)
app.command("doctor", rich_help_panel=FEDERATION)(doctor)
app.add_typer(schema.app, name="schema", rich_help_panel=WORK)
app.add_typer(data.app, name="data", rich_help_panel=WORK)
app.command("train", rich_help_panel=WORK)(train.train)
app.add_typer(models.app, name="models", rich_help_panel=WORK)
app.command("score", rich_help_panel=WORK)(score.score)
app.command("evaluate", rich_help_panel=WORK)(evaluate.evaluate)

ORDER = (
    "demo",
    "cost",
    "detectors",
    "explain",
    "coordinator",
    "node",
    "scoring",
    "doctor",
    "schema",
    "data",
    "train",
    "models",
    "score",
    "evaluate",
)


def main() -> None:
    """Run the command line; a failure ends with its code and what to do about it."""
    try:
        app()
    except FedAnomalyError as error:
        print_failure(error, as_json="--json" in sys.argv)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def print_failure(error: FedAnomalyError, *, as_json: bool = False) -> None:
    """Say on stderr what went wrong."""
    if not as_json:
        print(failure_text(error), file=sys.stderr)
        return
    told = {"code": error.code, "message": Exception.__str__(error), "hint": error.hint}
    told["retry_is_safe"] = error.retry_is_safe
    print(json.dumps({"error": told}, ensure_ascii=False), file=sys.stderr)
