"""Sensors of several plants, simulated: labelled, seeded, vectorised."""

from __future__ import annotations

import numpy as np

from fedanomaly.datasets.simulated import LAUNCH, Columns, Simulated, simulated, spread
from fedanomaly.errors import ConfigError
from fedanomaly.types import Floats, Integers

CHANNELS = ("flow", "inlet", "outlet", "temperature", "vibration", "power", "level", "valve")
USUAL = np.array([40.0, 300.0, 420.0, 60.0, 2.0, 75.0, 3.0, 55.0])
SPAN = np.array([8.0, 20.0, 30.0, 6.0, 0.4, 15.0, 0.4, 12.0])
"""What one unit of a driving force does to a channel at most."""
FORCES = np.array(
    [
        # flow, inlet, outlet, temperature, vibration, power, level, valve
        [1.0, -0.4, 0.7, 0.3, 0.6, 0.9, -0.5, 0.8],  # load
        [0.0, 0.2, -0.1, 0.8, 0.0, 0.1, 0.1, 0.0],  # weather
        [-0.9, 0.0, 0.8, 0.0, 0.2, 0.3, 0.0, -1.0],  # mode 1: throttled
        [0.3, 0.0, 0.0, -0.8, 0.0, 0.8, 0.0, 0.3],  # mode 2: cooled
        [0.6, -0.8, -0.6, 0.0, 0.9, 0.0, 0.7, 0.0],  # mode 3: filling
    ]
)
MODES = 3
NOISE = 0.08
"""Of every reading, in parts of its span."""
SCENARIOS = ("none", "stuck", "drift", "lag", "decorrelated")
STUCK, DRIFT, LAG, _DECORRELATED = range(1, 5)
EPISODE = 40
"""Readings that a fault lasts."""


def make_sensors(
    n_times: int = 4_000,
    n_plants: int = 3,
    *,
    random_state: int = 0,
    step_s: float = 600.0,
    fault_share: float = 0.1,
    missing_share: float = 0.002,
    launch: float = LAUNCH,
) -> Simulated:
    """Return simulated readings of the same eight sensors at several plants.

    Load (with a daily cycle) and weather drive all channels together. Three modes
    of operation, which come and go over hours and need not agree with the load,
    are in use at all plants but one each, and come to that one later. Faults last
    for 40 readings of one channel: *stuck* at its last value, *drift* away from
    it, *lag* of twelve readings behind the others,
    *decorrelated*: what it read at another time.

    Parameters
    ----------
    n_times : int, default=4000
        Readings of every plant.
    n_plants : int, default=3
        Number of plants.
    random_state : int, default=0
        Seed.
    step_s : float, default=600
        Seconds between two readings; at least 1.
    fault_share : float in (0, 0.3), default=0.1
        Share of faulty readings.
    missing_share : float in [0, 0.5], default=0.002
        Share of single values that are missing.
    launch : float in [0, 1], default=0.6
        Share of the time after which a plant's missing mode comes; 0: from the start.

    Returns
    -------
    Simulated
        Features ``flow`` (l/s), ``inlet`` and ``outlet`` (pressures, kPa), ``temperature``
        (degrees Celsius), ``vibration`` (mm/s), ``power`` (kW), ``level`` (m) and
        ``valve`` (percent open); then
        ``plant``, ``event_time``, ``fault`` and ``scenario``.

    Raises
    ------
    ConfigError
        If an argument is out of range.

    Examples
    --------
    >>> from fedanomaly.datasets import make_sensors
    >>> sensors = make_sensors(400, random_state=1)
    >>> sensors.organisations
    ('plant-1', 'plant-2', 'plant-3')
    >>> sensors.of("plant-1").num_rows
    400
    """
    fits = n_plants >= 1 and n_times >= 200 and step_s >= 1 and 0 <= missing_share <= 0.5
    if not (fits and 0 < fault_share < 0.3 and 0 <= launch <= 1):
        raise ConfigError("sensors need 200 times, a plant, and shares in range", hint="see the reference")
    rng = np.random.default_rng(random_state)
    forces = np.stack([_load(rng, n_times, n_plants, step_s), _slow(rng, n_times, n_plants, 300.0)])
    modes = np.stack([_mode(rng, n_times, n_plants) for _ in range(MODES)])
    late = np.arange(MODES)[:, None, None] == np.arange(n_plants) % MODES
    modes *= ~(late & (np.arange(n_times) < launch * n_times)[:, None])
    driven = np.einsum("ktp,kc->tpc", np.concatenate([forces, modes]), FORCES)
    readings = driven + rng.normal(0.0, NOISE, driven.shape)
    scenario = _spoil(rng, readings, fault_share)
    readings = np.round(USUAL + SPAN * readings, 3)
    readings[rng.random(readings.shape) < missing_share] = np.nan
    columns: Columns = dict(zip(CHANNELS, readings.reshape(-1, len(CHANNELS)).T, strict=True))
    columns["plant"] = np.tile(np.arange(n_plants), n_times)
    columns["time"] = np.repeat(np.arange(n_times) * step_s, n_plants)
    columns["scenario"] = scenario.ravel()
    return simulated(columns, features=CHANNELS, organisation="plant", label="fault", names={"scenario": SCENARIOS})


