"""The table in SECURITY.md names the test of every promise; a name that is gone promises nothing."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[3]
NAME = re.compile(r"`(test_\w+|Test\w+)`")


def test_every_test_that_the_security_page_names_exists():
    sources = [*PROJECT.glob("tests/**/test_*.py"), *PROJECT.glob("engine/**/*_test.go")]
    written = "\n".join(path.read_text() for path in sources)
    exist = set(re.findall(r"(?:def|func) ((?:test_|Test)\w+)\(", written))

    named = set(NAME.findall((PROJECT / "SECURITY.md").read_text()))

    assert len(named) > 30
    assert named - exist == set()
