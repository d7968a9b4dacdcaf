"""Log sessions of several organisations, simulated: labelled, seeded, vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedanomaly.datasets.simulated import DAY_S, LAUNCH, Simulated, simulated, waking
from fedanomaly.errors import ConfigError
from fedanomaly.types import Integers

SCENARIOS = ("none", "missing", "order", "unknown", "retries")
MISSING, ORDER, UNKNOWN, RETRIES = range(1, 5)
WIDTH = 96
"""Events that a session has room for."""
GONE = -1
RETRY = 40
FIRST_UNKNOWN, UNKNOWN_EVENTS = 90, 8
DETOURS = ((7, 8), (14, 15), (23, 24))
"""Events that now and then take the place of another, such as a miss of a cache."""
DETOUR_SHARE = 0.15


@dataclass(frozen=True)
class Workflow:
    """How a session runs: a start, a loop, an end.

    Parameters
    ----------
    start, loop, end : tuple of int
        Events; the loop is run at least once.
    turns : float
        Usual number of turns of the loop.
    """

    start: tuple[int, ...]
    loop: tuple[int, ...]
    end: tuple[int, ...]
    turns: float

    def sessions(self, turns: Integers) -> Integers:
        """Return one session a row, of so many turns; GONE behind the end."""
        place = np.arange(WIDTH) - len(self.start)
        after = place - (turns * len(self.loop))[:, None]
        looped = np.array(self.loop)[place % len(self.loop)]
        ended = np.array(self.end)[np.clip(after, 0, len(self.end) - 1)]
        events = np.where(after < 0, looped, np.where(after < len(self.end), ended, GONE))
        events[:, : len(self.start)] = self.start
        return events


WORKFLOWS = (
    Workflow(start=(1, 2, 3), loop=(4, 5, 6), end=(7, 9), turns=3.0),
    Workflow(start=(1, 2, 10, 11), loop=(12, 13), end=(14, 16, 9), turns=4.0),
    Workflow(start=(1, 20, 21), loop=(22, 23), end=(25, 26, 9), turns=2.0),
    Workflow(start=(30, 31), loop=(32, 33, 34, 35), end=(36, 37, 38), turns=2.0),
)
"""The first is everywhere; of the others, each organisation gets one later."""


def make_log_sessions(
    n_sessions: int = 6_000,
    n_organisations: int = 3,
    *,
    random_state: int = 0,
    days: int = 14,
    failure_share: float = 0.03,
    launch: float = LAUNCH,
) -> Simulated:
    """Return simulated sessions of a distributed system that several organisations run.

    A session is a sequence of event ids. It follows one of four workflows, each
    with a start, a loop of as many turns as there is work, and an end; some steps
    have a detour. One workflow is everywhere; of the other three each
    organisation gets one later, with a new release. Failures are of four kinds: a
    step is *missing*, two steps have the wrong *order*, an *unknown* event takes
    the place of a step, *retries* go on and the session has no end.

    Parameters
    ----------
    n_sessions : int, default=6000
        Number of sessions, over all organisations.
    n_organisations : int, default=3
        Number of organisations; number i, from 0, has 1 / (1 + i / 2) times the sessions of the first.
    random_state : int, default=0
        Seed.
    days : int, default=14
        Length of the simulated time.
    failure_share : float in (0, 0.2), default=0.03
        Share of sessions that fail.
    launch : float in [0, 1], default=0.6
        Share of the time after which an organisation's missing workflow comes; 0: from the start.

    Returns
    -------
    Simulated
        The one feature is ``events``, a text of ids such as "E1 E2 E3 E4"; then
        ``operator``, ``event_time``, ``failure`` and ``scenario``.

    Raises
    ------
    ConfigError
        If an argument is out of range.

    Examples
    --------
    >>> from fedanomaly.datasets import make_log_sessions
    >>> sessions = make_log_sessions(600, random_state=1)
    >>> sessions.organisations
    ('operator-1', 'operator-2', 'operator-3')
    >>> sessions.table["events"][0].as_py()
    'E1 E2 E3 E4 E5 E6 E7 E9'
    """
    fits = n_organisations >= 1 and n_sessions >= 50 * n_organisations and days >= 2
    if not (fits and 0 < failure_share < 0.2 and 0 <= launch <= 1):
        raise ConfigError("sessions: 50 an organisation, 2 days, failure_share in (0, 0.2) and launch in [0, 1]")
    rng = np.random.default_rng(random_state)
    share = 1.0 / (1.0 + np.arange(n_organisations) / 2.0)
    operator = rng.choice(n_organisations, n_sessions, p=share / share.sum())
    time = np.sort(rng.integers(0, days, n_sessions) + waking(rng, n_sessions) / 24.0) * DAY_S
    workflow = rng.choice(len(WORKFLOWS), n_sessions, p=(0.4, 0.2, 0.2, 0.2))
    late = 1 + operator % 3
    workflow[(workflow == late) & (time < launch * days * DAY_S)] = 0
    failing = rng.permutation(n_sessions) < round(n_sessions * failure_share)
    scenario = np.where(failing, rng.integers(MISSING, RETRIES + 1, n_sessions), 0)
    events = _events(rng, workflow)
    for kind, spoil in _FAILURES.items():
        events[scenario == kind] = spoil(rng, events[scenario == kind])
    columns = {"operator": operator, "time": time, "scenario": scenario, "events": _texts(events)}
    return simulated(
        columns, features=("events",), organisation="operator", label="failure", names={"scenario": SCENARIOS}
    )


def _events(rng: np.random.Generator, workflow: Integers) -> Integers:
    events = np.full((len(workflow), WIDTH), GONE)
    for number, flow in enumerate(WORKFLOWS):
        mine = workflow == number
        turns = np.minimum(rng.geometric(1.0 / flow.turns, int(mine.sum())), 12)
        events[mine] = flow.sessions(turns)
    detour = rng.random(events.shape) < DETOUR_SHARE
    for usual, other in DETOURS:
        events[(events == usual) & detour] = other
    return events


def _places(rng: np.random.Generator, events: Integers, last: int) -> tuple[Integers, Integers]:
    """Return a row index and in each row a place, neither the first nor one of the `last` ones."""
    length = (events != GONE).sum(axis=1)
    return np.arange(len(events)), 1 + (rng.random(len(events)) * (length - 1 - last)).astype(np.int64)


def _missing(rng: np.random.Generator, events: Integers) -> Integers:
    events[_places(rng, events, 0)] = GONE
    return events


def _order(rng: np.random.Generator, events: Integers) -> Integers:
    row, place = _places(rng, events, 1)
    events[row, place], events[row, place + 1] = events[row, place + 1], events[row, place]
    return events


def _unknown(rng: np.random.Generator, events: Integers) -> Integers:
    events[_places(rng, events, 0)] = FIRST_UNKNOWN + rng.integers(0, UNKNOWN_EVENTS, len(events))
    return events


def _retries(rng: np.random.Generator, events: Integers) -> Integers:
    row, place = _places(rng, events, 0)
    behind = np.arange(WIDTH) - place[:, None]
    times = rng.integers(8, 25, len(row))[:, None]
    return np.where(behind < 0, events, np.where(behind < times, RETRY, GONE))


_FAILURES = {MISSING: _missing, ORDER: _order, UNKNOWN: _unknown, RETRIES: _retries}


def _texts(events: Integers) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    there = events != GONE
    numbers = pa.array(events[there]).cast(pa.string())
    names = pc.call_function("binary_join_element_wise", [pa.scalar("E"), numbers, pa.scalar("")])
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(ends), names)
    return pc.call_function("binary_join", [lists, pa.scalar(" ")]).to_numpy(zero_copy_only=False)
