"""Run many seeds on all cores: python -m tests.faults --seeds 2000 --first 1 --ring fast."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

CHUNK = 10


@dataclass(frozen=True)
class Failure:
    """A seed that broke a rule, and how."""

    seed: int
    text: str


@dataclass(frozen=True)
class Batch:
    """What some seeds came to."""

    seeds: int
    accepted: int
    failures: tuple[Failure, ...]


def run_seeds(task: tuple[int, int, str]) -> Batch:
    """Run seeds one after the other, in a process of its own."""
    from tests.faults.speed import remembered_signatures
    from tests.faults.world import World

    first, count, ring = task
    failures, accepted = [], 0
    with remembered_signatures():
        for seed in range(first, first + count):
            world = World(seed, ring)
            try:
                world.run()
            except Exception as error:  # noqa: BLE001 - a defect of any kind is what is looked for
                failures.append(Failure(seed, _told(world, error)))
            accepted += world.watch.accepted_steps
    return Batch(count, accepted, tuple(failures))


def _told(world: object, error: Exception) -> str:
    where = "" if isinstance(error, AssertionError) else "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {error}\n{where}last steps:\n" + "\n".join(getattr(world, "trace", ()))


def main(arguments: Iterable[str] | None = None) -> int:
    """Run what the command line asks for; returns 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--ring", choices=["fast", "real"], default="fast")
    asked = parser.parse_args(list(arguments) if arguments is not None else None)
    if asked.seeds < 1 or asked.first < 0:
        parser.error("at least one seed, from 0 on")
    end = asked.first + asked.seeds
    tasks = [(first, min(CHUNK, end - first), asked.ring) for first in range(asked.first, end, CHUNK)]
    began, done, accepted, failures = time.monotonic(), 0, 0, []
    cores = min(len(os.sched_getaffinity(0)), len(tasks))
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        for batch in pool.map(run_seeds, tasks):
            done, accepted = done + batch.seeds, accepted + batch.accepted
            failures += batch.failures
            _progress(f"faults: {done} of {asked.seeds} seeds, {accepted} accepted steps, {len(failures)} failed")
            if failures:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    print(file=sys.stderr)
    for failure in sorted(failures, key=lambda failure: failure.seed):
        print(f"seed {failure.seed} ({asked.ring}): {failure.text}")
        print(f"replay: make faults SEEDS=1 FIRST={failure.seed} RING={asked.ring}")
    took = time.monotonic() - began
    print(
        f"faults: {done} seeds from {asked.first}, {asked.ring} ring, {accepted} accepted steps, "
        f"{len(failures)} failed, {took:.0f} s"
    )
    return 1 if failures else 0


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
    elif line.split()[1].endswith("00"):
        print(line, file=sys.stderr, flush=True)
