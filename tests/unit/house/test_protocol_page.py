"""The specification lists what the code says, and both implementations speak the same messages."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from tests.independent.envelopes import BODIES
from tests.independent.envelopes import FROM_COORDINATOR as COORDINATOR
from tests.independent.packing import Layout
from tests.independent.rings import RINGS

from fedanomaly.protocol.messages import KINDS, Hash
from fedanomaly.protocol.transcript import FROM_COORDINATOR

PAGES = Path(__file__).parents[3] / "docs" / "explanation"
TYPES = {int: "int", bool: "truth", bytes: "bytes", str: "text", Hash: "hash", tuple[int, ...]: "indices"}


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def written() -> dict[str, tuple[bool, list[tuple[str, str]]]]:
    """Kind, whether the coordinator says it, and the items of every row of the table."""
    rows = {}
    for kind, mark, items in re.findall(r"^\| `([a-z-]+)`( C)? \| (.+?) \|", page("protocol.md"), flags=re.MULTILINE):
        found: list[tuple[str, str]] = []
        waiting: list[str] = []
        for name, type_ in re.findall(r"([a-z_]+)(?: \*([a-z]+)\*)?(?: \([^)]*\))?(?:, |$)", items):
            waiting.append(name)
            if type_:
                found += [(one, type_) for one in waiting]
                waiting = []
        assert not waiting, (kind, waiting)
        rows[kind] = (bool(mark), found)
    return rows


def spoken() -> dict[str, tuple[bool, list[tuple[str, str]]]]:
    found = {}
    for kind, message in KINDS.items():
        hints = get_type_hints(message, include_extras=True)
        items = [(field.name, TYPES.get(hints[field.name], "hashes")) for field in fields(message)]
        found[kind] = (issubclass(message, FROM_COORDINATOR), items)
    return found


def test_the_page_lists_every_message_with_its_items_in_order():
    assert written() == spoken()


def test_the_second_implementation_speaks_every_message():
    read = {kind: [tuple(entry.split(":")) for entry in items.split()] for kind, items in BODIES.items()}
    assert {kind: (kind in COORDINATOR, items) for kind, items in read.items()} == spoken()


@pytest.mark.parametrize("ring", RINGS.values(), ids=lambda ring: ring.degree)
def test_the_page_holds_the_numbers_of_both_rings(ring):
    text = page("protocol-arithmetic.md")
    assert ", ".join(map(str, ring.primes)) in text
    assert ", ".join(map(str, ring.roots)) in text
    (row,) = re.findall(rf"^\| k, N = {ring.degree} \| (.+) \|$", text, flags=re.MULTILINE)
    rosters = [(3, 2), (10, 2), (16, 9), (16, 15), (64, 20), (250, 2)]
    assert row.split(" | ") == [str(Layout(ring.degree, n, t, 20, 1).k) for n, t in rosters]


def test_the_tests_and_files_that_the_pages_name_exist():
    root = PAGES.parents[1]
    for name in ("protocol.md", "protocol-arithmetic.md", "protocol-argument.md"):
        for path in re.findall(r"`((?:tests|scripts|engine|docs)/[^` ]+)", page(name)):
            assert (root / path).exists(), path
