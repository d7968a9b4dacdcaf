"""The table in SECURITY.md names the tests of every promise, rule and check; a name that is gone promises nothing."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
NAME = re.compile(r"`(test_\w+|Test\w+)`")
PAGE = (PROJECT / "SECURITY.md").read_text()

PARTIES = {
    "coordinator": "the coordinator",
    "member organisation": "a member organisation",
    "up to t - 1 members together with the coordinator": "up to t - 1 members",
    "outsider": "an outsider",
}
"""Who learns what (DESIGN.md, section 2), and how its row in the table of tests begins."""

CHECKS = (
    "a key share opens for its receiver",
    "the key epoch id",
    "key shares lie on one polynomial",
    "the manifest is that of the epoch",
    "sets are increasing",
    "settings and policy are not lowered",
    "the roster names every member once",
    "nothing of one round, job or key epoch",
    "a missing, replaced, scaled or bent",
    "a post is its sender's",
    "a quorum of equal votes",
)
"""What the protocol has checked beyond the rules of a node (CRYPTO.md, section 2)."""


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without their head."""
    part = PAGE[PAGE.index(f"## {heading}") :].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


PROMISES = table("Each promise, and the test that would fail without it")


def named_for(start: str) -> set[str]:
    """Return the tests in all rows that begin so."""
    return {name for row in PROMISES if row[0].startswith(start) for name in NAME.findall(row[1])}


def test_every_test_that_the_security_page_names_exists():
    sources = [*PROJECT.glob("tests/**/test_*.py"), *PROJECT.glob("engine/**/*_test.go")]
    written = "\n".join(path.read_text() for path in sources)
    exist = set(re.findall(r"(?:def|func) ((?:test_|Test)\w+)\(", written))

    named = set(NAME.findall(PAGE))

    assert len(named) > 100
    assert named - exist == set()


def test_every_row_names_a_test_or_says_that_the_thing_is_not_there_yet():
    without = [row[0] for row in PROMISES if not NAME.search(row[1])]

    assert len(PROMISES) > 30
    assert [name for name in without if name != "a scoring service learns no event and no score"] == []


def test_every_party_of_the_promise_has_its_tests():
    promised = {row[0] for row in table("The promise")}

    assert promised == set(PARTIES)
    assert {start for start in PARTIES.values() if len(named_for(start)) < 2} == set()


@pytest.mark.parametrize("rule", range(1, 7))
def test_every_rule_has_its_tests(rule):
    assert len(named_for(f"rule {rule}: ")) >= 2


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_of_the_protocol_has_its_tests(check):
    assert len(named_for(f"check: {check}")) >= 2


def test_there_is_a_row_for_every_check_and_no_other_check():
    rows = [row[0].removeprefix("check: ") for row in PROMISES if row[0].startswith("check: ")]

    assert len(rows) == len(CHECKS)
    assert all(any(row.startswith(check) for check in CHECKS) for row in rows)


def test_every_adversary_has_its_place_on_the_page():
    """A file of attacks of which the page names no test proves something that nobody is told."""
    silent = [
        path.name
        for path in (PROJECT / "tests" / "attacks").glob("test_*.py")
        if not set(re.findall(r"def (test_\w+)\(", path.read_text())) & set(NAME.findall(PAGE))
    ]

    assert silent == []
