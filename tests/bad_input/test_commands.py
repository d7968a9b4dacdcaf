"""What is wrong with a file is said in one line with a code, and leaves the home as it was."""

import json
import re

import pytest

from tests.bad_input.tables import FILES, HEADER, ROW


def assert_is_clear(said, code):
    first, *rest = said.splitlines()
    assert re.fullmatch(rf"error {code}: \S.{{10,300}}", first)
    assert rest[-1] == f"more: fedanomaly explain {code}"
    assert "Traceback" not in said
    assert "private" not in said


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_changes(
    fedanomaly, node, schema, *, contents, tmp_path, name
):
    data, code, text = FILES[name]
    (tmp_path / name).write_bytes(data)
    before = contents(tmp_path)

    added = fedanomaly("data", "add", "payments", name, "--schema", schema, "--home", node, code=1)

    assert_is_clear(added.stderr, code)
    assert text in added.stderr
    assert added.stdout == ""
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", sorted(set(FILES) - {"header.csv", "late.csv"}))
def test_a_check_says_the_same(fedanomaly, schema, tmp_path, name):
    data, code, text = FILES[name]
    (tmp_path / name).write_bytes(data)

    said = fedanomaly("schema", "check", name, "--schema", schema, code=1).stderr

    assert_is_clear(said, code)
    assert text in said


def test_a_bad_second_file_leaves_the_first_data_set_alone(fedanomaly, node, schema, contents, tmp_path):
    (tmp_path / "good.csv").write_text(HEADER + ROW * 50)
    (tmp_path / "bad.csv").write_bytes(FILES["range.csv"][0])
    fedanomaly("data", "add", "payments", "good.csv", "--schema", schema, "--home", node)
    before = contents(node)

    fedanomaly("data", "add", "payments", "bad.csv", "--home", node, code=1)
    fedanomaly("data", "add", "payments", "good.csv", "--holdout", "bad.csv", "--home", node, code=1)

    assert contents(node) == before


@pytest.mark.parametrize("rows", [1, 50])
def test_one_row_and_columns_that_never_change_are_data(fedanomaly, node, schema, tmp_path, rows):
    (tmp_path / "same.csv").write_text(HEADER + ROW * rows)

    added = fedanomaly("data", "add", "same", "same.csv", "--schema", schema, "--home", node, "--json")

    told = json.loads(added.stdout)
    assert told["rows"] + told["holdout_rows"] == rows


def test_a_reading_that_is_no_number_is_missing_and_imputed(fedanomaly, node, schema, tmp_path):
    (tmp_path / "nan.csv").write_text(HEADER + ROW + ROW.replace("1.5", "nan") + ROW.replace("1.5", ""))

    added = fedanomaly("data", "add", "nan", "nan.csv", "--schema", schema, "--home", node, "--json")

    assert json.loads(added.stdout)["rows"] == 3


def test_more_than_ten_thousand_columns_are_too_many_and_said_at_once(fedanomaly, node, contents, tmp_path):
    names, values = ",".join(f"c{at}" for at in range(10_001)), ",".join("1" for _ in range(10_001))
    (tmp_path / "wide.csv").write_text(f"{names}\n{values}\n")
    before = contents(node)

    said = fedanomaly("data", "add", "wide", "wide.csv", "--home", node, code=1).stderr

    assert "error FA202: the schema gives 10001 features, more than 10000" in said
    assert contents(node) == before


def test_columns_that_the_schema_does_not_name_may_be_many(fedanomaly, node, schema, tmp_path):
    names, values = "".join(f",c{at}" for at in range(10_000)), ",1" * 10_000
    (tmp_path / "wide.csv").write_text(HEADER.strip() + f"{names}\n" + ROW.strip() + f"{values}\n")

    added = fedanomaly("data", "add", "wide", "wide.csv", "--schema", schema, "--home", node, "--json")

    assert json.loads(added.stdout)["columns"] == ["amount", "chip", "kind", "at"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("version = [\n", "FA202", "not TOML"),
        ("", "FA202", "a version and columns"),
        ('version = 9\n[[columns]]\nname = "a"\nkind = "numeric"\n', "FA202", "upgrade"),
        ('version = 1\n[[columns]]\nname = "a"\nkind = "colour"\n', "FA202", "use one of"),
        ('version = 1\n[[columns]]\nname = "a"\nkind = "numeric"\nlower = 2\nupper = 1\n', "FA202", "do not rise"),
        ("\xff", "FA202", "not UTF-8"),
    ],
)
def test_a_schema_that_is_none_is_refused(fedanomaly, node, contents, *, tmp_path, text, code, said):
    (tmp_path / "good.csv").write_text(HEADER + ROW)
    (tmp_path / "s.toml").write_bytes(text.encode("latin-1"))
    before = contents(node)

    refused = fedanomaly("data", "add", "p", "good.csv", "--schema", "s.toml", "--home", node, code=1).stderr

    assert_is_clear(refused, code)
    assert said in refused
    assert contents(node) == before


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("node.toml", "api_port = [", "node.toml"),
        ("node.toml", 'api_port = "many"', "api_port"),
        ("node.toml", "colour = 1", "colour"),
        ("keystore.json", "{", "keystore"),
        ("federation.json", "{", "federation.json"),
    ],
)
def test_a_home_with_a_broken_file_says_which(fedanomaly, node, file, text, said):
    (node / file).write_text(text)

    refused = fedanomaly("node", "run", "--home", node, code=1).stderr

    assert re.match(r"error FA10[01]: ", refused)
    assert said in refused


def test_a_folder_and_a_missing_file_are_told_apart(fedanomaly, node, schema, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    asked = ["--schema", schema, "--home", node]

    assert "folder.csv is a folder" in fedanomaly("data", "add", "p", "folder.csv", *asked, code=1).stderr
    assert "there is no file rows.csv" in fedanomaly("data", "add", "p", "rows.csv", *asked, code=1).stderr


@pytest.mark.parametrize("file", ["keystore.json", ""])
def test_a_home_that_others_may_change_is_not_used(fedanomaly, node, contents, file):
    (node / file).chmod(0o777)
    before = contents(node)

    said = fedanomaly("data", "list", "--home", node, code=1).stderr

    assert_is_clear(said, "FA101")
    assert "hint: run: chmod" in said
    assert contents(node) == before


def test_a_wrong_passphrase_changes_nothing(fedanomaly, node, schema, contents, tmp_path):
    (tmp_path / "good.csv").write_text(HEADER + ROW)
    before = contents(node)
    add = ["data", "add", "p", "good.csv", "--schema", schema, "--home", node]

    said = fedanomaly(*add, code=1, FEDANOMALY_PASSPHRASE="five words that are wrong").stderr

    assert_is_clear(said, "FA101")
    assert contents(node) == before


def test_a_failure_is_json_where_json_is_asked_for(fedanomaly, node):
    failed = fedanomaly("score", "nothing", "--home", node, "--json", code=1)

    told = json.loads(failed.stderr)["error"]
    assert failed.stdout == ""
    assert (told["code"], told["retry_is_safe"]) == ("FA404", False)
    assert told["message"]


def test_a_code_is_explained_without_a_network(fedanomaly):
    said = fedanomaly("explain", "fa302").stdout

    assert said.startswith("# FA302 RejectedError\n")
    assert "oracle" in said
    assert "error FA404: there is no code FA999" in fedanomaly("explain", "FA999", code=1).stderr
