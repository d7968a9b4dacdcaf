"""Killed at any instant, the coordinator goes on from its log."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import structlog

from fedanomaly.coordinator import read_status, run
from fedanomaly.coordinator.service import SWEEP_S, Service
from fedanomaly.errors import ConfigError, UnavailableError
from fedanomaly.protocol import Envelope
from fedanomaly.storage.envelopes import EnvelopeLog
from fedanomaly.transport import Patience
from fedanomaly.transport.wire import PART_BYTES
from tests.unit.coordinator.conftest import Identity, serve, until
from tests.unit.coordinator.web import ask_for_job

PATIENT = Patience(attempts=100, connect_timeout_s=5, retry_for_s=30)
NAMES = ("north", "south", "west")


@contextmanager
def process(federation):
    """Run the coordinator as its own process; killed at the end if it is still there."""
    code = "import sys, pathlib; from fedanomaly.coordinator import run; run(pathlib.Path(sys.argv[1]))"
    log = federation.home.folder.parent / f"{time.monotonic_ns()}.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen([sys.executable, "-c", code, str(federation.home.folder)], stderr=stderr)
    child.log = log
    try:
        until(lambda: b'"listening"' in log.read_bytes() or child.poll() is not None)
        yield child
    finally:
        child.kill()
        child.wait(20)


def store(home, data: bytes) -> int:
    """Store an envelope as a coordinator would that was killed before it folded it."""

    async def append() -> int:
        log = await EnvelopeLog.open(home.database_path)
        try:
            return await log.append(data, hashlib.sha256(data).digest(), time.time())
        finally:
            await log.close()

    return asyncio.run(append())


def test_everything_is_there_after_a_restart(federation):
    with serve(federation.home):
        members = [federation.enrol(name) for name in NAMES]
        before = federation.log()
    with serve(federation.home):
        assert federation.log() == before
        assert members[1][1].status().members == NAMES
        assert members[0][1].post(federation.say(members[0][0], ask_for_job()).envelope) == 6


def test_what_was_stored_and_not_folded_is_folded_at_the_next_start(federation):
    with serve(federation.home):
        for name in NAMES[:2]:
            federation.enrol(name)
    last = Identity()
    assert store(federation.home, federation.enrolment(last, "west").to_bytes()) == 4
    with serve(federation.home):
        # Even what follows from it, the call for a key epoch, is made up for.
        assert [entry.envelope.kind for entry in federation.log()[3:]] == ["enrol", "epoch-call"]
        assert federation.client(last).status().members == NAMES


def test_a_deadline_that_passed_while_nobody_was_there_is_acted_upon(federation):
    clock = [1000.0]

    async def history() -> list[str]:
        service = await Service.open(federation.home, lambda: clock[0])
        assert service.transcript.settings is not None
        await service.tick()
        await service.close()
        clock[0] = 500.0  # a clock that was set back must not reorder the log
        service = await Service.open(federation.home, lambda: clock[0])
        assert 1000.0 <= service._now() < 1500.0
        await service.close()
        return [record.received_at for record in await read(federation.home)]

    assert asyncio.run(history()) == [1000.0]


async def read(home):
    log = await EnvelopeLog.open(home.database_path)
    try:
        return await log.read(0, 1000)
    finally:
        await log.close()


def test_an_entry_that_breaks_the_rules_is_passed_over_and_the_log_goes_on(federation):
    with serve(federation.home):
        identity, _ = federation.enrol("north")
    forged = Envelope(
        federation=federation.home.federation, kind="enrol", sender=bytes(32), body=b"", signature=bytes(64)
    )
    store(federation.home, forged.to_bytes())
    assert read_status(federation.home.folder).members == ("north",)
    with serve(federation.home):
        client = federation.client(identity)
        assert client.post(federation.say(identity, ask_for_job()).envelope) == 4
        assert client.feed(3)[1] == 4


def test_a_trouble_in_the_background_is_logged_once_and_does_not_end_the_service(federation, capfd):
    async def trouble() -> None:
        service = await Service.open(federation.home)
        service._coordinator.act = lambda *_: 1 / 0
        for _ in range(3):
            await service.tick()
        del service._coordinator.act
        await service.tick()
        await service.check_ready()
        await service.close()

    asyncio.run(trouble())
    assert "".join(capfd.readouterr()).count("act-failed") == 1


def test_a_service_that_stops_is_not_ready_and_lets_nobody_wait(federation):
    async def stop() -> None:
        service = await Service.open(federation.home)
        waiting = asyncio.create_task(service.feed(b"m" * 32, 1, 30.0))
        await asyncio.sleep(0)  # let it start to wait
        assert service._waiting[b"m" * 32] == 1
        service.stop_waiting()
        assert (await waiting).entries == ()
        assert (await service.feed(b"m" * 32, 1, 30.0)).entries == ()
        with pytest.raises(UnavailableError):
            await service.check_ready()
        await service.close()

    asyncio.run(asyncio.wait_for(stop(), 10))


def test_killed_in_the_middle_of_an_upload_it_goes_on_and_so_does_the_upload(federation):
    data = os.urandom(PART_BYTES + 500_000)
    staged = federation.home.blobs_path / "staged"
    with process(federation) as child:
        identity, _ = federation.enrol("north")
        client = federation.client(identity, patience=PATIENT)
        first = federation.say(identity, ask_for_job(1)).envelope
        assert client.post(first) == 3
        with federation.connect() as raw:
            raw.sendall(federation.put_head(identity, data, 0) + data[:PART_BYTES])
            assert raw.recv(12) == b"HTTP/1.1 204"
        with federation.connect() as raw:
            raw.sendall(federation.put_head(identity, data, 1) + data[PART_BYTES : PART_BYTES + 1000])
            until(lambda: list(staged.rglob("*.tmp")))
            os.kill(child.pid, signal.SIGKILL)
            child.wait(20)
    assert list(staged.rglob("*.tmp"))
    with process(federation):
        assert not list(staged.rglob("*.tmp"))
        assert [path.stat().st_size for path in staged.rglob("00000.*")] == [PART_BYTES]
        assert client.upload(data) == hashlib.sha256(data).digest()
        assert [path.read_bytes() for path in staged.rglob("whole")] == [data]
        # A member that did not get its answer asks again, and notices nothing.
        assert client.post(first) == 3
        assert client.post(federation.say(identity, ask_for_job(2)).envelope) == 4


@pytest.fixture
def logs():
    """Let `run` log as it does, and undo that."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_who_waits_and_ends_in_order(federation, logs, monkeypatch, number):
    outcome, asked, feed = [], threading.Event(), Service.feed

    def watched(service, *args):
        asked.set()
        return feed(service, *args)

    monkeypatch.setattr(Service, "feed", watched)

    def member() -> None:
        until(lambda: listens(federation))
        _, client = federation.enrol("north")
        waiting = threading.Thread(target=lambda: outcome.append(client.feed(2, wait_s=25)))
        waiting.start()
        asked.wait(20)
        os.kill(os.getpid(), number)
        waiting.join(20)

    other = threading.Thread(target=member)
    other.start()
    run(federation.home.folder)
    other.join(20)
    assert outcome == [([], 2)]
    with federation.home.lock():
        pass


