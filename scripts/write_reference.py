"""Writes the generated pages of docs/reference; `--check` only compares.

- errors/ from the classes of `fedanomaly.errors` and the advice of `fedanomaly explain`;
- cli.md from the commands' own `--help`;
- configuration.md from the settings classes of the services;
- metrics.md from what the services declare;
- detectors.md from the detectors' own docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from detectors_page import detectors_page
from fedanomaly import errors
from fedanomaly.cli import app
from fedanomaly.cli.explain import error_classes, meaning_of, page_of
from fedanomaly.errors import FedAnomalyError
from metrics_page import metrics_page

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
GENERATED = "<!-- written by scripts/write_reference.py; change its sources, then run `make docs` -->"
SETTINGS = (
    ("coordinator.toml", "fedanomaly.coordinator.config", "CoordinatorConfig"),
    ("scoring.toml", "fedanomaly.scoring.config", "ScoringConfig"),
    ("node.toml", "fedanomaly.node.config", "NodeConfig"),
    ("policy.toml", "fedanomaly.node.config", "PolicyFile"),
)

ERRORS_INTRODUCTION = (
    "Every error that is raised on purpose has a stable code. `str(error)` is for the log of the machine that raised "
    "it; `error.public` is all that a peer may read, together with the hint where it is written for peers. Neither "
    "holds a key, a plaintext, a statistic or a score. Other exceptions are bugs. `fedanomaly explain CODE` prints the "
    "page of a code without a network. A command that fails ends with exit status 1 and prints the code on stderr; "
    "with `--json` as JSON."
)
CONFIGURATION_INTRODUCTION = (
    "Read once at the start, checked, and then frozen: a wrong setting stops the service before it does anything. "
    "The file lies in the home of the service; where a variable is shown, the environment wins over the file. "
    "Secrets are never settings."
)


def errors_index() -> str:
    """Return docs/reference/errors/README.md."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    lines = ["| code | class | meaning | send again |", "|---|---|---|---|"]
    for kind in error_classes():
        again = "yes" if kind.retry_is_safe else "no"
        lines.append(f"| [{kind.code}]({kind.code}.md) | {kind.__name__} | {meaning_of(kind)} | {again} |")
    table = "\n".join(lines)
    return "\n\n".join(["# Errors", GENERATED, ERRORS_INTRODUCTION, f"```text\n{tree}\n```", table]) + "\n"


def error_page(kind: type[FedAnomalyError]) -> str:
    """Return the page on one code."""
    title, rest = page_of(kind).split("\n\n", 1)
    return f"{title}\n\n{GENERATED}\n\n{rest}"


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    parts = ["# Commands", GENERATED, "Each command explains itself with `--help`; this page is that text."]
    for path, text in _commands():
        parts += [f"## {path}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands() -> Iterator[tuple[str, str]]:
    runner, root = CliRunner(), get_command(app)
    environment = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}

    def walk(command: Any, path: list[str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - typer's own
        shown = runner.invoke(app, [*path, "--help"], env=environment, prog_name="fedanomaly")
        if shown.exit_code:
            raise SystemExit(f"fedanomaly {' '.join(path)} --help failed: {shown.output}")
        yield " ".join(["fedanomaly", *path]), "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        for name in command.list_commands(typer.Context(command)) if isinstance(command, TyperGroup) else ():
            yield from walk(command.commands[name], [*path, name])

    yield from walk(root, [])


def configuration_page() -> str:
    """Return docs/reference/configuration.md."""
    parts = ["# Configuration", GENERATED, CONFIGURATION_INTRODUCTION]
    for file, module, name in SETTINGS:
        kind = getattr(importlib.import_module(module), name)
        rows = list(_pydantic_rows(kind) if hasattr(kind, "model_fields") else _struct_rows(kind))
        with_variable = any(variable for _, _, variable, _ in rows)
        head = "| setting | default |" + (" environment |" if with_variable else "") + " meaning |"
        lines = [head, "|---|---|---|---|" if with_variable else "|---|---|---|"]
        for setting, default, variable, meaning in rows:
            middle = f" `{variable}` |" if with_variable else ""
            lines.append(f"| `{setting}` | {default} |{middle} {meaning.replace('|', chr(92) + '|')} |")
        parts += [f"## {file}", _first_paragraph(kind), "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


Row = tuple[str, str, str, str]
"""Setting, default, environment variable or nothing, meaning."""


def _pydantic_rows(kind: Any) -> Iterator[Row]:  # noqa: ANN401 - a class of settings
    prefix = str(kind.model_config.get("env_prefix", ""))
    for name, about in kind.model_fields.items():
        default = "required" if about.is_required() else f"`{about.get_default(call_default_factory=True)!r}`"
        yield name, default, f"{prefix}{name}".upper(), about.description or ""


def _struct_rows(kind: Any) -> Iterator[Row]:  # noqa: ANN401 - a class of settings
    meanings = _parameters(kind)
    for field in msgspec.structs.fields(kind):
        yield field.name, "required" if field.required else f"`{field.default!r}`", "", meanings[field.name]


def _parameters(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says of each parameter, in one line."""
    section = (inspect.getdoc(kind) or "").split("Parameters\n----------\n", 1)[-1]
    found = {}
    for names, text in re.findall(r"^(\w[\w, ]*) : .*\n((?:    .+\n?)+)", section, re.MULTILINE):
        for name in names.split(", "):
            found[name] = " ".join(text.split())
    return found


def _first_paragraph(kind: type) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(kind) or "").split("\n\n")[0])


PAGES: dict[str, Callable[[], str]] = {
    "errors/README.md": errors_index,
    **{f"errors/{kind.code}.md": partial(error_page, kind) for kind in error_classes()},
    "cli.md": cli_page,
    "configuration.md": configuration_page,
    "metrics.md": partial(metrics_page, GENERATED),
    "detectors.md": partial(detectors_page, GENERATED),
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which are out of date."""
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if arguments != ["--check"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"docs: wrote docs/reference/{name}")
    if stale and arguments == ["--check"]:
        print(f"docs/reference is out of date: {', '.join(stale)}; run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
