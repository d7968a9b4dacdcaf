"""Commands as people type them: what they print, how they fail."""

import inspect
import json
import re

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedanomaly.cli import app
from fedanomaly.node.home import Home
from tests.unit.node.federation import CHEAP, PASSPHRASE, SCHEMA, payments


@pytest.fixture
def rows(tmp_path):
    pyarrow.csv.write_csv(payments(3, 300), tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


@pytest.fixture
def schema(tmp_path):
    (tmp_path / "payments.toml").write_text(SCHEMA.to_toml())
    return tmp_path / "payments.toml"


@pytest.fixture
def node(tmp_path):
    return Home.create(tmp_path / "home", PASSPHRASE, cost=CHEAP).root


def test_the_version_is_printed(process):
    assert re.fullmatch(r"fedanomaly \d+\.\d+\.\d+\n", process("--version").stdout)


def test_a_failure_ends_the_process_with_its_code_and_what_to_do(process):
    ran = process("node", "status", code=1)

    assert ran.stdout == ""
    assert re.fullmatch(
        r"error FA100: .*is not the home of a node\nhint: run: fedanomaly node init\nmore: fedanomaly explain FA100\n",
        ran.stderr,
    )


@pytest.mark.parametrize(
    "command",
    [
        "coordinator init", "coordinator invite", "coordinator run", "coordinator new-epoch", "coordinator status",
        "demo", "node init", "node enrol", "node run", "node status",
        "schema infer", "schema check", "data add", "data list", "train", "score", "evaluate", "models", "models show",
        "cost",
        "explain", "detectors list", "detectors show", "detectors check",
    ],
)  # fmt: skip
def test_every_command_helps_with_an_example(fedanomaly, command):
    said = fedanomaly(*command.split(), "--help").stdout

    assert "Example" in said
    assert f"fedanomaly {command}" in said


def test_a_scoring_service_without_a_federation_hears_where_its_identifier_stands(fedanomaly, tmp_path):
    said = fedanomaly("scoring", "init", tmp_path / "scoring", code=1).stderr
    assert "fedanomaly models release prints it" in said


def test_a_schema_is_proposed_checked_and_agreed(fedanomaly, rows, tmp_path):
    said = fedanomaly("schema", "infer", rows, "--label", "fraud", "--drop", "note", "--out", "s.toml")
    assert "3 columns, 4 features" in said.stdout
    assert "left out: note (dropped)" in said.stderr

    printed = fedanomaly("schema", "infer", rows, "--label", "fraud", "--drop", "note").stdout
    assert printed == (tmp_path / "s.toml").read_text()

    assert (
        "300 rows fit; 3 columns are used, ignored: note, fraud"
        in fedanomaly("schema", "check", rows, "--schema", "s.toml").stdout
    )
    told = json.loads(fedanomaly("schema", "check", rows, "--schema", "s.toml", "--json").stdout)
    assert told["columns"] == ["amount", "age", "kind"]


def test_rows_that_do_not_fit_are_told_by_column(fedanomaly, schema, tmp_path):
    (tmp_path / "bad.csv").write_text("amount,kind\n1.5,card\n")

    said = fedanomaly("schema", "check", "bad.csv", "--schema", schema, code=1).stderr

    assert said.startswith("error FA202: ")
    assert "'age'" in said


def test_a_file_without_rows_suggests_no_schema(fedanomaly, tmp_path):
    (tmp_path / "header.csv").write_text("amount,kind\n")

    assert "error FA200: the file has no rows" in fedanomaly("schema", "infer", "header.csv", code=1).stderr


def test_a_file_that_cannot_be_written_is_said(fedanomaly, rows):
    said = fedanomaly("schema", "infer", rows, "--out", "missing/s.toml", code=1).stderr

    assert "error FA100: missing/s.toml cannot be written: there is no such folder" in said


def test_a_schema_that_is_none_is_said(fedanomaly, rows):
    assert "no schema can be read" in fedanomaly("schema", "check", rows, "--schema", "missing.toml", code=1).stderr


def test_a_node_is_made_once(fedanomaly, tmp_path):
    told = json.loads(fedanomaly("node", "init", "--home", "n", "--json").stdout)
    assert (tmp_path / "n" / "keystore.json").stat().st_mode & 0o777 == 0o600
    assert len(told["identity"]) == 64

    said = fedanomaly("node", "init", "--home", "n", code=1).stderr
    assert said.startswith("error FA100: n is the home of a node already\nhint: choose another folder with --home\n")


def test_the_home_is_below_the_users_home_unless_told_otherwise(fedanomaly, tmp_path):
    fedanomaly("node", "init")
    fedanomaly("node", "init", FEDANOMALY_HOME=str(tmp_path / "other"))

    assert (tmp_path / ".fedanomaly" / "node" / "node.toml").exists()
    assert (tmp_path / "other" / "node.toml").exists()


def test_a_passphrase_may_come_from_a_private_file(fedanomaly, node, tmp_path):
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text(PASSPHRASE + "\n")

    fedanomaly("data", "list", "--home", node, "--passphrase-file", file, FEDANOMALY_PASSPHRASE="wrong wrong wrong")

    file.chmod(0o644)
    said = fedanomaly("data", "list", "--home", node, "--passphrase-file", file, code=1).stderr
    assert "others may read" in said
    assert (
        "passphrase file cannot be read"
        in fedanomaly("data", "list", "--home", node, "--passphrase-file", "missing", code=1).stderr
    )


def test_a_wrong_a_short_and_no_passphrase_are_refused(fedanomaly, node):
    assert "passphrase is wrong" in fedanomaly("models", "--home", node, FEDANOMALY_PASSPHRASE="x" * 20, code=1).stderr
    assert "at least 12" in fedanomaly("node", "init", "--home", "n", FEDANOMALY_PASSPHRASE="short", code=1).stderr
    assert "--passphrase-file" in fedanomaly("models", "--home", node, FEDANOMALY_PASSPHRASE=None, code=1).stderr


def test_no_option_takes_a_passphrase(fedanomaly):
    said = fedanomaly("node", "run", "--help").stdout

    assert not re.search(r"--passphrase(?!-file)", said)


def test_data_are_added_listed_and_recognised_again(fedanomaly, node, rows, schema):
    added = fedanomaly("data", "add", "payments", rows, "--schema", schema, "--label", "fraud", "--home", node)
    assert added.stdout.startswith("added    payments: ")
    assert "features amount, age, kind\nignored  note; label fraud lies apart" in added.stdout

    again = json.loads(fedanomaly("data", "add", "payments", rows, "--label", "fraud", "--home", node, "--json").stdout)
    assert not again["is_new"]
    assert (again["generation"], again["ignored"]) == (1, ["note"])

    (listed,) = json.loads(fedanomaly("data", "list", "--home", node, "--json").stdout)
    assert listed["rows"] + listed["holdout_rows"] == 300
    assert "payments" in fedanomaly("data", "list", "--home", node).stdout


def test_without_a_schema_one_is_inferred_and_said(fedanomaly, node, rows):
    added = fedanomaly("data", "add", "payments", rows, "--label", "fraud", "--drop", "note", "--home", node)

    assert "inferred from this file" in added.stderr
    assert "features amount, age, kind" in added.stdout


def test_rows_to_hold_out_may_come_from_a_file(fedanomaly, node, rows, schema, tmp_path):
    pq.write_table(payments(4, 50), tmp_path / "holdout.parquet")

    added = fedanomaly(
        "data", "add", "p", rows, "--schema", schema, "--holdout", "holdout.parquet", "--home", node, "--json"
    )

    told = json.loads(added.stdout)
    assert (told["rows"], told["holdout_rows"]) == (300, 50)


def test_a_column_is_either_used_or_left_out(fedanomaly, node, rows, schema):
    said = fedanomaly("data", "add", "p", rows, "--schema", schema, "--drop", "age", "--home", node, code=1).stderr

    assert "the schema has the column age" in said


def test_a_node_that_does_not_run_trains_nothing(fedanomaly, node):
    assert "no node runs" in fedanomaly("train", "payments", "--home", node, code=1).stderr
    said = fedanomaly("node", "status", "--home", node)
    assert "not running; not enrolled" in said.stdout
    assert f"fedanomaly node enrol INVITATION --home {node}" in said.stderr
    assert json.loads(fedanomaly("node", "status", "--home", node, "--json").stdout) == {
        "running": False,
        "organisation": None,
    }


def test_a_node_that_is_not_enrolled_does_not_run(process, node):
    assert "not enrolled" in process("node", "run", "--home", node, code=1).stderr


def test_empty_lists_say_what_to_do(fedanomaly, node):
    assert "fedanomaly data add" in fedanomaly("data", "list", "--home", node).stderr
    assert "fedanomaly train" in fedanomaly("models", "--home", node).stderr


def test_a_coordinator_is_made_and_invites(fedanomaly, tmp_path):
    made = fedanomaly("coordinator", "init", "--name", "watch", "--members", "3", "--home", "c", "--json")
    assert len(json.loads(made.stdout)["federation"]) == 64

    invited = fedanomaly("coordinator", "invite", "North Bank", "--home", "c")
    assert invited.stdout.startswith("fedanomaly-invite-")
    assert invited.stdout.count("\n") == 1
    assert "North Bank" in invited.stderr
    told = json.loads(fedanomaly("coordinator", "invite", "South", "--home", "c", "--json").stdout)
    assert told["organisation"] == "South"

    assert "has not run yet" in fedanomaly("coordinator", "status", "--home", "c", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--members", "3", "--listen", "7400"], "address and a port"),
        (["--members", "3", "--threshold", "3"], "threshold"),
        (["--members", "3", "--listen", "0.0.0.0:7400"], "TLS"),
    ],
)
def test_an_impossible_coordinator_is_refused(fedanomaly, arguments, said):
    assert said in fedanomaly("coordinator", "init", "--name", "w", "--home", "c", *arguments, code=1).stderr


