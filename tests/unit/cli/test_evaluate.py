"""What the command prints of an evaluation that has no figures, or no rows to compare with."""

import pytest

from fedanomaly.cli.evaluate import _show

TOLD = {
    "model": "m", "members": ["north", "east", "south"], "rows": 30, "anomalies": 0, "auroc": None, "drift": None,
    "drift_since": None,
}  # fmt: skip
SHIFTED = {"name": "amount", "psi": 1.5, "wasserstein": 2.25, "word": "shifted"}
STABLE = {"name": "age", "psi": 0.0, "wasserstein": 0.0, "word": "stable"}


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        (None, "no longer here"),
        ([STABLE], "like those of the others"),
        ([STABLE, SHIFTED], "1 of 2 differ here"),
    ],
)
def test_one_class_and_drift_are_said(capfd, drift, said):
    _show({**TOLD, "drift": drift})

    out, err = capfd.readouterr()
    assert "one class only" in err
    assert said in out + err
    assert ("amount" in out) == (drift == [STABLE, SHIFTED])


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        ([STABLE], "the rows of all members are like those evaluated on 2026-03-01 12:00"),
        ([SHIFTED], "1 of 1 moved since 2026-03-01 12:00 (all members together)"),
    ],
)
def test_what_moved_since_the_evaluation_before_is_said(capfd, moved, said):
    _show({**TOLD, "drift": [STABLE], "since": 1_772_366_400.0, "drift_since": moved})

    assert said in capfd.readouterr().out
