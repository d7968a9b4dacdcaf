"""What goes wrong: compromised terminals, stolen cards, take-over, a ring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedanomaly.datasets.events import CASH, CHIP, CONTACTLESS, DAY_S, ONLINE, Events
from fedanomaly.datasets.population import Population
from fedanomaly.types import Floats, Integers

SCENARIOS = ("none", "terminal", "stolen", "takeover", "ring")
TERMINAL, STOLEN, TAKEOVER, RING = range(1, 5)
OWN_SHARE = 0.6
"""Share of a bank's fraud that is of the kind which works there."""


@dataclass(frozen=True, eq=False)
class Victims:
    """Whom one kind of fraud hits at one bank.

    Parameters
    ----------
    people : Population
        Everybody.
    customers : int64 array of shape (n_customers,)
        The bank's customers.
    events, days : int
        Number of fraudulent events, length of the time.
    """

    people: Population
    customers: Integers
    events: int
    days: int

    def bursts(self, rng: np.random.Generator, size: int) -> tuple[Integers, Floats]:
        """Return the customer of every event and the day when its burst of `size` starts."""
        n = max(1, self.events // size)
        turn = np.arange(self.events) % n
        return rng.choice(self.customers, n)[turn], self.spread(rng, n, 3)[turn]

    def spread(self, rng: np.random.Generator, n: int, tail: int) -> Floats:
        """Return `n` days, spread over the time but for a tail, so that no bank is spared for long."""
        return (np.arange(n) + rng.random(n)) / n * (self.days - tail)

    def anywhere(self, rng: np.random.Generator) -> Integers:
        """Return any terminal for every event."""
        return rng.integers(0, self.people.n_terminals, self.events)

    def at(
        self, scenario: int, *, customer: Integers, terminal: Integers, day: Floats, factor: Floats, channel: Integers
    ) -> Events:
        """Return the events, `factor` being the logarithm of amount over the customer's usual one."""
        return Events(
            customer=customer,
            terminal=terminal,
            time=day * DAY_S,
            amount=np.maximum(self.people.spending[customer] * np.exp(factor), 0.01),
            channel=channel,
            away=np.zeros(self.events),
            scenario=np.full(self.events, scenario, dtype=np.int64),
        )


def make_frauds(rng: np.random.Generator, people: Population, count: int, days: int) -> list[Events]:
    """Return about `count` fraudulent events: at each bank mostly of its own kind, the ring at all."""
    out = []
    for bank in range(int(people.bank.max()) + 1):
        customers = np.flatnonzero(people.bank == bank)
        share = count * people.frequency[customers].sum() / people.frequency.sum()
        for kind, make in _KINDS.items():
            own = OWN_SHARE if kind == TERMINAL + bank % 3 else 0.0
            events = round(share * (own + (1.0 - OWN_SHARE) / len(_KINDS)))
            if events:
                out.append(make(rng, Victims(people, customers, events, days)))
    return out


def _night(rng: np.random.Generator, hour: float, spread: float, count: int) -> Floats:
    return np.mod(rng.normal(hour, spread, count), 24.0) / 24.0


def _terminal(rng: np.random.Generator, victims: Victims) -> Events:
    """Return events at compromised terminals: for a week, raised amounts with any card in the small hours."""
    n, events = max(1, victims.events // 12), victims.events
    bad, opened = rng.integers(0, victims.people.n_terminals, n), victims.spread(rng, n, 8)
    which, customer = rng.integers(0, n, events), rng.choice(victims.customers, events)
    day = np.floor(opened[which] + rng.random(events) * 7.0) + _night(rng, 3.0, 2.0, events)
    channel = np.full(events, CHIP)
    return victims.at(
        TERMINAL, customer=customer, terminal=bad[which], day=day, factor=rng.normal(0.9, 0.4, events), channel=channel
    )


def _stolen(rng: np.random.Generator, victims: Victims) -> Events:
    """Return events of stolen cards: six payments within ten hours, anywhere in the region, raised amounts."""
    customer, start = victims.bursts(rng, 6)
    day = start + rng.random(victims.events) * 0.4
    channel = np.where(rng.random(victims.events) < 0.5, CONTACTLESS, CASH)
    factor = rng.normal(0.7, 0.5, victims.events)
    return victims.at(
        STOLEN, customer=customer, terminal=victims.anywhere(rng), day=day, factor=factor, channel=channel
    )


def _takeover(rng: np.random.Generator, victims: Victims) -> Events:
    """Return events of account take-over: four large online payments in new shops, at night."""
    customer, start = victims.bursts(rng, 4)
    day = np.floor(start) + _night(rng, 2.0, 2.5, victims.events)
    channel = np.full(victims.events, ONLINE)
    factor = rng.normal(1.8, 0.4, victims.events)
    return victims.at(
        TAKEOVER, customer=customer, terminal=victims.anywhere(rng), day=day, factor=factor, channel=channel
    )


def _ring(rng: np.random.Generator, victims: Victims) -> Events:
    """Return the part of a ring: few complicit terminals, cards of every bank, alike amounts that hardly stand out."""
    complicit = 3 + rng.integers(0, max(2, victims.people.n_terminals // 150), victims.events)
    customer, start = victims.bursts(rng, 4)
    day = start + rng.random(victims.events) * 0.5
    channel = np.full(victims.events, CONTACTLESS)
    factor = rng.normal(0.3, 0.1, victims.events)
    return victims.at(RING, customer=customer, terminal=complicit, day=day, factor=factor, channel=channel)


_KINDS = {TERMINAL: _terminal, STOLEN: _stolen, TAKEOVER: _takeover, RING: _ring}
