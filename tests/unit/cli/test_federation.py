"""Commands on the home of a node that runs in a real federation, and once it has stopped."""

import json
import re
import signal

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedanomaly.cli.output import size_text
from fedanomaly.cli.running import running_node
from fedanomaly.scoring import rehearsal
from fedanomaly.scoring.config import ScoringConfig
from fedanomaly.scoring.home import init_home
from fedanomaly.scoring.release import read_release
from tests.unit.coordinator.conftest import free_port
from tests.unit.node.federation import PASSPHRASE, payments, until
from tests.unit.scoring.conftest import Service, serve


@pytest.fixture
def home(trained):
    return trained.home.root


@pytest.fixture
def rows(tmp_path):
    pyarrow.csv.write_csv(payments(21, 400), tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


@pytest.fixture
def scoring(trained, tmp_path):
    """A service that runs, with the first node as its tenant."""
    key = trained.home.unlock(PASSPHRASE).public_key
    config = ScoringConfig(
        federation=trained.home.membership.federation.hex(), listen_port=free_port(), tenants={"north": key.hex()}
    )
    with serve(Service(init_home(tmp_path / "scoring", config), None, None, None)) as service:
        yield service


def uploaded(scoring):
    """Return what tenants sent to a service: who, and the model."""
    return [(tenant, model) for tenant in scoring.held.tenants for model in scoring.held.uploads.of(tenant)]


def test_training_shows_its_rounds_and_ends_with_a_model(fedanomaly, home):
    ran = fedanomaly("train", "payments", "--detector", "mahalanobis", "--model", "shown", "--home", home)

    assert re.search(
        r"^round 0  rows/all  accepted: \d numbers of north, east, south, \d+ B each$", ran.stderr, re.MULTILINE
    )
    assert ran.stderr.count("rows/all") == 1
    assert "accepted (trained), ready: north, east, south" in ran.stderr
    assert ran.stdout.startswith("model shown version 1: mahalanobis, ")


def test_training_tells_machines_everything(fedanomaly, home):
    asked = ["train", "payments", "--detector", "mahalanobis", "--param", "contamination=0.02", "--model", "told"]
    told = json.loads(fedanomaly(*asked, "--home", home, "--json").stdout)

    assert (told["state"], told["model_version"]) == ("accepted", 1)
    assert told["params"]["contamination"] == 0.02


def test_a_job_may_be_asked_for_and_followed_later(fedanomaly, home):
    asked = json.loads(
        fedanomaly(
            "train", "payments", "--detector", "mahalanobis", "--model", "later", "--no-wait", "--home", home, "--json"
        ).stdout
    )

    followed = fedanomaly("train", "--follow", asked["id"], "--home", home)
    assert "model later version 1" in followed.stdout

    again = fedanomaly("train", "--follow", asked["id"][:12], "--home", home)
    assert again.stdout == followed.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--follow", "x"], "fedanomaly node status lists them"),  # no digit of an id
        (["--follow", ""], "jobs begin with"),
        (["payments", "--follow", "0"], "either a data set or"),
        ([], "either a data set or"),
    ],
)
def test_only_one_known_job_is_followed(fedanomaly, home, arguments, said):
    assert said in fedanomaly("train", *arguments, "--home", home, code=1).stderr


def test_an_interrupted_wait_leaves_the_job_alone(start, home, trained):
    with start("train", "payments", "--detector", "mahalanobis", "--model", "cut", "--home", home) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "job" in first
    assert "--follow" in said
    assert "Traceback" not in said
    with trained.client() as node:
        until(lambda: "cut" in [model["name"] for model in node.models()])


def test_the_states_of_node_and_coordinator_are_told(fedanomaly, home, trained):
    assert "reached" in fedanomaly("node", "status", "--home", home).stdout
    told = json.loads(fedanomaly("node", "status", "--home", home, "--json").stdout)
    assert told["running"]
    assert told["epoch_state"] == "live"

    coordinator = trained.root / "coordinator"
    assert "3 of 3 members" in fedanomaly("coordinator", "status", "--home", coordinator).stdout
    told = json.loads(fedanomaly("coordinator", "status", "--home", coordinator, "--json").stdout)
    assert told["members"] == ["north", "east", "south"]


