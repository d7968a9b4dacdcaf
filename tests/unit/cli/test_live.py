import io

import pyarrow as pa
import pytest
from rich.console import Console

from fedanomaly.cli.evaluation import evaluate
from fedanomaly.cli.live import JobView, Lines, who
from fedanomaly.cli.output import size_text
from fedanomaly.errors import DataError


def entry(**changes):
    told = {
        "round": 0, "step": 0, "step_name": None, "state": "announced", "reason": "", "fields": 12_000,
        "message_bytes": 33_500, "joined": [], "contributed": [], "contributors": [], "decryptors": [], "opened_by": [],
    }  # fmt: skip
    return told | changes


def told(state="running", rounds=(), **changes):
    return {
        "id": "ab" * 16,
        "state": state,
        "reason": "",
        "ready": [],
        "declined": {},
        "rounds": list(rounds),
        **changes,
    }


def test_the_picture_shows_steps_states_sizes_and_who():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)

    with JobView(console) as view:
        view.show(told())
        view.show(told(rounds=[entry(step_name="scale/0", state="collecting", joined=["north", "east"])]))

    shown = console.file.getvalue()
    assert "job abababababab running" in shown
    for text in ("scale/0", "12,000", "33.5 KB", "collecting", "joined north, east"):
        assert text in shown


def test_the_picture_says_who_is_awaited():
    collecting = entry(state="collecting", joined=["north", "east"], contributed=["north"], decryptors=["north"])
    opening = collecting | {"state": "opening", "contributed": ["north", "east"], "opened_by": ["east"]}

    assert who(collecting) == "contributed north; waiting for east"
    assert who(opening) == "opened by east; waiting for north"


def test_a_finished_round_is_one_line_and_said_once():
    console = Console(file=io.StringIO(), width=200)
    lines = Lines(console)
    everyone = {"joined": ["north", "west"], "decryptors": ["north", "west"]}
    done = entry(step_name="scale/0", contributed=["north"], contributors=["north"], opened_by=["north"], **everyone)

    lines.show(told("waiting"))
    for state in ("collecting", "opened", "accepted", "accepted"):
        lines.show(told(declined={"east": "FA402 refused"}, rounds=[done | {"state": state}]))
    failed = entry(round=1, state="void", reason="too few members joined")
    lines.show(told("void", rounds=[failed], reason="too few members"))

    assert console.file.getvalue().splitlines() == [
        "job abababababab waiting",
        "job abababababab running",
        "job abababababab east declined: FA402 refused",
        "round 0  scale/0  accepted: 12,000 numbers of north, 33.5 KB each; nothing from west",
        "round 1  step 0  void (too few members joined)",
        "job abababababab void (too few members)",
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (33_520, "33.5 KB"), (2.5e6, "2.5 MB"), (7e12, "7000.0 GB")]
)
def test_sizes_are_for_people(size, text):
    assert size_text(size) == text


def test_recall_counts_what_fits_into_the_budget():
    scores, labels = [float(at) for at in range(200)], [0] * 198 + [1, 2]

    found = evaluate(pa.array(scores).to_numpy(), pa.array(labels))

    assert found["auroc"] == found["average_precision"] == 1.0
    assert (found["recall_at_budget"], found["anomalies"]) == (0.5, 2)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [0, None], ["a", "b"]])
def test_labels_that_tell_nothing_are_refused(labels):
    with pytest.raises(DataError):
        evaluate(pa.array([1.0, 2.0]).to_numpy(), pa.array(labels))