def test_a_coordinator_beyond_this_machine_is_made_with_tls(fedanomaly, tmp_path):
    asked = ["--name", "w", "--members", "3", "--home", "c", "--listen", "0.0.0.0:7400", "--json"]
    told = fedanomaly("coordinator", "init", *asked, "--tls-certificate", "c.pem", "--tls-key", "k.pem").stdout

    assert json.loads(told)["url"] == "https://0.0.0.0:7400"
    assert f'tls_certificate = "{tmp_path / "c.pem"}"' in (tmp_path / "c" / "coordinator.toml").read_text()


@pytest.mark.parametrize("command", ["invite North", "run", "new-epoch", "status"])
def test_a_home_without_a_coordinator_is_said(fedanomaly, command):
    said = fedanomaly("coordinator", *command.split(), "--home", "nowhere", code=1).stderr

    assert said.startswith(
        "error FA100: there is no coordinator.toml in this home\nhint: run: fedanomaly coordinator init\n"
    )


def test_commands_are_listed_in_the_order_in_which_they_are_needed(fedanomaly):
    said = fedanomaly("--help").stdout

    listed = re.findall(r"^│ ([a-z]+) ", said, re.MULTILINE)
    assert listed == [
        "demo",
        "cost",
        "detectors",
        "explain",
        "coordinator",
        "node",
        "scoring",
        "doctor",
        "schema",
        "data",
        "train",
        "models",
        "score",
        "evaluate",
    ]


