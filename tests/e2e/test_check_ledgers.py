"""The reader of ledgers finds nothing after a clean run, and whatever was changed afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from scripts.check_ledgers import violations

from fedanomaly.node.home import Home
from fedanomaly.protocol.messages import Statement
from fedanomaly.storage import SealedRows
from tests.e2e.nursery import Nursery
from tests.e2e.realm import PASSPHRASE, Realm

NAMES = ("north", "south", "west")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    with Nursery(folder) as nursery:
        realm = Realm(nursery, NAMES)
        realm.found(dict.fromkeys(NAMES, realm.port))
        realm.start_nodes()
        realm.live()
        job = realm.train("north")
        assert realm.ended("north", job)["state"] == "accepted"
        for name in NAMES:
            realm.kept(name, job)
        realm.stop()
    return folder


@pytest.fixture
def homes(finished, tmp_path):
    for name in ("coordinator", *NAMES):
        shutil.copytree(finished / name, tmp_path / name, symlinks=True)
    return tmp_path


def found(homes) -> list[str]:
    return list(violations(homes / "coordinator", [homes / name for name in NAMES], PASSPHRASE))


def ledger(homes, name: str) -> SealedRows:
    keystore = Home(homes / name).unlock(PASSPHRASE)
    return SealedRows(homes / name / "rows.sqlite", keystore.key_for("ledger"))


def change(homes, kind: str, key: bytes, value: bytes) -> None:
    with ledger(homes, "north") as rows:
        rows.erase(kind, key)
        rows.put([(kind, key, value)])


def test_a_clean_run_breaks_nothing(homes):
    assert found(homes) == []


def test_another_statement_in_a_ledger_is_found(homes):
    with ledger(homes, "north") as rows:
        key, _ = next(iter(rows.all("statement")))
    change(homes, "statement", key, Statement(manifest=key, opens=False, contributors=()).to_bytes())
    assert any("another statement" in line for line in found(homes))


def test_another_accepted_round_is_found(homes):
    with ledger(homes, "north") as rows:
        key, _ = next(iter(rows.all("accepted")))
    change(homes, "accepted", key, bytes(32))
    assert any("as accepted" in line for line in found(homes))


def test_a_nonce_that_was_spent_twice_is_found(homes):
    with ledger(homes, "north") as rows:
        (first, _), (_, other) = list(rows.all("spent"))[-2:]
    change(homes, "spent", first, other)
    assert any("nonce" in line for line in found(homes))


def test_a_missing_contribution_and_a_missing_entry_are_found(homes):
    for blob in (homes / "coordinator" / "blobs" / "kept").rglob("*"):
        if blob.is_file():
            blob.unlink()
    with closing(sqlite3.connect(homes / "coordinator" / "coordinator.sqlite")) as db:
        db.execute("DELETE FROM envelopes WHERE seq = 20")
        db.commit()
    lines = found(homes)
    assert any("not there" in line for line in lines)
    assert any("does not fold" in line for line in lines)
