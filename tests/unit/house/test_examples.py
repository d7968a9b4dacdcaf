"""Every example in the documentation runs, and a broken one is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)


def run(page: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "run_examples.py", page], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if re.search("^```(python|console)", page.read_text("utf-8"), re.MULTILINE)],
    ids=lambda page: page.name,
)
def test_the_examples_of_a_page_run(page: Path) -> None:
    ran = run(page)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nassert 1 + 1 == 3\n```\n", "AssertionError"),
        ("```python\nx = 1\n```\n\nthen\n\n```python\nprint(y)\n```\n", "NameError"),
        ("```console\n$ echo one\ntwo\n```\n", "expected:"),
        ("```console\n$ echo one\none\n$ false\n```\n", "exit status 1"),
    ],
    ids=["assertion", "name", "output", "exit status"],
)
def test_a_broken_example_is_found(tmp_path: Path, text: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    ran = run(page)
    assert ran.returncode == 1
    assert complaint in ran.stderr


def test_blocks_of_a_page_follow_each_other(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nfrom pathlib import Path\nsize = Path('a').write_text('long text')\n```\n\n"
        "```console\n$ cat a\nlong ...\n$ echo two; \\\n> echo lines\ntwo\nlines\n```\n\n"
        "```python\nassert size == 9\n```\n\n"
        "<!-- not run: it would fail -->\n\n```python\nraise SystemExit\n```\n",
        encoding="utf-8",
    )
    ran = run(page)
    assert ran.returncode == 0, ran.stderr
    assert "3 ran" in ran.stdout
    assert "not run, page.md:22: it would fail" in ran.stdout
