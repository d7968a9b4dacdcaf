"""Worker processes that take turns: what else the machine does hits every side."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_PROCESSES = multiprocessing.get_context("spawn")  # the engine refuses to live on after a fork


class Worker:
    """One subject in a process of its own, on so many cores.

    Parameters
    ----------
    build : callable
        Called in the worker with the number of cores; returns the subject.
        Must be importable by name.
    cores : int
        The worker is bound to that many.
    """

    def __init__(self, build: Callable[[int], object], cores: int) -> None:
        self._times: dict[str, list[float]] = {}
        self._pipe, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_work, args=(theirs, build, cores), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def time(self, method: str) -> None:
        """Let the subject run a method, and keep how long it took."""
        self._pipe.send(method)
        self._times.setdefault(method, []).append(self._answer()["seconds"])

    def median_s(self, method: str) -> float:
        """Return the median of a method's times; the first call only warmed up."""
        return statistics.median(self._times[method][1:])

    def least_s(self, method: str) -> float:
        """Return the least of a method's times: what it takes when nothing else is in the way."""
        return min(self._times[method])

    def facts(self) -> dict[str, Any]:
        """Return what the subject's `facts` says."""
        self._pipe.send("facts")
        return self._answer()["answer"]

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _answer(self) -> dict[str, Any]:
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("a worker of the benchmark ended; its messages above say why") from None


def _work(pipe: Connection, build: Callable[[int], object], cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    subject = build(cores)
    pipe.send({})
    while True:
        try:
            method = getattr(subject, pipe.recv())
        except EOFError:
            return
        begun = time.perf_counter()
        answer = method()
        pipe.send({"seconds": time.perf_counter() - begun, "answer": answer})
