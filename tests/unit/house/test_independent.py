"""The second implementation stands on its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "independent"
ALLOWED = {
    "__future__", "ast", "base64", "collections", "cryptography", "dataclasses", "functools", "hashlib", "hmac", "json",
    "math", "pathlib", "pytest", "subprocess", "sys", "types", "typing",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or ".")
    return names


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_it_imports_nothing_of_the_package_and_no_numpy(path):
    for name in imported(path):
        assert name.startswith("tests.independent") or name == "tests" or name.split(".")[0] in ALLOWED, name


def test_there_is_something_to_look_at():
    assert len(list(FOLDER.rglob("*.py"))) > 10
