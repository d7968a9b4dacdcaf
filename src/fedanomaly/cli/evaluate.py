"""`fedanomaly evaluate`: how good a model is, over the held-out rows of all members."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fedanomaly.cli.options import NODE_HOME, Json, NodeHome
from fedanomaly.cli.output import done, note, print_json, stdout, table

SHOWN = 8
"""Shifted features that are listed."""


def evaluate(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[int | None, typer.Option("--version", min=1, help="Version; else the newest.")] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="Share of the rows that somebody can look at; else 0.005.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Show the last evaluation again; nothing is summed.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Longest wait in seconds; the job goes on.")
    ] = None,
    home: NodeHome = NODE_HOME,
    as_json: Json = False,
) -> None:
    """Evaluate a model with the federation, through the node that runs here.

    Every member scores its own held-out rows with its own copy of the model and
    counts anomalies and normal rows by score; the encrypted counts are summed.
    Labels and scores stay at home. Members without labels take part all the same.

    [bold]Example[/bold]

    $ fedanomaly evaluate payments
    $ fedanomaly evaluate payments --budget 0.01 --last
    """
    from fedanomaly.cli.running import running_node
    from fedanomaly.cli.train import watch
    from fedanomaly.errors import ConfigError
    from fedanomaly.node.home import Home

    if last and version is not None:
        raise ConfigError("--last shows the last evaluation, whatever version it was of", hint="leave --version out")
    with running_node(Home(home.expanduser())) as node:
        if not last:
            watch(node.evaluate(model, version), timeout_s)
        told = node.evaluation(model, budget=budget)
    if as_json:
        print_json(told)
    else:
        _show(told)


def _show(told: dict[str, Any]) -> None:
    done(f"model      {told['model']}, evaluated by {', '.join(told['members'])}")
    done(f"rows       {told['rows']:,} with labels, of them {told['anomalies']:,} anomalies")
    if told["auroc"] is None:
        note("no figures: the labels of all members together hold one class only")
    else:
        done(f"quality    AUROC {_figure(told['auroc'])}, average precision {_figure(told['average_precision'])}")
        done(
            f"           precision {_figure(told['precision'])} and recall {_figure(told['recall'])} "
            f"among the {told['alerts']:,} highest ({100 * told['budget']:g} % alerts)"
        )
        rows = [
            (f"{100 * band['above']:g} to {100 * band['upto']:g} %", f"{band['rows']:,}", _figure(band["share"]))
            for band in told["calibration"]
        ]
        stdout().print(table(["score above", ">rows", ">share of anomalies"], rows))
    if told["drift"] is None:
        note("the rows that this node brought are no longer here: no comparison with the others")
    else:
        _show_drift(
            told["drift"],
            "the rows here are like those of the others",
            "differ here from the others' (seen by this node only)",
        )
    if told["drift_since"] is not None:
        day = datetime.fromtimestamp(told["since"], UTC).strftime("%Y-%m-%d %H:%M")
        _show_drift(
            told["drift_since"],
            f"the rows of all members are like those evaluated on {day}",
            f"moved since {day} (all members together)",
        )


def _show_drift(drift: list[dict[str, Any]], stable: str, shift: str) -> None:
    shifted = sorted((row for row in drift if row["word"] == "shifted"), key=lambda row: -row["psi"])
    if not shifted:
        done(f"drift      {stable}")
        return
    done(f"drift      {len(shifted)} of {len(drift)} {shift}")
    rows = [(row["name"], f"{row['psi']:.2f}", f"{row['wasserstein']:.2f}") for row in shifted[:SHOWN]]
    stdout().print(table(["feature", ">PSI", ">distance"], rows))


def _figure(figure: dict[str, float]) -> str:
    bound = f" ±{figure['bound']:.4f}" if figure["bound"] >= 0.00005 else ""
    return f"{figure['value']:.4f}{bound}"
