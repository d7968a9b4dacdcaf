"""What is pinned in two places is pinned to the same, and locks name no host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_build_hook_takes_the_locked_go() -> None:
    (pinned,) = re.findall(r'^GO_FROM_PYPI = "(.+)"$', text("scripts/build_engine.py"), re.MULTILINE)
    assert pinned == text("requirements/go.in").strip()


def test_the_build_hook_and_the_module_want_the_same_go() -> None:
    (wanted,) = re.findall(r"^GO_AT_LEAST = \((\d+), (\d+)\)$", text("scripts/build_engine.py"), re.MULTILINE)
    (declared,) = re.findall(r"^go (\d+)\.(\d+)", text("engine/go.mod"), re.MULTILINE)
    assert wanted == declared


def test_the_locked_build_backend_is_the_declared_one() -> None:
    (backend,) = tomllib.loads(text("pyproject.toml"))["build-system"]["requires"]
    assert f"\n{backend} " in text("requirements/dev.txt")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_requirement_has_hashes_and_no_host(lock: Path) -> None:
    content = lock.read_text(encoding="utf-8")
    assert "://" not in content
    requirements = re.split(r"\n(?=[a-z])", content.strip())
    assert requirements
    assert all(re.match(r"[a-z0-9._-]+==\S+.*--hash=sha256:[0-9a-f]{64}", entry, re.DOTALL) for entry in requirements)


def test_every_dependency_of_the_package_is_locked() -> None:
    names = [re.split(r"[\[>=<]", line)[0] for line in tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]]
    locked = set(re.findall(r"^([a-z0-9._-]+)==", text("requirements/dev.txt"), re.MULTILINE))
    assert set(names) <= locked
