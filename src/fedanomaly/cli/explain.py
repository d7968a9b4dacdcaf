"""`fedanomaly explain`: what a code means and what to do, without a network."""

from __future__ import annotations

import inspect
import re
from typing import Annotated

import typer

from fedanomaly import errors
from fedanomaly.cli.advice import ADVICE
from fedanomaly.errors import FedAnomalyError, NotFoundError


def explain(code: Annotated[str, typer.Argument(help="The code of an error, such as FA302.")]) -> None:
    """Explain the code of an error: what it means, what to do.

    [bold]Example[/bold]

    $ fedanomaly explain FA302
    """
    kinds = {kind.code: kind for kind in error_classes()}
    kind = kinds.get(code.strip().upper())
    if kind is None:
        raise NotFoundError(f"there is no code {code}", hint=f"known: {', '.join(kinds)}")
    print(page_of(kind), end="")


def error_classes() -> list[type[FedAnomalyError]]:
    """Return every error class, by code."""
    found = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, FedAnomalyError) and value.__module__ == errors.__name__
    ]
    return sorted(found, key=lambda kind: kind.code)


def page_of(kind: type[FedAnomalyError]) -> str:
    """Return the page on a code, as Markdown."""
    advice = ADVICE[kind.code]
    example = failure_text(kind(advice.message, hint=advice.hint))
    again = "yes" if kind.retry_is_safe else "no"
    parts = [
        f"# {kind.code} {kind.__name__}",
        meaning_of(kind),
        "## Typical causes",
        "\n".join(f"- {cause}" for cause in advice.causes),
        "## What to do",
        "\n".join(f"{number}. {step}" for number, step in enumerate(advice.steps, start=1)),
        "## As it is printed",
        f"```text\n{example}\n```",
        "## For programs",
        "\n".join(
            [
                f"- `fedanomaly.errors.{kind.__name__}`, a kind of {kind.__mro__[1].__name__}",
                f"- The same request may be sent again: {again}",
                f"- A peer reads: “{kind.public}”" + (", and the hint" if kind.hint_is_public else ""),
            ]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def meaning_of(kind: type[FedAnomalyError]) -> str:
    """Return the first paragraph of a class's docstring, in one line."""
    return re.sub(r"\s+", " ", (inspect.getdoc(kind) or "").split("\n\n")[0])


def failure_text(error: FedAnomalyError) -> str:
    """Return an error as the commands print it."""
    lines = [f"error {error.code}: {Exception.__str__(error)}"]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join([*lines, f"more: fedanomaly explain {error.code}"])
