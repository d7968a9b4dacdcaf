"""A job of the federation, as one node sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fedanomaly.client.connection import Connection
from fedanomaly.errors import JobError, NotFoundError, UnavailableError

POLL_S = 0.25
FINAL = frozenset({"accepted", "rejected", "void"})

Told = dict[str, Any]
"""What the node tells about a job: the record `JobView` of its API."""


class Job:
    """A job that was asked for.

    Parameters
    ----------
    connection : Connection
        To the node.
    job : str
        Its id.
    """

    def __init__(self, connection: Connection, job: str) -> None:
        self._connection = connection
        self.id = job

    def told(self) -> Told:
        """Return what the node tells about it now; ask again for news.

        A job that is not in the federation's log yet is ``"waiting"``.
        """
        try:
            return self._connection.get(f"/v1/jobs/{self.id}")
        except NotFoundError:
            return {"id": self.id, "state": "waiting", "reason": "", "rounds": [], "ready": [], "declined": {}}

    @property
    def status(self) -> str:
        """Return where it is: waiting, gathering, running, accepted, rejected or void."""
        return self.told()["state"]

    @property
    def rounds(self) -> list[Told]:
        """Return its rounds so far, oldest first: step, state, bytes, who takes part."""
        return self.told()["rounds"]

    def wait(self, timeout_s: float | None = None, progress: Callable[[Told], None] | None = None) -> Job:
        """Wait until the job has ended.

        Parameters
        ----------
        timeout_s : float, optional
            Longest wait in seconds; for ever if left out.
        progress : callable, optional
            Called with what the node tells, whenever that has changed.

        Returns
        -------
        Job
            This job, accepted.

        Raises
        ------
        JobError
            If it ended without a model.
        UnavailableError
            If it did not end in time; it goes on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        before: Told | None = None
        while True:
            told = self.told()
            if progress and told != before:
                progress(told)
            before = told
            if told["state"] in FINAL:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise UnavailableError(f"job {self.id} is still {told['state']}", hint="it goes on; wait again")
            time.sleep(POLL_S)
        if told["state"] != "accepted":
            raise JobError(
                f"job {self.id} ended {told['state']}: {told['reason'] or 'no reason given'}", hint=_hint(told)
            )
        return self

    def __repr__(self) -> str:
        return f"<Job {self.id}>"


def _hint(told: Told) -> str | None:
    """Return who can say why a job has no model: the reason itself stays at a member that declined."""
    if not told.get("declined"):
        return None
    return f"the log of the node of {', '.join(told['declined'])} says what it declined for; then ask again"