def listens(federation) -> bool:
    try:
        federation.connect().close()
    except OSError:
        return False
    return True


def test_a_home_that_is_served_already_is_not_served_again(federation, logs):
    with serve(federation.home), pytest.raises(ConfigError, match="cannot listen"):
        run(federation.home.folder)
    with federation.home.lock(), pytest.raises(ConfigError, match="another process"):
        run(federation.home.folder)


def test_a_log_of_another_release_is_not_served(federation, logs):
    with serve(federation.home):
        pass
    with sqlite3.connect(federation.home.database_path) as db:
        db.execute("UPDATE schema SET version = 99")
    db.close()
    with pytest.raises(ConfigError, match="schema version 99"):
        run(federation.home.folder)
    with federation.home.lock():
        pass


def test_a_blob_folder_that_is_not_usable_is_said_and_nothing_is_held(federation, logs):
    federation.home.blobs_path.write_bytes(b"a file where a folder should be")
    with pytest.raises(UnavailableError):
        run(federation.home.folder)
    with federation.home.lock():
        pass


def test_deadlines_are_watched_all_the_time(federation, monkeypatch):
    ticked, tick = threading.Event(), Service.tick

    async def watched(service):
        await tick(service)
        ticked.set()

    monkeypatch.setattr("fedanomaly.coordinator.lifecycle.TICK_S", 0.01)
    with serve(federation.home):
        monkeypatch.setattr(Service, "tick", watched)
        assert ticked.wait(20)


def test_the_status_can_be_read_while_the_home_is_served(federation):
    with pytest.raises(ConfigError, match="has not run yet"):
        read_status(federation.home.folder)
    with serve(federation.home):
        _, client = federation.enrol("north")
        assert read_status(federation.home.folder) == client.status()


def test_what_nobody_needs_is_removed_now_and_then(federation, monkeypatch):
    clock = [1000.0]

    async def sweep() -> None:
        service = await Service.open(federation.home, lambda: clock[0])
        spent, kept = (service.blobs.store([data]).digest for data in (b"spent", b"kept"))
        monkeypatch.setattr("fedanomaly.coordinator.service.unneeded", lambda *_: {spent})
        await service.tick()
        assert service.blobs.has(spent)  # it has looked when it was opened
        clock[0] += SWEEP_S
        await service.tick()
        assert (service.blobs.has(spent), service.blobs.has(kept)) == (False, True)
        await service.close()

    asyncio.run(sweep())


def test_a_member_is_seen_when_it_has_all_of_the_log(federation):
    with serve(federation.home) as app:
        identity, client = federation.enrol("north")
        seen, head = app.state.service._seen, app.state.service.transcript.head
        client.feed(head - 1)
        assert identity.public_key not in seen
        client.feed(head)
        assert seen[identity.public_key] > 0
