"""A log that went back, or was written on differently, is noticed and never followed."""

import shutil

import pytest

from fedanomaly.errors import ConfigError, DivergedError
from fedanomaly.node import service as module
from fedanomaly.node.log_mark import LogMark
from fedanomaly.node.service import NodeService
from tests.unit.node.federation import coordinator, founded, joined, until


def told(service, name):
    return [event.details.get("error", "") for event in service.feed.after(0) if event.name == name]


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """A node that has seen three entries of a log, and a backup of the coordinator that has two of them."""
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.5)
    founded(tmp_path)
    with coordinator(tmp_path):
        home, keystore = joined(tmp_path, "north", 0)
    shutil.copytree(tmp_path / "coordinator", tmp_path / "old")
    service = NodeService(home, keystore)
    service.start()
    with coordinator(tmp_path):
        joined(tmp_path, "east", 1)
        until(lambda: service.status.members == ["north", "east"])
        until(lambda: LogMark(home.root / "log.json").seen.head == 3)
    shutil.copytree(tmp_path / "coordinator", tmp_path / "new")
    yield tmp_path, home, keystore, service
    service.stop()


def restore(root, name):
    shutil.rmtree(root / "coordinator")
    shutil.copytree(root / name, root / "coordinator")


def test_a_running_node_refuses_a_shorter_log_and_goes_on_once_the_newer_one_is_back(seen):
    root, _, _, service = seen
    restore(root, "old")
    with coordinator(root):
        (error,) = until(lambda: told(service, "log-diverged"))
        assert error.startswith("FA405: this node has seen 3 entries of the log; the coordinator's has 2")
        assert "restore a newer backup" in error
        with pytest.raises(DivergedError):
            service.train(model="m", dataset="payments", detector="loda", params={})
    reached = len(told(service, "coordinator-reached"))

    restore(root, "new")
    with coordinator(root):
        until(lambda: len(told(service, "coordinator-reached")) > reached)
    assert len(told(service, "log-diverged")) == 1


def test_a_log_of_the_same_length_with_another_history_is_refused(seen):
    root, _, _, service = seen
    log = service._member.transcript
    restore(root, "old")
    with coordinator(root):
        joined(root, "south", 2)
        assert len(service._client.feed(after=0)[0]) == log.head == 3
        with pytest.raises(DivergedError, match="is another one up to there"):
            service._client.feed(after=3, chain=log.chain(3))
        until(lambda: told(service, "log-diverged"))
    assert service.status.members == ["north", "east"]


def test_a_node_that_starts_again_still_knows_what_it_saw(seen):
    root, home, keystore, first = seen
    first.stop()
    restore(root, "old")
    service = NodeService(home, keystore)
    service.start()
    try:
        with coordinator(root):
            until(lambda: told(service, "log-diverged"))
            joined(root, "south", 2)
            joined(root, "west", 3)
            service.stop()
            service = NodeService(home, keystore)
            service.start()
            (error,) = until(lambda: told(service, "log-diverged"))
            assert "up to entry 3 the coordinator's log is not the one" in error
    finally:
        service.stop()
    assert LogMark(home.root / "log.json").seen.head == 3


def test_a_damaged_mark_is_no_mark(tmp_path):
    (tmp_path / "log.json").write_text("{")

    with pytest.raises(ConfigError, match="damaged"):
        LogMark(tmp_path / "log.json")