def test_models_are_listed_with_where_they_came_from(fedanomaly, home):
    assert "north, east, south" in fedanomaly("models", "--home", home).stdout
    assert "payments" in [model["name"] for model in json.loads(fedanomaly("models", "--home", home, "--json").stdout)]


def test_a_model_tells_whether_it_scores_on_ciphertexts(fedanomaly, home):
    said = fedanomaly("models", "show", "payments", "--home", home).stdout
    told = json.loads(fedanomaly("models", "show", "payments", "--home", home, "--json").stdout)
    assert (told["encrypted"] is None) == (told["why_not"] is not None)
    assert (told["why_not"] or "quadratic circuit") in said
    assert (told["hidden"] is None) == (told["why_not_hidden"] is not None)
    refused = fedanomaly("models", "--home", home, "show", "payments", code=2).stderr
    assert "put --home behind show" in " ".join(refused.split())


def test_a_model_without_a_circuit_says_so_once(fedanomaly, home):
    fedanomaly("train", "payments", "--detector", "hbos", "--model", "tables", "--home", home)
    said = fedanomaly("models", "show", "tables", "--home", home).stdout
    told = json.loads(fedanomaly("models", "show", "tables", "--home", home, "--json").stdout)
    assert (told["encrypted"], told["hidden"]) == (None, None)
    assert told["why_not"] == told["why_not_hidden"]
    assert said.splitlines()[1:] == [f"on ciphertexts: no. {told['why_not']}"]


def test_a_model_of_polynomials_tells_how_far_they_are_off(fedanomaly, home):
    params = ["--param", "polynomial=true", "--param", "n_projections=5"]
    fedanomaly("train", "payments", "--detector", "loda", "--model", "curves", *params, "--home", home)
    said = fedanomaly("models", "show", "curves", "--home", home).stdout
    shown = json.loads(fedanomaly("models", "show", "curves", "--home", home, "--json").stdout)
    told = shown["encrypted"]
    assert shown["hidden"] is None
    assert f"with the model hidden: no. {shown['why_not_hidden']}" in said
    assert "polynomial circuit cannot be hidden" in said
    assert "polynomial circuit, 5 forms" in said
    assert f"polynomial off by {told['approximation_error']:.2f} from" in said
    assert told["kind"] == "polynomial"
    assert 0 < told["approximation_error"] < 5


def test_a_model_tells_what_hiding_it_costs(fedanomaly, home, monkeypatch):
    fedanomaly("train", "payments", "--detector", "pca", "--model", "costly", "--home", home)
    said = fedanomaly("models", "show", "costly", "--home", home).stdout
    told = json.loads(fedanomaly("models", "show", "costly", "--home", home, "--json").stdout)
    hidden = told["hidden"]
    assert told["why_not_hidden"] is None
    assert f"with the model hidden: {hidden['forms']} forms come back for each event" in said
    assert f"{hidden['bytes_up_per_event']:.0f} up and {hidden['bytes_down_per_event']:.0f} down" in said
    assert f"before them {size_text(hidden['model_bytes'])} of model up" in said
    assert "measured" not in said
    monkeypatch.setattr(rehearsal, "HIDDEN_WEIGHTS", 1)
    said = fedanomaly("models", "show", "costly", "--home", home).stdout
    assert "measured   on its first 1 forms, and scaled up" in said


def test_a_service_scores_rows_that_it_does_not_see(fedanomaly, home, rows, scoring):
    fedanomaly("train", "payments", "--detector", "pca", "--model", "hidden", "--home", home)
    asked = ["score", "hidden", rows, "--encrypted", "--service", scoring.url, "--home", home]
    told = json.loads(fedanomaly(*asked, "--json").stdout)
    said = fedanomaly(*asked, "--evaluate", "--label", "fraud").stdout
    named = {"FEDANOMALY_POLICY_SCORE_REMOTELY": scoring.url}
    by_policy = fedanomaly("score", "hidden", rows, "--encrypted", "--home", home, "--json", **named).stdout
    local = json.loads(fedanomaly("score", "hidden", rows, "--home", home, "--json").stdout)
    assert np.allclose(told["scores"], local["scores"], rtol=5e-4, atol=5e-4)
    assert np.allclose(json.loads(by_policy)["scores"], local["scores"], rtol=5e-4, atol=5e-4)
    assert told["encrypted"]["batches"] == json.loads(by_policy)["encrypted"]["batches"] == 1
    assert "encrypted  1 batches" in said


