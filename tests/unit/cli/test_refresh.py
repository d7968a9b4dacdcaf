"""`fedanomaly train --refresh` against a real federation."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.sources import FileSource
from tests.unit.node.federation import SCHEMA, payments


@pytest.fixture
def add(federation, tmp_path):
    def added(name, *seeds):
        for at, (home, keystore) in enumerate(zip(federation.homes, federation.keystores, strict=True)):
            pq.write_table(pa.concat_tables([payments(10 * seed + at, 100) for seed in seeds]), tmp_path / "r.parquet")
            Datasets(home.root / "data", keystore).add(name, FileSource(tmp_path / "r.parquet"), Plan(schema=SCHEMA))

    return added


def test_new_rows_make_a_new_version_that_tells_its_parent(federation, fedanomaly, add):
    home = federation.home.root
    add("weekly", 1)
    fedanomaly("train", "weekly", "--detector", "mahalanobis", "--home", home)

    ran = fedanomaly("train", "weekly", "--refresh", "--home", home, code=1)
    assert "no rows that the model weekly does not know" in ran.stderr

    add("weekly", 1, 2)
    told = json.loads(fedanomaly("train", "weekly", "--refresh", "--half-life", "0.5", "--home", home, "--json").stdout)
    assert (told["state"], told["model"], told["model_version"]) == ("accepted", "weekly", 2)
    assert 0.99 < told["params"]["refresh"]["keep"] < 1.0
    with federation.client() as node:
        assert node.model("weekly").lineage["parent"]["version"] == 1

    add("weekly", 1, 2, 3)
    again = fedanomaly("train", "weekly", "--model", "weekly", "--refresh", "--home", home)
    assert again.stdout.startswith("model weekly version 3: mahalanobis, ")


def test_rows_that_were_summed_in_parts_are_trained_on_together_by_the_same_members_only(federation, fedanomaly, add):
    """First rows, new ones, all of them; then one member has more, which alone would be the difference."""
    home = federation.home.root
    add("grown", 5)
    fedanomaly("train", "grown", "--detector", "mahalanobis", "--home", home)
    add("grown", 5, 6)
    fedanomaly("train", "grown", "--refresh", "--home", home)

    told = json.loads(fedanomaly("train", "grown", "--detector", "pca", "--home", home, "--json").stdout)
    assert told["state"] == "accepted"

    last = Datasets(federation.homes[-1].root / "data", federation.keystores[-1])
    more = pa.concat_tables([payments(seed, 100) for seed in (52, 62, 72)])
    pq.write_table(more, home.parent / "more.parquet")
    last.add("grown", FileSource(home.parent / "more.parquet"), Plan(schema=SCHEMA))
    ran = fedanomaly("train", "grown", "--detector", "pca", "--home", home, code=1)
    assert "FA408 earlier sums over these rows were over other members; new rows of everybody are needed" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--refresh", "--detector", "loda"], "--refresh goes without --detector"),
        (["--refresh", "--param", "contamination=0.1"], "--refresh goes without --param"),
        (["--half-life", "3"], "--half-life goes with --refresh only"),
        (["--refresh", "--half-life", "0"], "half_life_days"),
        (["--refresh", "--model", "nothing"], "this node has no model nothing"),
    ],
)
def test_a_refresh_that_makes_no_sense_is_refused(trained, fedanomaly, arguments, said):
    assert said in fedanomaly("train", "payments", *arguments, "--home", trained.home.root, code=1).stderr


def test_a_model_of_another_data_set_is_not_refreshed(trained, fedanomaly):
    asked = ["train", "other", "--model", "payments", "--refresh", "--home", trained.home.root]
    assert "was trained on the data set payments, not on other" in fedanomaly(*asked, code=1).stderr
