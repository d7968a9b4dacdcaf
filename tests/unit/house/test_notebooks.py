"""Every example notebook runs and shows what it shows; a broken one is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedanomaly.simulation.comparison import NO_GAIN, NOTHING_WORKS, WORTH_IT

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "run_notebooks.py"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
CASES = {"payment-fraud", "account-abuse", "intrusion", "logs", "sensors"}
MOST_BYTES = 40_000


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    return json.loads(notebook.read_text("utf-8"))["cells"]


def shown_by(notebook: Path) -> str:
    outputs = [output for cell in cells_of(notebook) for output in cell.get("outputs", [])]
    return "\n".join("".join(output.get("text") or output["data"]["text/plain"]) for output in outputs)


def written(folder: Path, source: str, shown: str = "") -> Path:
    """Write a notebook of one code cell that shows a text."""
    outputs = [{"name": "stdout", "output_type": "stream", "text": [shown]}] if shown else []
    cell = {"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": outputs}
    notebook = folder / "one.ipynb"
    document = {"cells": [cell | {"source": [source]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook.write_text(json.dumps(document), encoding="utf-8")
    return notebook


def test_there_is_one_for_every_use_case() -> None:
    assert {notebook.stem for notebook in NOTEBOOKS} == CASES


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs_and_shows_what_is_stored(notebook: Path) -> None:
    ran = run("--check", notebook)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_has_the_form_4_5_and_stays_small(notebook: Path) -> None:
    document = json.loads(notebook.read_text("utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert document["metadata"]["language_info"] == {"name": "python"}
    fields = {"id", "cell_type", "metadata", "source"}
    for cell in document["cells"]:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == fields | code
        assert all(isinstance(line, str) for line in cell["source"])
    names = [cell["id"] for cell in document["cells"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert notebook.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_the_words_of_a_notebook_are_the_verdicts_that_it_shows(notebook: Path) -> None:
    verdicts = "|".join((WORTH_IT, NO_GAIN, NOTHING_WORKS))
    found = re.findall(f"^({verdicts}): ", shown_by(notebook), re.MULTILINE)
    text = "".join("".join(cell["source"]) for cell in cells_of(notebook) if cell["cell_type"] == "markdown")
    assert found
    assert re.findall(rf"\*\*({verdicts})\*\*", text) == found


@pytest.mark.parametrize(
    ("source", "shown", "complaint"),
    [
        ("1 / 0", "", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('odd')", "", "UserWarning: odd"),
        ("print('two')", "one\n", "now gives:\ntwo"),
        ("print('score 0.53')", "score 0.51\n", "now gives:\nscore 0.53"),
        ("print('0.5')", "0.50\n", "now gives:\n0.5"),
        ("print(-0.1)", "0.1\n", "now gives:\n-0.1"),
        ("print(3)", "2\n", "now gives:\n3"),
        ("'a value'", "", "now gives:\n'a value'"),
    ],
    ids=["error", "warning", "word", "number", "places", "sign", "whole number", "value"],
)
def test_a_broken_notebook_is_found(tmp_path: Path, source: str, shown: str, complaint: str) -> None:
    ran = run("--check", written(tmp_path, source, shown))
    assert ran.returncode == 1
    assert "broken notebook: one.ipynb" in ran.stderr
    assert complaint in ran.stderr


def test_a_number_may_differ_by_one_in_its_last_place_and_white_space_does_not_count(tmp_path: Path) -> None:
    ran = run("--check", written(tmp_path, "print('a  0.51 (-1.00 to 10.0) -0.01')", "a 0.50\n(-0.99 to 9.9) +0.00\n"))
    assert ran.returncode == 0, ran.stderr


def test_what_is_stored_is_what_a_cell_prints_and_its_last_value(tmp_path: Path) -> None:
    notebook = written(tmp_path, "from pathlib import Path\nprint('one')\nprint(list(Path().iterdir()))\n{'a': 1}")
    assert run(notebook).returncode == 0
    assert shown_by(notebook) == "one\n[]\n\n{'a': 1}"
    assert run("--check", notebook).returncode == 0


def test_a_notebook_that_fails_stays_as_it_was(tmp_path: Path) -> None:
    notebook = written(tmp_path, "print('new')\nraise SystemExit(3)", "old\n")
    before = notebook.read_bytes()
    assert run(notebook).returncode == 1
    assert notebook.read_bytes() == before
