"""Runs every example in Markdown pages; `make docs` and a test call it.

A page is one session, top to bottom, in a fresh folder:

- ``python`` blocks run as one program, in the page's order;
- ``console`` blocks are transcripts: a line after ``$ `` is a command for the
  shell, the lines up to the next one are what it prints. ``...`` stands for any
  text. A command must exit with 0; what it leaves running in the background ends with
  the page.

A block after ``<!-- not run: REASON -->`` is skipped, and the reason is counted
in the output, so that nothing is skipped silently.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?```(?P<language>python|console)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND_TIMEOUT_S = 300


class BrokenExampleError(Exception):
    """An example does not do what its page says."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One example.

    Parameters
    ----------
    page : Path
        Where it stands.
    line : int
        Line of its first code.
    language : {"python", "console"}
        How it runs.
    code : str
        Its text.
    skip_reason : str or None
        Why it is not run.
    """

    page: Path
    line: int
    language: str
    code: str
    skip_reason: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the examples of a page in their order."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        yield Block(
            page=page,
            line=text.count("\n", 0, match.start("code")) + 1,
            language=match["language"],
            code=match["code"],
            skip_reason=match["reason"],
        )


@dataclass
class Session:
    """Runs the examples of one page, each after what came before."""

    folder: Path
    groups: list[int] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__example__"})

    def run(self, block: Block) -> None:
        """Run one example.

        Raises
        ------
        BrokenExampleError
            If it fails or prints something else.
        """
        if block.language == "python":
            self._python(block)
        else:
            self._console(block)

    def _python(self, block: Block) -> None:
        # Leading empty lines make tracebacks name the line of the page.
        code = compile("\n" * (block.line - 1) + block.code, str(block.page), "exec")
        try:
            exec(code, self.names)  # noqa: S102 - the project's own documentation
        except Exception as error:
            raise BrokenExampleError(traceback.format_exc()) from error

    def _console(self, block: Block) -> None:
        for command, expected in transcript(block.code):
            environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "HOME": str(self.folder)}
            environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
            shell = subprocess.Popen(  # noqa: S602 - a transcript is what a person types into a shell
                command,
                shell=True,
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            self.groups.append(shell.pid)
            printed, _ = shell.communicate(timeout=COMMAND_TIMEOUT_S)
            if shell.returncode:
                raise BrokenExampleError(f"$ {command}\n{printed}(exit status {shell.returncode})")
            if not prints(printed, expected):
                raise BrokenExampleError(f"$ {command}\nexpected:\n{expected}\nprinted:\n{printed}")

    def end(self) -> None:
        """End what the commands of this page left running."""
        for group in self.groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


def transcript(code: str) -> Iterator[tuple[str, str]]:
    """Yield every command of a console block and what it prints."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, rest = part.partition("\n")
        while command.endswith("\\"):
            more, _, rest = rest.partition("\n")
            command = command[:-1] + more.removeprefix(">").lstrip()
        yield command, rest


def prints(printed: str, expected: str) -> bool:
    """Whether a text is what the page says, where ``...`` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in _tidy(expected).split("..."))
    return re.fullmatch(pattern, _tidy(printed), re.DOTALL) is not None


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def run_page(page: Path) -> tuple[int, list[str]]:
    """Run a page; return how many examples ran and why others did not.

    Raises
    ------
    BrokenExampleError
        With page and line of the first that fails.
    """
    ran, skipped, here = 0, [], Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        os.chdir(folder)
        try:
            for block in blocks(page):
                if block.skip_reason:
                    skipped.append(f"{page.name}:{block.line}: {block.skip_reason}")
                    continue
                try:
                    session.run(block)
                except BrokenExampleError as error:
                    raise BrokenExampleError(f"{page}:{block.line}\n{error}") from error
                ran += 1
        finally:
            session.end()
            os.chdir(here)
    return ran, skipped


def pages(paths: list[str]) -> list[Path]:
    """Return the Markdown files among the paths and in the folders among them."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    return [page.resolve() for page in found]


def main(paths: list[str]) -> int:
    """Run all pages; 0 if every example holds."""
    broken = total = 0
    for page in pages(paths):
        try:
            ran, skipped = run_page(page)
        except BrokenExampleError as error:
            broken += 1
            print(f"broken example: {error}", file=sys.stderr)
            continue
        total += ran
        if ran or skipped:
            print(f"{page.name}: {ran} ran" + "".join(f"\n  not run, {reason}" for reason in skipped))
    print(f"docs: {total} examples ran, {broken} pages broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
