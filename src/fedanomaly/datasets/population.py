"""Who pays where: customers of several banks, merchants and their terminals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedanomaly.types import Floats, Integers

EVENTS_A_DAY = 0.9
CUSTOMERS_A_TERMINAL = 3
NEARBY = 15
REGION_KM = 150.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Customers and terminals; a customer belongs to one bank, a terminal to all.

    Parameters
    ----------
    bank : int64 array of shape (n_customers,)
        Bank of every customer.
    home : float64 array of shape (n_customers, 2)
        Home, km.
    spending : float64 array of shape (n_customers,)
        Typical amount.
    frequency : float64 array of shape (n_customers,)
        Events a day.
    nearby : int64 array of shape (n_customers, n_nearby)
        Terminals near home, the favourite first.
    place : float64 array of shape (n_terminals, 2)
        Place of every terminal, km.
    category : int64 array of shape (n_terminals,)
        Trade of its merchant.
    price : float64 array of shape (n_terminals,)
        Price level of its merchant.
    """

    bank: Integers
    home: Floats
    spending: Floats
    frequency: Floats
    nearby: Integers
    place: Floats
    category: Integers
    price: Floats

    @property
    def n_terminals(self) -> int:
        """Number of terminals."""
        return len(self.category)


def make_population(rng: np.random.Generator, n_events: int, n_banks: int, days: int, n_categories: int) -> Population:
    """Return customers enough for `n_events` in `days`, and their terminals.

    Notes
    -----
    The first bank is the largest; bank i (from 0) has 1 / (1 + i / 2) times its customers.
    """
    n_customers = max(20 * n_banks, round(n_events / days / EVENTS_A_DAY))
    share = 1.0 / (1.0 + np.arange(n_banks) / 2.0)
    ends = np.round(np.cumsum(share) / share.sum() * n_customers).astype(np.int64)
    bank = np.searchsorted(ends, np.arange(n_customers), side="right")
    towns = rng.random((12, 2)) * REGION_KM
    home = towns[rng.integers(0, len(towns), n_customers)] + rng.normal(0.0, 6.0, (n_customers, 2))
    n_terminals = max(60, n_customers // CUSTOMERS_A_TERMINAL)
    place = towns[rng.integers(0, len(towns), n_terminals)] + rng.normal(0.0, 5.0, (n_terminals, 2))
    merchant = np.arange(n_terminals) // 3
    category = rng.integers(0, n_categories, merchant[-1] + 1)[merchant]
    price = np.exp(rng.normal(0.0, 0.3, merchant[-1] + 1))[merchant]
    return Population(
        bank=bank,
        home=home,
        spending=np.exp(rng.normal(3.2, 0.5, n_customers)),
        frequency=rng.gamma(2.0, EVENTS_A_DAY / 2.0, n_customers) + 0.05,
        nearby=_nearby(home, place),
        place=place,
        category=category,
        price=price,
    )


def _nearby(home: Floats, place: Floats) -> Integers:
    """Return the terminals nearest to every home."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import, and needed here only

    _, nearest = KDTree(place).query(home, k=NEARBY)
    return np.asarray(nearest, dtype=np.int64)
