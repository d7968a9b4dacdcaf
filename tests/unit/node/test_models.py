import msgspec
import numpy as np
import pytest

from fedanomaly.errors import DataError, KeystoreError, NotFoundError
from fedanomaly.node.models import Lineage, ModelStore, RoundLineage
from fedanomaly.types import State

STATE = State("loda", 1, {"bins": 10}, {"counts": np.arange(6).reshape(2, 3)})


def lineage(name="payments", request="11" * 16):
    return Lineage(
        name=name,
        version=0,
        request=request,
        epoch="00" * 32,
        job=1,
        detector="loda",
        detector_version=1,
        params={"bins": 10},
        dataset="payments",
        schema="{}",
        schema_digest="00" * 32,
        requested_by="north bank",
        rounds=[RoundLineage(step=0, members=["north bank"], message_bytes=1000)],
        started_at=1.0,
        ended_at=2.0,
    )


@pytest.fixture
def store(tmp_path, keystore):
    return ModelStore(tmp_path / "models", keystore)


def test_a_model_comes_back_with_its_lineage(store):
    kept = store.add(lineage(), STATE)

    model = store.load("payments")
    assert model.lineage == kept == msgspec.structs.replace(lineage(), version=1)
    assert model.state.to_bytes() == STATE.to_bytes()


def test_the_newest_version_is_used_and_the_older_one_stays(store):
    store.add(lineage(), STATE)
    store.add(lineage(request="22" * 16), STATE)

    assert store.load("payments").lineage.version == 2
    assert store.load("payments", 1).lineage.request == "11" * 16


def test_the_model_of_one_job_is_kept_once(store):
    store.add(lineage(), STATE)
    again = store.add(lineage(), STATE)

    assert again.version == 1
    assert store.has("payments", "11" * 16)
    assert len(store.newest()) == 1


def test_the_list_has_the_newest_of_every_name(store):
    for name, request in (("b", "11" * 16), ("a", "22" * 16), ("b", "33" * 16)):
        store.add(lineage(name, request), STATE)

    assert [(entry.name, entry.version) for entry in store.newest()] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("version", [None, 7])
def test_an_unknown_model_is_not_found(store, version):
    with pytest.raises(NotFoundError):
        store.load("payments", version)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_name_that_is_no_file_name_is_refused(store, name):
    with pytest.raises(DataError):
        store.add(lineage(name), STATE)


def test_a_model_shows_nothing_on_the_disk(store, tmp_path):
    store.add(lineage(), STATE)
    (path,) = (tmp_path / "models" / "payments").iterdir()

    raw = path.read_bytes()
    assert b"north bank" not in raw
    assert STATE["counts"].tobytes() not in raw
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_renamed_or_changed_file_does_not_open(store, tmp_path):
    store.add(lineage(), STATE)
    (path,) = (tmp_path / "models" / "payments").iterdir()
    path.rename(path.with_name(path.name.replace("000001", "000002")))

    with pytest.raises(KeystoreError):
        store.load("payments")


def test_another_keystore_does_not_open_it(store, tmp_path, other_keystore):
    store.add(lineage(), STATE)

    with pytest.raises(KeystoreError):
        ModelStore(tmp_path / "models", other_keystore).load("payments")
