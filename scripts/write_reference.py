"""Writes the generated pages of docs/reference; `--check` only compares.

- errors.md from the classes of `fedanomaly.errors` and the advice below;
- cli.md from the commands' own `--help`;
- configuration.md from the settings classes of node and coordinator.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from fedanomaly import errors
from fedanomaly.cli import app
from fedanomaly.errors import FedAnomalyError

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
GENERATED = "<!-- written by scripts/write_reference.py; change its sources, then run `make docs` -->"
SETTINGS = (
    ("coordinator.toml", "fedanomaly.coordinator.config", "CoordinatorConfig"),
    ("node.toml", "fedanomaly.node.config", "NodeConfig"),
    ("policy.toml", "fedanomaly.node.config", "PolicyFile"),
)

ERRORS_INTRODUCTION = (
    "Every error that is raised on purpose has a stable code. `str(error)` is for the log of the machine that raised "
    "it; `error.public` is all that a peer may read. Neither holds a key, a plaintext, a statistic or a score. Other "
    "exceptions are bugs."
)
CONFIGURATION_INTRODUCTION = (
    "Read once at the start, checked, and then frozen: a wrong setting stops the service before it does anything. "
    "The file lies in the home of the service; where a variable is shown, the environment wins over the file. "
    "Secrets are never settings."
)

ADVICE = {
    "FA000": "The base of all others; it is not raised itself. Catch it to catch every error of this package.",
    "FA100": "Change the setting that the message names, then start again. Nothing was sent or written.",
    "FA101": (
        "Check the passphrase, and that the file belongs to the user of the node with mode 0600. "
        "A keystore that does not open cannot be repaired: restore it from its backup."
    ),
    "FA200": "Look at the rows or the value that the message names. Nothing left this machine.",
    "FA201": "Compare the array with the shape in the docstring; columns have the order of the schema.",
    "FA202": "Run `fedanomaly schema check` on the file; it lists every column that does not fit.",
    "FA300": "A check of the engine failed. The message says which step; the round is void and may be tried again.",
    "FA301": (
        "A peer sent something else, or the bytes were damaged on the way. The message is dropped; "
        "if it comes again from the same sender, compare the versions of both sides."
    ),
    "FA302": (
        "The sum was not opened. Every cause gives this same answer, because a distinguishable one would be an "
        "oracle. The round is void and its members know no more than before it."
    ),
    "FA303": (
        "Narrow the bounds of the step, coarsen its resolution, or use fewer members. If the quota of the key "
        "epoch is used up, a new epoch begins by itself."
    ),
    "FA400": "Do not repeat the request: the same bytes are refused again. The log names the sender and the rule.",
    "FA401": (
        "If nobody attacks, a node runs twice or was restored from an old backup. Stop the copy; "
        "the node that was restored joins again when it has new rows."
    ),
    "FA402": "Read the rule in the message. If the policy of the node is too narrow for the job, change policy.toml.",
    "FA403": "Upgrade the older of the two sides.",
    "FA405": (
        "The coordinator was restored from a backup that is older than what its members have seen, or it rewrote its "
        "log. The node does nothing until the log goes on from where it was: restore a newer backup of the "
        "coordinator (docs/how-to/back-up-and-restore.md), or found a new federation."
    ),
    "FA404": "Check the name or the identifier; lists of what exists come from `fedanomaly models` and `status`.",
    "FA500": "Wait for `retry_after_s` seconds and send the same request again; that is always safe.",
    "FA501": (
        "Nothing was sent. Do what the hint says: renew the certificate, trust the right authority "
        "(`--ca` when enrolling, `ca` in node.toml, or `SSL_CERT_FILE`), or set a clock. A node that runs "
        "tries again by itself."
    ),
}


def error_classes() -> list[type[FedAnomalyError]]:
    """Return every error class, by code."""
    found = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, FedAnomalyError) and value.__module__ == errors.__name__
    ]
    return sorted(found, key=lambda kind: kind.code)


def errors_page() -> str:
    """Return docs/reference/errors.md."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    parts = [
        "# Errors",
        GENERATED,
        ERRORS_INTRODUCTION,
        f"```text\n{tree}\n```",
    ]
    for kind in error_classes():
        parent = kind.__mro__[1]
        parts += [
            f"## {kind.code} {kind.__name__}",
            _first_paragraph(kind),
            "\n".join(
                [
                    f"- Kind of: {parent.__name__}",
                    f"- A peer reads: “{kind.public}”",
                    f"- The same request may be sent again: {'yes' if kind.retry_is_safe else 'no'}",
                    f"- What to do: {ADVICE[kind.code]}",
                ]
            ),
        ]
    return "\n\n".join(parts) + "\n"


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


PAGES = {"errors.md": errors_page, "cli.md": cli_page, "configuration.md": configuration_page}


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