def test_a_service_scores_with_a_model_that_it_does_not_see_either(fedanomaly, home, rows, scoring):
    fedanomaly("train", "payments", "--detector", "pca", "--model", "unseen", "--home", home)
    asked = ["score", "unseen", rows, "--encrypted", "--service", scoring.url, "--home", home]

    told = json.loads(fedanomaly(*asked, "--hide-model", "--json").stdout)
    said = fedanomaly(*asked, "--hide-model").stdout
    by_policy = fedanomaly(*asked, FEDANOMALY_POLICY_SCORE_REMOTELY_HIDE_MODEL="true").stdout

    assert {model.view(private=True).kind for _, model in uploaded(scoring)} == {"encrypted"}
    local = json.loads(fedanomaly("score", "unseen", rows, "--home", home, "--json").stdout)
    assert np.allclose(told["scores"], local["scores"], rtol=5e-4, atol=5e-4)
    (shape,) = {model.shape for _, model in uploaded(scoring)}
    assert told["encrypted"]["hidden_model_bytes"] == shape.model_bytes > 0
    assert "hidden     the model went up encrypted too" in said
    assert "hidden     the model went up encrypted too" in by_policy
    seen = json.loads(fedanomaly(*asked, "--json").stdout)["encrypted"]
    assert seen["hidden_model_bytes"] == 0


def test_polynomials_are_not_hidden_and_the_next_step_is_told(fedanomaly, home, rows, scoring):
    params = ["--param", "polynomial=true", "--param", "n_projections=5"]
    fedanomaly("train", "payments", "--detector", "loda", "--model", "unhidden", *params, "--home", home)
    asked = ["score", "unhidden", rows, "--encrypted", "--service", scoring.url, "--home", home]
    said = " ".join(fedanomaly(*asked, "--hide-model", code=1).stderr.split())
    assert "a model with a polynomial circuit cannot be hidden" in said
    assert "score without hiding it" in said
    assert uploaded(scoring) == []


def test_a_released_model_is_for_all_tenants_of_a_service(fedanomaly, trained, home, tmp_path):
    fedanomaly("train", "payments", "--detector", "pca", "--model", "released", "--home", home)
    federation, keystore = trained.home.membership.federation, trained.home.unlock(PASSPHRASE)

    told = json.loads(fedanomaly("models", "release", "released", "--to", tmp_path, "--home", home, "--json").stdout)
    said = fedanomaly("models", "release", "released", "--to", "other.release", "--home", home).stdout

    assert told["file"] == str(tmp_path / "released-1.release")
    assert (told["federation"], told["signer"]) == (federation.hex(), keystore.public_key.hex())
    assert {path.name for path in tmp_path.glob("*release*")} == {"released-1.release", "other.release"}
    assert f"signed by  {told['signer']}" in said
    file = (tmp_path / "released-1.release").read_bytes()
    assert file == (tmp_path / "other.release").read_bytes()
    found = read_release(file, federation=federation, releasers=[keystore.public_key])
    assert (found.name, found.version, found.circuit.digest.hex()) == ("released", 1, told["digest"])
    with running_node(trained.home) as node:
        detector = node.model("released").detector
    asked, _ = detector.encryptable().circuit().balanced()
    assert found.circuit.digest == asked.digest  # what an encrypted scorer asks for


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["payments", "--to", "payments.zip"], "does not end in .release"),
        (["payments", "--to", "nowhere/payments.release"], "there is no such folder"),
        (["unknown", "--to", "."], "no model unknown"),
        (["uncomputed", "--to", "."], "FA100"),
    ],
)
def test_what_cannot_be_released_leaves_no_file(fedanomaly, home, tmp_path, arguments, said):
    if arguments[0] == "uncomputed":
        fedanomaly("train", "payments", "--detector", "random_trees", "--model", "uncomputed", "--home", home)
    assert said in fedanomaly("models", "release", *arguments, "--home", home, code=1).stderr
    assert not list(tmp_path.glob("*release*"))


@pytest.mark.parametrize(
    "options",
    [["--encrypted"], ["--service", "http://127.0.0.1:1"], ["--encrypted", "--service", "http://127.0.0.1:1"]],
)
def test_encrypted_scoring_takes_a_service_and_a_file(fedanomaly, home, options):
    said = fedanomaly("score", "payments", *options, "--home", home, code=1).stderr
    assert re.search("takes --service and a FILE|serves --encrypted", said)


