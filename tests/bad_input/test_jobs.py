"""A job that cannot be: it ends void with a reason, the command fails, and no round has begun."""

import json
import re

import pytest

from tests.bad_input.tables import HEADER, ROW


@pytest.fixture
def home(trained):
    return trained.home.root


def test_with_too_few_members_a_job_ends_void_and_the_command_fails(fedanomaly, home, *, schema, tmp_path, trained):
    (tmp_path / "rows.csv").write_text(HEADER + ROW * 50)
    fedanomaly("data", "add", "nobody-else", "rows.csv", "--schema", schema, "--home", home)

    ran = fedanomaly("train", "nobody-else", "--detector", "mahalanobis", "--home", home, code=1)

    assert ran.stdout == ""
    assert re.search(r"(?m)^error FA600: .*1 members are ready .*, 3 are needed", ran.stderr)
    assert "east: FA402" in ran.stderr
    assert "\nhint: " in ran.stderr
    assert ran.stderr.endswith("\nmore: fedanomaly explain FA600\n")
    with trained.client() as node:
        assert "nobody-else" not in [model["name"] for model in node.models()]
        (job,) = [job for job in node.jobs() if job["model"] == "nobody-else"]
    assert (job["state"], job["rounds"]) == ("void", [])


def test_a_step_that_does_not_fit_is_found_before_its_round(fedanomaly, home, trained, monkeypatch):
    monkeypatch.setattr("fedanomaly.types.quantiser.MAX_FIELD_BITS", 20)

    asked = ["train", "payments", "--detector", "mahalanobis", "--model", "wide", "--home", home, "--json"]
    ran = fedanomaly(*asked, code=1)

    *_, last = ran.stderr.splitlines()
    error = json.loads(last)["error"]
    assert (ran.stdout, error["code"], error["retry_is_safe"]) == ("", "FA600", False)
    assert "FA303" in error["message"]
    with trained.client() as node:
        (job,) = [job for job in node.jobs() if job["model"] == "wide"]
    assert (job["state"], job["rounds"]) == ("void", [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "1000", "--members", "1000000"], "no preset holds entries of"),
        (["--rows", str(10**12), "--members", "5"], "at most 4294967295 rows"),
    ],
)
def test_the_cost_of_what_does_not_fit_is_no_number(fedanomaly, arguments, said):
    ran = fedanomaly("cost", "--features", "3", "--detector", "mahalanobis", *arguments, code=1)

    assert ran.stdout == ""
    assert ran.stderr.startswith("error FA303: ")
    assert said in ran.stderr
    assert "\nhint: " in ran.stderr
