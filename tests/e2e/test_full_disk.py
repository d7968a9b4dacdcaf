"""A disk that is full, at a coordinator or a node: it is said, nothing is half-written, and it goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scripts.check_ledgers import violations

from fedanomaly.cli.demo.processes import Services
from fedanomaly.errors import StorageError, UnavailableError
from fedanomaly.node.home import Home
from fedanomaly.storage import SealedRows, write_durably
from tests.e2e.nursery import Nursery
from tests.e2e.realm import PASSPHRASE, Realm, until
from tests.e2e.recorder import Recorder
from tests.e2e.small_disk import SmallDisk, on_a_small_disk

NAMES = ("north", "south", "west")


class Moments:
    """Fills a disk at moments that are held still meanwhile."""

    def __init__(self, realm: Realm, recorder: Recorder, disk: SmallDisk, service: str) -> None:
        self.realm, self.recorder, self.disk = realm, recorder, disk
        self._log = realm.nursery.folder / f"{service}.log"
        self._names = {Home(realm.home(name)).unlock(PASSPHRASE).public_key: name for name in NAMES}

    def full_when(self, kind: str, by: str, text: str) -> None:
        """Fill the disk once `by` sends a message of a kind, until the log of the service tells the trouble."""
        known, before = len(self.recorder.posted), self._log.read_text().count(text)

        def wanted(envelope) -> bool:
            return envelope.kind == kind and self._names[envelope.sender] == by

        held = [True]
        self.recorder.holds = lambda envelope: held[0] and wanted(envelope)
        until(lambda: any(wanted(envelope) for envelope in self.recorder.posted[known:]), f"no {kind} comes")
        self.disk.fill()
        held[0] = False
        until(lambda: self._log.read_text().count(text) > before, f"the log says nothing at {kind}")
        self.disk.free()


@contextmanager
def federation(tmp_path: Path, disk: SmallDisk, service: str) -> Iterator[Moments]:
    with Nursery(tmp_path) as nursery:
        realm = Realm(nursery, NAMES, {service: disk.folder / service})
        recorder = Recorder(realm.port)
        try:
            realm.found(dict.fromkeys(NAMES, recorder.port))
            realm.start_nodes()
            realm.live()
            yield Moments(realm, recorder, disk, service)
            realm.stop()
            nodes = [realm.home(name) for name in NAMES]
            assert list(violations(realm.home("coordinator"), nodes, PASSPHRASE)) == []
            assert recorder.differing() == []
            assert list(realm.home(service).rglob("*.tmp")) == []
        finally:
            recorder.close()


@on_a_small_disk
def test_a_coordinator_with_a_full_disk_says_so_and_goes_on_once_there_is_room(tmp_path, disk):
    with federation(tmp_path, disk, "coordinator") as moments:
        realm = moments.realm
        disk.fill()
        head = realm.ask("north", lambda client: client.status()["head"])
        with Services(tmp_path) as services, pytest.raises(UnavailableError) as failed:
            services.run("train", "readings", "--home", str(realm.home("north")))
        assert "error FA500" in str(failed.value)
        assert "the disk does not take a write right now" in str(failed.value)
        assert realm.ask("north", lambda client: client.status()["head"]) == head
        disk.free()
        job = realm.train("north")
        moments.full_when("contribution", "south", "FA502")  # as its blob or its envelope arrives
        moments.full_when("vote", "south", "FA502: the log did not take the write")
        assert realm.ended("north", job)["state"] == "accepted"
        for name in NAMES:
            realm.kept(name, job)


@on_a_small_disk
def test_a_node_with_a_full_disk_says_so_and_goes_on_once_there_is_room(tmp_path, disk):
    with federation(tmp_path, disk, "west") as moments:
        realm = moments.realm
        job = realm.train("north")
        trouble = "disk-trouble"
        moments.full_when("ready", "south", trouble)  # next it freezes its statistic and joins
        moments.full_when("join", "south", trouble)  # next it contributes
        moments.full_when("contribution", "south", trouble)  # next it makes its statement
        moments.full_when("statement", "south", trouble)  # next it opens, merges and votes
        assert realm.ended("north", job)["state"] == "accepted"
        for name in NAMES:
            realm.kept(name, job)
        log = (tmp_path / "west.log").read_text()
        assert "FA502" in log
        assert "disk-usable" in log
        assert "coordinator-unreachable" not in log
        known = sorted(path.name for path in (realm.home("west") / "data").iterdir())
        disk.fill()
        with pytest.raises(StorageError, match="FA502"):
            realm.add("west", "readings", seed=99, rows=50_000)
        disk.free()
        assert sorted(path.name for path in (realm.home("west") / "data").iterdir()) == known


@on_a_small_disk
def test_a_ledger_and_a_file_on_a_full_disk_take_nothing_and_keep_what_they_have(tmp_path, disk):
    file, large = disk.folder / "file", bytes(1 << 16)
    with SealedRows(disk.folder / "rows.sqlite", bytes(32)) as rows:
        rows.put([("kind", b"before", b"value")])
        write_durably(file, b"before")
        disk.fill()
        with pytest.raises(StorageError, match="FA502: the ledger did not take the write"):
            rows.put([("kind", b"small", b"value"), ("kind", b"large", large)])
        with pytest.raises(StorageError, match=r"FA502: (file|a file in small) cannot be written"):
            write_durably(file, large)
        assert dict(rows.all("kind")) == {b"before": b"value"}
        assert file.read_bytes() == b"before"
        disk.free()
        rows.put([("kind", b"large", large)])
        assert rows.get("kind", b"small") is None
    assert sorted(path.name for path in disk.folder.iterdir()) == ["file", "rows.sqlite"]
