"""Schemas at the command line: what is proposed, and what does not fit."""

import json
import re


def test_every_misfit_is_listed_by_row_and_column_without_its_value(fedanomaly, tmp_path):
    (tmp_path / "s.toml").write_text(
        'version = 2\n[[columns]]\nname = "amount"\nkind = "numeric"\nlower = 0\n'
        '[[windows]]\nentity = "card"\ntime = "at"\nstatistics = ["count"]\nspans = ["1h"]\n'
    )
    rows = ["1,a,2026-01-01", "secret,a,2026-01-02", "-5,b,2026-01-01", "secret,b,yesterday", ",,"]
    (tmp_path / "bad.csv").write_text("amount,card,at\n" + "\n".join(rows) + "\n")
    check = ("schema", "check", "bad.csv", "--schema", "s.toml", "--first", "1")

    told = json.loads(fedanomaly(*check, "--json", code=1).stdout)
    said = fedanomaly(*check, code=1)

    assert [tuple(found.values()) for found in told["violations"]] == [
        ("amount", "is numeric, but holds text", 2, [1]),
        ("amount", "holds readings outside its bounds", 1, [2]),
        ("at", "is a time, but holds text", 1, [3]),
        ("at", "goes back by more than 1h", 1, [2]),
    ]
    assert re.search(r"amount +is numeric, but holds text +2 +1, …", said.stdout)
    assert said.stderr.startswith("error FA202: column 'amount' is numeric, but holds text; ")
    assert "; and 1 more" in said.stderr
    assert "secret" not in said.stdout + said.stderr


def test_windows_are_proposed_for_identifiers_and_added_if_asked(fedanomaly, tmp_path):
    rows = "".join(f"{at},c{at % 2},2026-01-01T10:0{at}:00\n" for at in range(6))
    (tmp_path / "rows.csv").write_text("amount,card_id,at\n" + rows)

    assert (
        "--windows adds counts, sums and times between rows of the same card_id"
        in fedanomaly("schema", "infer", "rows.csv").stderr
    )
    assert "[[windows]]" in fedanomaly("schema", "infer", "rows.csv", "--windows").stdout