def test_no_line_of_help_is_too_long_for_a_narrow_terminal(fedanomaly):
    groups = {"": app, **{entry.name: entry.typer_instance for entry in app.registered_groups}}
    for group, commands in groups.items():
        for command in commands.registered_commands:
            text = inspect.getdoc(command.callback) or ""
            assert max(map(len, text.splitlines())) <= 78, f"{group} {command.name}"


def test_an_invitation_that_is_none_is_refused(fedanomaly, node):
    assert "there is no file x.invitation" in fedanomaly("node", "enrol", "x.invitation", "--home", node, code=1).stderr
    assert "an invitation starts with" in fedanomaly("node", "enrol", "nonsense", "--home", node, code=1).stderr
    assert "an invitation starts with" in fedanomaly("node", "enrol", "-", "--home", node, code=1).stderr


@pytest.mark.parametrize("detector", ["loda", "mahalanobis", "logistic_regression"])
def test_the_cost_of_a_job_is_known_before_it(fedanomaly, schema, detector):
    asked = ["cost", "--rows", "50000", "--detector", detector, "--members", "4", "--threshold", "3"]
    told = json.loads(fedanomaly(*asked, "--features", "4", "--json").stdout)

    assert told["steps"][0]["name"] == "rows/all"
    assert all(step["message_bytes"] > 0 and step["seconds"] > 0 for step in told["steps"])
    assert told["max_upload_bytes_per_member"] > 2 * told["contribution_bytes_per_member"]
    assert told["rounds_fewest"] <= told["rounds"] <= told["rounds_longest"] <= told["rounds_at_most"]
    said = fedanomaly(*asked, "--schema", schema).stdout
    assert re.search(rf"rounds +{told['rounds_fewest']}.* expected, at most {told['rounds_at_most']}", said)