def _load(rng: np.random.Generator, n_times: int, n_plants: int, step_s: float) -> Floats:
    """Return the load of shape (n_times, n_plants): high by day, with ups and downs of hours."""
    hour = np.arange(n_times)[:, None] * step_s / 3600.0 + rng.uniform(-1.0, 1.0, n_plants)
    return np.sin(2 * np.pi * (hour - 9.0) / 24.0) + 0.6 * _slow(rng, n_times, n_plants, 12.0)


def _slow(rng: np.random.Generator, n_times: int, n_plants: int, memory: float) -> Floats:
    """Return noise of deviation 1 that forgets within `memory` readings."""
    keep = np.exp(-1.0 / memory)
    white = np.fft.rfft(rng.normal(0.0, np.sqrt(1.0 - keep**2), (n_times, n_plants)), axis=0)
    # x_t = keep x_(t-1) + noise, as a filter; the end leads to the start, so it is stationary from the first.
    turn = np.exp(-2j * np.pi * np.arange(len(white)) / n_times)
    return np.fft.irfft(white / (1.0 - keep * turn)[:, None], n_times, axis=0)


def _mode(rng: np.random.Generator, n_times: int, n_plants: int) -> Floats:
    """Return how far a mode of operation is on, from 0 to 2; it is off for two thirds of the time."""
    return np.clip(4.0 * _slow(rng, n_times, n_plants, 30.0) - 1.6, 0.0, 2.0)


def _spoil(rng: np.random.Generator, readings: Floats, fault_share: float) -> Integers:
    """Change `readings` where a fault is; return the scenario of every reading, of shape (n_times, n_plants)."""
    n_times, n_plants, n_channels = readings.shape
    scenario = np.zeros((n_times, n_plants), dtype=np.int64)
    episodes = max(1, round(n_times * fault_share / EPISODE))
    spoilt = readings.copy()
    for plant in range(n_plants):
        # Episodes lie in equal parts of the time, so that none meets another.
        starts = (spread(rng, episodes, 1.0) * (n_times - 2 * EPISODE)).astype(np.int64)
        gap = np.maximum.accumulate(starts - EPISODE * np.arange(episodes))
        starts = np.minimum(gap + EPISODE * np.arange(episodes), n_times - EPISODE * (episodes - np.arange(episodes)))
        for kind, start in zip(rng.permutation(np.arange(episodes) % 4) + STUCK, starts, strict=True):
            when, channel = slice(start, start + EPISODE), rng.integers(0, n_channels)
            was = readings[:, plant, channel]
            spoilt[when, plant, channel] = _faulty(rng, int(kind), was, int(start))
            scenario[when, plant] = kind
    readings[...] = spoilt
    return scenario


def _faulty(rng: np.random.Generator, kind: int, was: Floats, start: int) -> Floats:
    when = np.arange(start, start + EPISODE)
    if kind == STUCK:
        return np.full(EPISODE, was[start])
    if kind == DRIFT:
        return was[when] + rng.choice((-1.0, 1.0)) * np.linspace(0.2, 2.5, EPISODE)
    if kind == LAG:
        return was[np.maximum(when - 12, 0)]
    return np.roll(was, rng.integers(len(was) // 4, len(was) // 2))[when]
