"""Errors are an API: codes are stable, documented, and tell nothing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from fedanomaly import errors
from fedanomaly.errors import CertificateError, FedAnomalyError, StorageError, UnavailableError

ROOT = Path(__file__).parents[3]
CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, FedAnomalyError)]
CATALOGUED = [kind for kind in CLASSES if kind is not FedAnomalyError]


def drawn() -> dict[str, tuple[str, int]]:
    """Return name -> (code, depth) as the tree at the top of errors.py shows them."""
    lines = re.findall(r"^([│ ]*)[├└]── (\w+) +(FA\d{3})  \S", errors.__doc__ or "", re.MULTILINE)
    return {name: (code, len(indent) // 4 + 1) for indent, name, code in lines}


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"FA\d{3}", code) for code in codes)


def test_every_class_says_its_own_code_and_public_text() -> None:
    assert {kind.__name__ for kind in CLASSES if not {"code", "public"} <= set(vars(kind))} == set()


def test_the_tree_shows_the_classes_as_they_are() -> None:
    depth = {
        kind.__name__: sum(issubclass(above, FedAnomalyError) for above in kind.__mro__) - 1 for kind in CATALOGUED
    }
    assert drawn() == {kind.__name__: (kind.code, depth[kind.__name__]) for kind in CATALOGUED}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_code_is_documented(kind: type[FedAnomalyError]) -> None:
    page = (ROOT / "docs" / "reference" / "errors" / f"{kind.code}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {kind.code} {kind.__name__}\n")
    assert kind.public in page
    assert f"may be sent again: {'yes' if kind.retry_is_safe else 'no'}" in page
    assert re.search(r"## Typical causes\n\n- \S", page)
    assert re.search(r"## What to do\n\n1\. \S", page)
    assert re.search(
        rf"```text\nerror {kind.code}: \S.*\n(hint: \S.*\n)?more: fedanomaly explain {kind.code}\n```", page
    )


def test_there_is_no_page_without_a_code() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "reference" / "errors").glob("*.md")}
    assert pages - {"README"} == {kind.code for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_code_is_provoked_by_a_test(kind: type[FedAnomalyError]) -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    raised = rf"raises\((\(.*?)?\b(errors\.)?{kind.__name__}\b|error {kind.code}\b|[\"']{kind.code}[\"']"
    assert any(re.search(raised, text) for text in texts)


def test_only_what_may_be_sent_again_says_so() -> None:
    assert [kind for kind in CLASSES if kind.retry_is_safe] == [UnavailableError, CertificateError, StorageError]


def test_the_public_text_does_not_follow_the_message() -> None:
    for kind in CLASSES:
        error = kind("the passphrase is hunter2", hint="look here")
        assert "hunter2" not in error.public
        assert str(error).startswith(f"{kind.code}: ")
        assert str(error).endswith("(look here)")


def test_codes_are_given_in_the_catalogue_only() -> None:
    elsewhere = [path for path in (ROOT / "src" / "fedanomaly").rglob("*.py") if path.name != "errors.py"]
    giving = [
        path for path in elsewhere if re.search(r"""^    code\b.*= ["']FA""", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert giving == []
