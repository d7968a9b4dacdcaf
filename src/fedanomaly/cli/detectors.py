"""`fedanomaly detectors …`: what can be trained, and whether somebody else's detector keeps the contract."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedanomaly.cli.options import Json
from fedanomaly.cli.output import done, note, print_json, size_text, stdout, table

if TYPE_CHECKING:
    from fedanomaly.detectors import Detector

app = typer.Typer(help="What can be trained: detectors of this package, and installed ones.", no_args_is_help=True)

NameOf = Annotated[str, typer.Argument(help="Name of the detector.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the detectors: what each learns from, and what a job takes.

    Rounds and bytes up are those of 1,000,000 rows of 30 features in a federation
    of 5 with threshold 3; fedanomaly cost tells those of yours.

    [bold]Example[/bold]

    $ fedanomaly detectors list
    """
    from fedanomaly.cli.described import described
    from fedanomaly.cli.typical_costs import TYPICAL, TYPICAL_JOB
    from fedanomaly.detectors import installed, registry

    told: list[dict[str, Any]] = []
    for name, kind in installed().items():
        about, typical = described(kind), TYPICAL.get(name)
        told.append(
            {
                "name": name,
                "learns_from": about.learns_from,
                "title": about.title,
                "rounds": typical and typical.rounds,
                "max_upload_bytes_per_member": typical and typical.upload_bytes,
                "package": "fedanomaly" if name in registry() else kind.__module__.split(".")[0],
            }
        )
    if as_json:
        print_json(told)
        return
    rows = [
        (
            entry["name"],
            entry["learns_from"],
            entry["rounds"] or "?",
            "?" if entry["rounds"] is None else size_text(entry["max_upload_bytes_per_member"]),
            entry["title"],
        )
        for entry in told
    ]
    stdout().print(table(["detector", "learns from", ">rounds", ">up", "what it is"], rows))
    note("rounds and bytes up: {rows:,} rows of {features} features, {members} members".format(**TYPICAL_JOB))
    note("more: fedanomaly detectors show NAME")


@app.command()
def show(name: NameOf, as_json: Json = False) -> None:
    """Show one detector: its idea, when it fails, its parameters.

    A free parameter says how opened sums are read: after a training, the method
    resettled of a detector changes it, and nothing is summed anew.

    [bold]Example[/bold]

    $ fedanomaly detectors show kmeans
    """
    from fedanomaly.cli.described import described

    about = described(_kind(name))
    if as_json:
        print_json(dataclasses.asdict(about))
        return
    done(f"{about.name}: {about.title}")
    for head, text in (("idea", about.idea), ("fails", about.fails), ("cost", about.cost), ("source", about.sources)):
        if text:
            done(f"\n{head:<8}{text}")
    done(f"\non ciphertexts: {about.on_ciphertexts}")
    done("")
    rows = [
        (entry.name, json.dumps(entry.default), entry.allowed, "yes" if entry.free else "", entry.meaning)
        for entry in about.parameters
    ]
    stdout().print(table(["parameter", ">default", "allowed", "free", "meaning"], rows))


@app.command()
def check(
    name: NameOf,
    scikit_learn: Annotated[
        bool, typer.Option("--scikit-learn/--no-scikit-learn", help="Run scikit-learn's own checks as well.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check that a detector keeps the contract that every detector keeps.

    The suite is that of this package: a federation of parts equals fit on the
    whole, no row is kept, scores are finite, explanations add up, and so on.

    [bold]Example[/bold]

    $ fedanomaly detectors check isolation_by_us
    """
    from fedanomaly.errors import ConfigError

    told: list[dict[str, Any]] = []
    for checked, error in _checked(_kind(name), scikit_learn=scikit_learn):
        told.append({"check": checked, "holds": error is None, "reason": error})
        if not as_json:
            done(f"{'ok     ' if error is None else 'BROKEN '} {checked}" + (f": {error}" if error else ""))
    if as_json:
        print_json(told)
    broken = sum(not entry["holds"] for entry in told)
    if broken:
        raise ConfigError(f"{name} breaks {broken} of {len(told)} checks", hint="train it once it breaks none")
    if not as_json:
        done(f"{name} keeps the contract: {len(told)} checks")


def _kind(name: str) -> type[Detector]:
    from fedanomaly.detectors import from_params, installed

    return installed().get(name) or type(from_params(name))


def _checked(kind: type[Detector], *, scikit_learn: bool) -> Iterator[tuple[str, str | None]]:
    """Yield the name of every check, and why it fails or None."""
    from fedanomaly.detectors.contract import CHECKS

    for check in CHECKS:
        yield check.__name__.replace("_", " "), _failure(lambda check=check: check(kind()))
    if not scikit_learn:
        return
    from sklearn.utils.estimator_checks import estimator_checks_generator

    from fedanomaly.detectors.contract import NOT_WITHOUT_LABELS

    expected = NOT_WITHOUT_LABELS if kind.learns_from_labels else {}
    found: Any  # typed for what it may be with marks
    for found in estimator_checks_generator(kind()):
        estimator, check = found
        about = check.func.__name__
        # One runs only where an environment variable has switched SciPy to array API mode.
        if about not in {*expected, "check_array_api_input"}:
            failed = _failure(lambda check=check, estimator=estimator: check(estimator))
            yield f"scikit-learn: {about.removeprefix('check_').replace('_', ' ')}", failed


def _failure(run: Any) -> str | None:  # noqa: ANN401 - a call without arguments
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except Exception as error:  # noqa: BLE001 - whatever somebody else's detector raises
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason'}"
    return None
