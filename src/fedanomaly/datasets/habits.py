"""What customers do when nothing is wrong."""

from __future__ import annotations

import numpy as np

from fedanomaly.datasets.events import CHIP, CONTACTLESS, DAY_S, ONLINE, Events
from fedanomaly.datasets.population import Population
from fedanomaly.types import Floats

LAUNCH = 0.6
EVERYDAY, TRANSIT, ABROAD, SUBSCRIPTION = range(4)
HABIT_SHARE = 0.36
"""Share of events that belong to one of the three special habits."""
CHANNEL_SHARE = (0.35, 0.35, 0.08, 0.22)
CHANNEL_FACTOR = (1.0, 0.6, 2.0, 1.2)
HABIT_FACTOR = (1.0, 0.03, 0.8, 0.25)
ANYWHERE = 0.05
"""Share of everyday events at a terminal that is not one of the usual ones."""
BILLERS = 3
"""Terminals that collect all subscriptions."""


def make_habits(rng: np.random.Generator, people: Population, count: int, days: int, launch: float) -> Events:
    """Return `count` normal events.

    The customers of bank b have habit ``1 + b % 3`` only after `launch` of the time.
    """
    customer = rng.choice(len(people.bank), size=count, p=people.frequency / people.frequency.sum())
    day = rng.integers(0, days, count)
    habit = np.where(rng.random(count) < HABIT_SHARE, rng.integers(TRANSIT, SUBSCRIPTION + 1, count), EVERYDAY)
    late = TRANSIT + people.bank[customer] % 3
    habit[(habit == late) & (day < launch * days)] = EVERYDAY
    channel = rng.choice(4, size=count, p=CHANNEL_SHARE)
    for special, shown in ((TRANSIT, CONTACTLESS), (ABROAD, CHIP), (SUBSCRIPTION, ONLINE)):
        channel[habit == special] = shown
    favourite = np.minimum(rng.geometric(0.2, count) - 1, people.nearby.shape[1] - 1)
    terminal = people.nearby[customer, favourite]
    anywhere = (channel == ONLINE) | (habit == ABROAD) | (rng.random(count) < ANYWHERE)
    terminal = np.where(anywhere, rng.integers(0, people.n_terminals, count), terminal)
    terminal = np.where(habit == SUBSCRIPTION, rng.integers(0, BILLERS, count), terminal)
    amount = people.spending[customer] * np.exp(rng.normal(0.0, 0.5, count)) * people.price[terminal]
    amount *= np.array(CHANNEL_FACTOR)[channel] * np.array(HABIT_FACTOR)[habit]
    return Events(
        customer=customer,
        terminal=terminal,
        time=(day + np.where(habit == TRANSIT, _commuting(rng, count), _hours(rng, count)) / 24.0) * DAY_S,
        amount=np.maximum(amount, 0.01),
        channel=channel,
        away=np.where(habit == ABROAD, rng.gamma(4.0, 250.0, count), 0.0),
        scenario=np.zeros(count, dtype=np.int64),
    )


def _hours(rng: np.random.Generator, count: int) -> Floats:
    """Return hours of the day: around noon and the evening, few at night."""
    evening = rng.random(count) < 0.45
    return np.mod(np.where(evening, rng.normal(18.5, 2.0, count), rng.normal(12.0, 3.0, count)), 24.0)


def _commuting(rng: np.random.Generator, count: int) -> Floats:
    morning = rng.random(count) < 0.5
    return np.where(morning, rng.normal(7.6, 0.5, count), rng.normal(17.6, 0.6, count))
