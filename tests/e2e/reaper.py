"""Ends the process that it is in with SIGKILL, at each of many points, once.

The points are every state that the fold of the log comes to, and before and
after everything durable and everything that is sent. Which ones are done lies in
a journal, so the next start of the same service gets further. The code of the
product is wrapped from outside and does not change.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedanomaly.protocol import Coordinator, Envelope, Member, Transcript
from fedanomaly.protocol.jobs import SELF_TEST


class Reaper:
    """Knows at which points this process dies.

    Parameters
    ----------
    journal : Path
        One line for every death.
    points : sequence of str
        Patterns of the names of points, as in `fnmatch`.
    """

    def __init__(self, journal: Path, points: Sequence[str]) -> None:
        self._journal, self._points = journal, points
        self._done = deaths(journal)
        self._log: Transcript | None = None

    def see(self, log: Transcript) -> None:
        """Die if the log has come to a state in which this process has not died yet."""
        self._log = log
        for state in states(log):
            self.visit(state)

    def visit(self, point: str) -> None:
        """Die if it is a point at which this process has not died yet."""
        if point in self._done or not any(fnmatch.fnmatchcase(point, pattern) for pattern in self._points):
            return
        handle = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{point}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: type, name: str, label: Callable[..., str]) -> None:
        """Make a method a point before it and another one after it."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            told = f"{self._context()}:{name}" + label(*args[1:])
            self.visit(f"{told}:before")
            result = original(*args, **kwargs)
            self.visit(f"{told}:after")
            return result

        @functools.wraps(original)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            told = f"{self._context()}:{name}" + label(*args[1:])
            self.visit(f"{told}:before")
            result = await original(*args, **kwargs)
            self.visit(f"{told}:after")
            return result

        setattr(owner, name, awaited if original.__code__.co_flags & 0x80 else wrapped)

    def _context(self) -> str:
        job = self._log.open_job if self._log else None
        return "keys" if job is None else "test" if job.number == SELF_TEST else "sum"


def deaths(journal: Path) -> set[str]:
    """Return the points at which a service has died."""
    return set(journal.read_text().split()) if journal.exists() else set()


def states(log: Transcript) -> list[str]:
    """Return every state that the fold of a log is in: key epochs, newest job, its rounds."""
    found = [str(epoch.state) for epoch in log.epochs]
    if log.jobs:
        job = log.jobs[-1]
        kind = "test" if job.number == SELF_TEST else "sum"
        found.append(f"{kind}:{job.state}")
        found += [f"{kind}:{entry.state}" for entry in reversed(job.rounds)]
    return found


def in_coordinator(reaper: Reaper) -> None:
    """Wrap what makes a coordinator's moves durable."""
    from fedanomaly.storage import BlobStore
    from fedanomaly.storage.envelopes import EnvelopeLog

    live: list[bool] = []  # the fold of an old log at the start comes to states that it is not in
    accept, append = Coordinator.accept, EnvelopeLog.append

    async def appending(self: EnvelopeLog, data: bytes, digest: bytes, received_at: float) -> int:
        live.append(True)
        return await append(self, data, digest, received_at)

    def accepted(self: Coordinator, entry: Any) -> None:
        accept(self, entry)
        if live:
            reaper.see(self.transcript)

    EnvelopeLog.append, Coordinator.accept = appending, accepted
    reaper.wrap(EnvelopeLog, "append", lambda data, *_rest: f":{Envelope.from_bytes(data).kind}")
    for name in ("complete", "keep", "store", "remove"):
        reaper.wrap(BlobStore, name, lambda *_any: "")


def in_node(reaper: Reaper) -> None:
    """Wrap what makes a node's words durable, and what sends them."""
    from fedanomaly.node.models import ModelStore
    from fedanomaly.node.vault import SealedVault
    from fedanomaly.storage import SealedRows
    from fedanomaly.transport import CoordinatorClient

    act = Member.act

    def acting(self: Member, fetch: Any) -> Any:
        reaper.see(self.transcript)
        return act(self, fetch)

    Member.act = acting
    reaper.wrap(SealedRows, "put", lambda rows: ":" + "+".join(sorted({kind for kind, _, _ in rows})))
    reaper.wrap(SealedRows, "erase", lambda kind, _key: f":{kind}")
    for name in ("save", "destroy"):
        reaper.wrap(SealedVault, name, lambda *_any: "")
    reaper.wrap(ModelStore, "add", lambda *_any: "")
    reaper.wrap(CoordinatorClient, "post", lambda envelope: f":{envelope.kind}")


IN = {"coordinator": in_coordinator, "node": in_node}
