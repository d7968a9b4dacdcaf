"""Payments as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from fedanomaly.types import Floats, Integers

DAY_S = 86_400.0
CHIP, CONTACTLESS, CASH, ONLINE = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Payments as columns of shape (n_events,).

    Parameters
    ----------
    customer, terminal : int64 array
        Indices into the population.
    time : float64 array
        Seconds since the start.
    amount : float64 array
        Money.
    channel : int64 array
        CHIP, CONTACTLESS, CASH or ONLINE.
    away : float64 array
        Km that the customer is from home, beyond the distance of the terminal.
    scenario : int64 array
        0: normal; else the kind of fraud.
    """

    customer: Integers
    terminal: Integers
    time: Floats
    amount: Floats
    channel: Integers
    away: Floats
    scenario: Integers


def join(parts: list[Events]) -> Events:
    """Return the events of all parts, in order of time."""
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)}
    order = np.argsort(columns["time"], kind="stable")
    return Events(**{name: column[order] for name, column in columns.items()})
