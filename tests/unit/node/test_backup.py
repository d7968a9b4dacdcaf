"""A node's backup holds sealed things only, and what is restored from it is a clone."""

from __future__ import annotations

import fcntl
import sqlite3
import tarfile
from contextlib import closing

import pyarrow.parquet as pq
import pytest

from fedanomaly.errors import ConfigError, DataError, KeystoreError, RefusedError
from fedanomaly.node.backup import Restored, back_up, restore, restored
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.registry import Registry
from fedanomaly.node.sources import FileSource
from fedanomaly.protocol.rules import Ledger
from fedanomaly.storage import SealedRows
from fedanomaly.storage.archive import write_backup
from tests.unit.node.federation import PASSPHRASE, SCHEMA, payments


def add(home, keystore, folder, seed, name="payments"):
    pq.write_table(payments(seed), folder / "rows.parquet")
    source = FileSource(folder / "rows.parquet")
    return Datasets(home.root / "data", keystore).add(name, source, Plan(schema=SCHEMA, label="fraud")).snapshot


@pytest.fixture
def keystore(home, passphrase):
    return home.unlock(passphrase)


@pytest.fixture
def kept(home, keystore, tmp_path):
    """A home with a data set, a few rows of every kind, and secrets of a key epoch."""
    add(home, keystore, tmp_path, 1)
    with SealedRows(home.root / "rows.sqlite", keystore.key_for("ledger")) as rows:
        rows.put([(kind, b"key", f"value of {kind}".encode()) for kind in ("join", "frozen", "deal", "statement")])
    (home.root / "epochs" / "ab.sealed").write_bytes(b"secrets of an epoch")
    return home


@pytest.fixture
def backup(kept, tmp_path):
    back_up(kept, tmp_path / "node.backup")
    return tmp_path / "node.backup"


def test_a_backup_leaves_out_epoch_secrets_the_token_and_what_may_not_be_used_again(backup, kept, tmp_path):
    with tarfile.open(backup) as tar:
        names = set(tar.getnames())
        tar.extract("rows.sqlite", tmp_path / "out", filter="data")
    with closing(sqlite3.connect(tmp_path / "out" / "rows.sqlite")) as rows:
        kinds = {kind for (kind,) in rows.execute("SELECT kind FROM rows")}

    assert {"keystore.json", "node.toml", "policy.toml", "rows.sqlite", "data/registry.sealed"} <= names
    assert not {name for name in names if name.startswith(("epochs", "token", "lock", "address"))}
    assert {"join", "statement"} <= kinds
    assert kinds.isdisjoint({"frozen", "deal"})
    whole = backup.read_bytes()
    assert b"secrets of an epoch" not in whole
    assert kept.token.encode() not in whole
    # They are still in the home itself.
    with closing(sqlite3.connect(kept.root / "rows.sqlite")) as rows:
        assert {"frozen", "deal"} <= {kind for (kind,) in rows.execute("SELECT kind FROM rows")}


def test_no_plain_row_or_key_is_in_a_backup(backup, kept, keystore):
    whole = backup.read_bytes()

    assert keystore._data_key not in whole
    assert keystore._identity.private_bytes_raw() not in whole
    assert PASSPHRASE.encode() not in whole
    assert payments(1).column("amount").to_numpy()[:2].tobytes() not in whole
    assert b"note 17" not in whole


def test_what_is_restored_opens_with_the_passphrase_and_has_a_token_of_its_own(backup, kept, passphrase, tmp_path):
    made = restore(backup, tmp_path / "new", passphrase)

    keystore = made.unlock(passphrase)
    assert keystore.public_key == kept.unlock(passphrase).public_key
    assert Datasets(made.root / "data", keystore).list()[0].name == "payments"
    assert made.token != kept.token
    assert list((made.root / "epochs").iterdir()) == []
    assert made.root.stat().st_mode & 0o077 == 0


def test_a_restored_node_joins_with_no_rows_of_the_backup_under_any_name_and_with_new_ones(
    backup, passphrase, tmp_path
):
    made = restore(backup, tmp_path / "new", passphrase)
    keystore = made.unlock(passphrase)
    old = Datasets(made.root / "data", keystore).newest("payments")
    again = add(made, keystore, tmp_path, 1, name="other")
    new = add(made, keystore, tmp_path, 2)

    with SealedRows(made.root / "rows.sqlite", keystore.key_for("ledger")) as rows:
        ledger = Ledger(rows, b"")
        for snapshot in (old, again):
            with pytest.raises(RefusedError, match="restored or copied"):
                ledger._refuse_clone(snapshot.generation)
        ledger._refuse_clone(new.generation)


def test_no_generation_is_given_out_twice_however_often_a_backup_is_restored(
    backup, kept, keystore, passphrase, tmp_path
):
    lost = [add(kept, keystore, tmp_path, seed).generation for seed in (2, 3, 4)]
    first = restore(backup, tmp_path / "first", passphrase, now_s=1_800_000_000.0)
    firsts = [add(first, first.unlock(passphrase), tmp_path, seed).generation for seed in (5, 6)]
    second = restore(backup, tmp_path / "second", passphrase, now_s=1_800_000_060.0)
    seconds = [add(second, second.unlock(passphrase), tmp_path, seed).generation for seed in (7, 8)]

    assert len({*lost, *firsts, *seconds}) == 7
    assert sorted([*lost, *firsts, *seconds]) == [*lost, *firsts, *seconds]


def test_a_home_says_that_it_was_restored(backup, kept, passphrase, tmp_path):
    made = restore(backup, tmp_path / "new", passphrase, now_s=1_800_000_000.0)

    mark = restored(made)
    assert isinstance(mark, Restored)
    assert (mark.restored_at, mark.generation) == (1_800_000_000.0, 1_800_000_000)
    assert restored(kept) is None


def test_a_wrong_passphrase_restores_nothing(backup, tmp_path):
    with pytest.raises(KeystoreError):
        restore(backup, tmp_path / "new", "another passphrase")

    assert not (tmp_path / "new").exists()
    assert list(tmp_path.glob(".new*")) == []


def test_a_node_is_not_restored_over_a_home(backup, kept, passphrase):
    before = {path: path.read_bytes() for path in kept.root.rglob("*") if path.is_file()}

    with pytest.raises(ConfigError, match="already"):
        restore(backup, kept.root, passphrase)

    assert {path: path.read_bytes() for path in kept.root.rglob("*") if path.is_file()} == before


def test_a_backup_without_a_keystore_is_refused(passphrase, tmp_path):
    write_backup(tmp_path / "empty", kind="node", package="1", made_at=1.0, files=[])

    with pytest.raises(DataError, match="no keystore"):
        restore(tmp_path / "empty", tmp_path / "new", passphrase)


def test_a_data_set_is_not_added_while_a_backup_reads_them(kept):
    lock = kept.root / "data" / "lock"
    with Registry.locked(lock.parent), lock.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
