"""Runs the example notebooks and stores what they print; a test calls it with ``--check``.

    run_notebooks.py [--check] examples/*.ipynb

Every notebook runs from top to bottom in a fresh process, in a fresh folder, as
Jupyter would run it: what a cell prints is its output, and the value of its last
expression. Warnings are errors. With ``--check`` nothing is stored: the outputs of
the run are held against the stored ones. White space does not count, and a number
with decimals may differ by one in its last place, because processors add differently.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"[-+]?\d+\.(\d+)")
TIMEOUT_S = 300


class BrokenNotebookError(Exception):
    """A notebook does not run, or prints something else than it shows."""


def run(notebook: Path) -> list[dict[str, Any]]:
    """Return the code cells of a notebook with the outputs of a run.

    Raises
    ------
    BrokenNotebookError
        If a cell fails; what it says is told.
    """
    environment = {**os.environ, "COLUMNS": "80", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, "-W", "error", Path(__file__).resolve(), "--cells", notebook.resolve()],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
            timeout=TIMEOUT_S,
        )
    if ran.returncode:
        raise BrokenNotebookError(f"{notebook.name}: {ran.stderr}")
    return json.loads(ran.stdout)


def run_cells(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return code cells with the outputs that they have in this process."""
    names: dict[str, Any] = {"__name__": "__main__"}
    return [
        {**cell, "execution_count": number, "outputs": _outputs("".join(cell["source"]), number, names)}
        for number, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), start=1)
    ]


def _outputs(source: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value, where = io.StringIO(), None, f"<cell {number}>"
    with redirect_stdout(printed):
        exec(compile(tree, where, "exec"), names)  # noqa: S102 - the project's own examples
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)  # noqa: S307 - as above
    out: list[dict[str, Any]] = []
    if printed.getvalue():
        out.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        out.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return out


def text_of(cell: dict[str, Any]) -> str:
    """Return all that a cell shows, as text."""
    shown = [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]]
    return "".join("".join(lines) + "\n" for lines in shown)


def same(stored: str, found: str) -> bool:
    """Whether two texts say the same: all words, and numbers but for one in the last place."""
    left, right = (" ".join(text.split()) for text in (stored, found))
    if _NUMBER.sub("0.0", left) != _NUMBER.sub("0.0", right):
        return False
    return all(map(_near, _NUMBER.finditer(left), _NUMBER.finditer(right)))


def _near(left: re.Match[str], right: re.Match[str]) -> bool:
    places = len(left[1])
    return places == len(right[1]) and abs(float(left[0]) - float(right[0])) < 1.5 * 10.0**-places


def check(notebook: Path) -> None:
    """Run a notebook and hold its outputs against the stored ones.

    Raises
    ------
    BrokenNotebookError
        With the first cell that fails or shows something else.
    """
    stored = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    for cell, ran in zip(stored, run(notebook), strict=True):
        if not same(text_of(cell), text_of(ran)):
            where = f"{notebook.name}, cell {ran['execution_count']}"
            raise BrokenNotebookError(f"{where} shows:\n{text_of(cell)}and now gives:\n{text_of(ran)}")


def store(notebook: Path) -> None:
    """Run a notebook and write it again with the outputs.

    Raises
    ------
    BrokenNotebookError
        If a cell fails; the file stays as it was.
    """
    document = json.loads(notebook.read_text("utf-8"))
    ran = iter(run(notebook))
    document["cells"] = [next(ran) if cell["cell_type"] == "code" else cell for cell in document["cells"]]
    notebook.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run all notebooks; 0 if each ran, and with ``--check`` shows what it did."""
    if arguments[:1] == ["--cells"]:
        cells = json.loads(Path(arguments[1]).read_text("utf-8"))["cells"]
        print(json.dumps(run_cells(cells)))
        return 0
    broken = 0
    for notebook in map(Path, (name for name in arguments if name != "--check")):
        try:
            (check if "--check" in arguments else store)(notebook)
        except BrokenNotebookError as error:
            broken += 1
            print(f"broken notebook: {error}", file=sys.stderr)
        else:
            print(f"{notebook.name}: ran")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
