"""The list of defences that `make mutants-security` takes out fits the code, the tests and SECURITY.md."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
GO_TEST = re.compile(r"func (Test\w+)\(")


def listed():
    spec = importlib.util.spec_from_file_location("mutants_security", PROJECT / "scripts" / "mutants_security.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MUTANTS = listed()
DEFENCES = MUTANTS.load()


def test_defences_have_names_of_their_own():
    names = [entry.name for entry in DEFENCES]
    assert len(names) == len(set(names)) > 90


def test_every_rule_of_a_node_has_its_defences():
    rules = {entry.rule for entry in DEFENCES}
    assert {f"rule {number}" for number in range(1, 7)} <= rules


@pytest.mark.parametrize("entry", DEFENCES, ids=lambda entry: entry.name)
def test_the_text_of_a_defence_stands_in_its_file_once_and_its_tests_exist(entry):
    for edit in entry.edits:
        assert (PROJECT / edit.file).read_text().count(edit.old) == 1, edit.file
        assert edit.old != edit.new
    for test in entry.tests:
        if test.startswith("engine/"):
            package, _, name = test.partition(":")
            written = "".join(path.read_text() for path in (PROJECT / package).glob("*_test.go"))
            assert name in GO_TEST.findall(written)
        else:
            path, _, name = test.partition("::")
            written = (PROJECT / path).read_text()
            assert re.search(rf"def {re.escape(name.partition('[')[0].rpartition('::')[2])}\(", written), test


def test_the_security_page_shows_the_list():
    assert MUTANTS.table(DEFENCES) in (PROJECT / "SECURITY.md").read_text()