def test_the_cost_may_follow_from_rows_of_a_file(fedanomaly, schema, rows):
    asked = ["cost", "--rows", "300", "--detector", "hbos", "--schema", schema, "--json"]
    normal = json.loads(fedanomaly(*asked).stdout)
    told = json.loads(fedanomaly(*asked, "--like", rows).stdout)

    # Of a column with two values nothing is refined.
    numbers = [[step["numbers"] for step in found["steps"]] for found in (normal, told)]
    assert numbers[0][:2] == numbers[1][:2]
    assert numbers[0][2] > numbers[1][2]
    asked[4] = "logistic_regression"
    marked = json.loads(fedanomaly(*asked, "--like", rows, "--label", "fraud").stdout)
    made_up = json.loads(fedanomaly(*asked, "--like", rows).stdout)
    assert marked["steps"][4]["numbers"] == made_up["steps"][4]["numbers"]
    assert marked["rounds"] <= marked["rounds_at_most"]
    assert "no column frau" in fedanomaly(*asked, "--like", rows, "--label", "frau", code=1).stderr
    assert "add --like" in fedanomaly("cost", "--rows", "9", "--features", "3", "--label", "fraud", code=1).stderr
    assert "add --schema" in fedanomaly("cost", "--rows", "9", "--features", "3", "--like", rows, code=1).stderr


def test_an_evaluation_costs_one_round(fedanomaly):
    told = json.loads(fedanomaly("cost", "--rows", "900", "--features", "4", "--evaluation", "--json").stdout)

    assert [step["name"] for step in told["steps"]] == ["evaluation/histograms"]
    assert (told["evaluation"], told["detector"], told["rounds_at_most"]) == (True, "ensemble", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rows", "10"],
        ["--rows", "10", "--features", "3", "--schema", "x.toml"],
        ["--rows", "10", "--features", "3", "--members", "3", "--threshold", "3"],
        ["--rows", "10", "--features", "3", "--param", "nonsense"],
        ["--rows", "10", "--features", "3", "--param", "contamination=often"],
        ["--rows", "10", "--features", "3", "--detector", "unknown"],
    ],
)
def test_a_cost_that_cannot_be_told_is_refused(fedanomaly, arguments):
    assert "error FA" in fedanomaly("cost", *arguments, code=1).stderr


def test_a_wrong_option_is_a_usage_error(fedanomaly):
    assert "No such option" in fedanomaly("cost", "--rowz", "3", code=2).stderr
