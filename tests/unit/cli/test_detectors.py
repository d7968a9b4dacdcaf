"""`fedanomaly detectors`: lists, shows and checks what can be trained, other packages' too."""

import inspect
import json

import pytest

from fedanomaly.cli import cost, train
from fedanomaly.cli.costing import forecast
from fedanomaly.cli.described import described
from fedanomaly.cli.typical_costs import TYPICAL, TYPICAL_JOB
from fedanomaly.client import Client
from fedanomaly.detectors import from_params, registry
from tests.installed import installed_distribution


@pytest.fixture
def somebody_else(tmp_path_factory):
    with installed_distribution(tmp_path_factory.mktemp("installed")) as folder:
        yield folder


def test_every_detector_is_listed_with_what_it_takes(fedanomaly):
    told = json.loads(fedanomaly("detectors", "list", "--json").stdout)

    assert [entry["name"] for entry in told] == list(registry())
    assert all(entry["rounds"] > 2 and entry["max_upload_bytes_per_member"] > 10_000 for entry in told)
    assert {entry["name"] for entry in told if "labels" in entry["learns_from"]} == {
        "gradient_boosting",
        "logistic_regression",
    }
    said = fedanomaly("detectors", "list").stdout
    assert "Isolation forest whose trees" in said
    assert len(said.splitlines()) == 1 + len(told)


def test_what_is_listed_is_what_cost_tells():
    assert list(TYPICAL) == list(registry()), "run scripts/write_typical_costs.py"
    for name in ("mahalanobis", "hbos"):
        told = forecast(from_params(name), **TYPICAL_JOB)
        assert TYPICAL[name] == (round(told.rounds), told.most_rounds, told.upload_bytes)


@pytest.mark.parametrize("name", registry())
def test_every_detector_says_what_there_is_to_say(name):
    about = described(registry()[name])

    assert about.idea
    assert about.fails.startswith("It fails")
    assert about.cost
    assert about.sources
    assert [entry.name for entry in about.parameters if not (entry.meaning and entry.allowed)] == []
    assert {entry.name: entry.default for entry in about.parameters} == from_params(name).params()


def test_a_detector_is_shown_with_its_parameters(fedanomaly):
    said = fedanomaly("detectors", "show", "kmeans").stdout
    told = json.loads(fedanomaly("detectors", "show", "kmeans", "--json").stdout)

    assert said.startswith("kmeans: Clusters of the scaled rows")
    assert "It fails" in said
    assert "n_clusters" in said
    assert {entry["name"]: entry["free"] for entry in told["parameters"]} == {
        "contamination": True,
        "n_clusters": False,
        "n_rounds": False,
        "alpha": True,
        "measure": True,
    }
    assert "FA404" in fedanomaly("detectors", "show", "nothing", code=1).stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kmeans", "on ciphertexts: yes"),
        ("hbos", "on ciphertexts: no: its score looks up densities in histograms"),
        ("loda", "on ciphertexts: only with polynomial=true; else its score reads densities of projections in tables"),
        ("autoencoder", "on ciphertexts: only with polynomial=true; else its score cuts projections and rounds "),
    ],
)
def test_a_detector_tells_with_what_it_is_scored_on_ciphertexts(fedanomaly, name, said):
    assert said in fedanomaly("detectors", "show", name).stdout
    told = json.loads(fedanomaly("detectors", "show", name, "--json").stdout)
    assert (told["circuit_with"] == "polynomial=true") == ("only with" in said)


@pytest.mark.usefixtures("somebody_else")
def test_a_detector_of_another_package_is_listed_and_checked(fedanomaly):
    listed = {entry["name"]: entry for entry in json.loads(fedanomaly("detectors", "list", "--json").stdout)}
    assert (listed["theirs"]["package"], listed["theirs"]["rounds"]) == ("somebody_else", None)

    said = fedanomaly("detectors", "check", "theirs").stdout

    assert "ok      parts equal the whole\n" in said
    assert "ok      scikit-learn: " in said
    assert "BROKEN" not in said
    assert "theirs keeps the contract: " in said


@pytest.mark.usefixtures("somebody_else")
def test_a_detector_that_breaks_the_contract_is_told_where(fedanomaly):
    failed = fedanomaly("detectors", "check", "careless", "--no-scikit-learn", code=1)

    assert "BROKEN  local leaves rows alone: AssertionError: local leaves something on the detector\n" in failed.stdout
    assert "BROKEN  keeps no row: AssertionError: readings of training rows are on the detector" in failed.stdout
    assert "ok      merge is pure\n" in failed.stdout
    assert "error FA100: careless breaks " in failed.stderr
    told = fedanomaly("detectors", "check", "careless", "--no-scikit-learn", "--json", code=1).stdout
    assert {"keeps no row", "is documented"} <= {entry["check"] for entry in json.loads(told) if not entry["holds"]}


@pytest.mark.parametrize("call", [cost.cost, train.train, Client.train])
def test_the_ensemble_is_trained_unless_another_is_named(call):
    assert inspect.signature(call).parameters["detector"].default == "ensemble"