def test_hiding_the_model_wants_a_service(fedanomaly, home, rows):
    said = fedanomaly("score", "payments", rows, "--hide-model", "--home", home, code=1).stderr
    assert "--hide-model serves --encrypted" in said


def test_rows_are_scored_and_held_against_labels(fedanomaly, home, rows, tmp_path):
    said = fedanomaly("score", "payments", rows, "--home", home).stdout
    assert "rows       400" in said
    assert "the most anomalous rows" in said
    assert re.search(r"outlier +(amount|age) [\d.-]+ is [\d.]+ robust deviations above the median of ", said)

    told = json.loads(
        fedanomaly("score", "payments", rows, "--evaluate", "--label", "fraud", "--home", home, "--json").stdout
    )
    assert len(told["scores"]) == 400
    assert told["evaluation"]["auroc"] > 0.8
    assert told["outliers"] == sum(score > told["threshold"] for score in told["scores"])


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_scores_are_written_to_a_file(fedanomaly, home, rows, tmp_path, name):
    told = json.loads(fedanomaly("score", "payments", rows, "--out", name, "--home", home, "--json").stdout)

    assert "scores" not in told
    written = pyarrow.csv.read_csv(tmp_path / name) if name.endswith("csv") else pq.read_table(tmp_path / name)
    assert written.column_names == ["score", "prediction"]
    assert written["prediction"].to_pylist().count(-1) == told["outliers"]


def test_the_held_out_rows_need_no_file(fedanomaly, home):
    told = json.loads(fedanomaly("score", "payments", "--evaluate", "--home", home, "--json").stdout)

    assert told["rows"] == told["evaluation"]["rows"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["unknown", "rows.csv"], "no model unknown"),
        (["payments", "rows.csv", "--evaluate"], "--evaluate takes --label"),
        (["payments", "rows.csv", "--label", "fraud"], "--label serves --evaluate"),
        (["payments", "rows.csv", "--evaluate", "--label", "typo"], "no column typo"),
        (["payments", "rows.csv", "--evaluate", "--label", "note"], "no numbers"),
        (["payments", "missing.csv"], "no file"),
        (["payments", "rows.csv", "--out", "scores.xlsx"], "no kind"),
        (["payments", "empty.csv"], "no rows"),
    ],
)
def test_what_cannot_be_scored_is_said(fedanomaly, home, rows, arguments, said):
    (rows.parent / "empty.csv").write_text("amount,age,kind\n")

    assert said in fedanomaly("score", *arguments, "--home", home, code=1).stderr


def test_models_of_a_stopped_node_are_there_as_well(fedanomaly, trained, rows):
    (service, _) = trained.services
    until(service.models.newest)
    east = trained.homes[1].root

    assert "payments" in fedanomaly("models", "--home", east).stdout
    assert "rows       400" in fedanomaly("score", "payments", rows, "--home", east).stdout


def test_a_model_is_evaluated_with_the_federation(fedanomaly, home):
    said = fedanomaly("evaluate", "payments", "--budget", "0.05", "--home", home)
    assert re.search(r"^round 0  evaluation/histograms  accepted", said.stderr, re.MULTILINE)
    assert re.search(r"^quality    AUROC 0\.\d{4}( ±0\.\d{4})?, average precision 0\.\d{4}", said.stdout, re.MULTILINE)
    assert "5 % alerts" in said.stdout
    assert "drift      " in said.stdout

    told = json.loads(fedanomaly("evaluate", "payments", "--last", "--home", home, "--json").stdout)
    assert told["members"] == ["north", "east", "south"]
    assert told["budget"] == 0.005
    assert [band["upto"] for band in told["calibration"]][-1] == 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["unknown"], "no model unknown"),
        (["unknown", "--last"], "no evaluation unknown"),
        (["payments", "--last", "--version", "1"], "leave --version out"),
        (["payments", "--last", "--budget", "7"], "budget"),
    ],
)
def test_what_cannot_be_evaluated_is_said(fedanomaly, home, arguments, said):
    assert said in fedanomaly("evaluate", *arguments, "--home", home, code=1).stderr
