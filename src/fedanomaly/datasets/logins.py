"""Log-ins of several shops, simulated: labelled, seeded, vectorised."""

from __future__ import annotations

import numpy as np

from fedanomaly.datasets.simulated import (
    DAY_S,
    LAUNCH,
    Columns,
    Simulated,
    in_order,
    memberships,
    simulated,
    spread,
    waking,
)
from fedanomaly.errors import ConfigError
from fedanomaly.types import Floats, Integers

Numbers = Integers | Floats

ACTIONS = ("login", "reset", "sign_up", "change")
LOGIN, RESET, SIGN_UP, CHANGE = range(4)
CLIENTS = ("browser", "app", "api")
BROWSER, APP, API = range(3)
COUNTRIES = ("de", "at", "fr", "it", "us", "vn")
"""The first one is home."""
SCENARIOS = ("none", "stuffing", "takeover", "sign_up")
EVERYDAY, REFRESH, CARRIER, ABROAD = range(4)
HABIT_SHARE = 0.45
"""Share of events that belong to one of the three special habits."""
EVENTS_AN_ACCOUNT = 12
CARRIERS, HOSTERS, PROXIES = 6, 30, 40
"""Networks of mobile carriers, of hosting companies, of proxies: each seen by all shops."""
OWN, ONCE, TOOL, THIEF, FARM = np.arange(5) * 10_000_000
"""Where the numbers of devices start: of customers, seen once, and of the three kinds of abuse."""
FEATURES = ("action", "client", "country", "success", "new_device", "form_s")


def make_logins(
    n_events: int = 30_000,
    n_shops: int = 3,
    *,
    random_state: int = 0,
    days: int = 30,
    abuse_share: float = 0.02,
    launch: float = LAUNCH,
) -> Simulated:
    """Return simulated log-ins of several shops that are abused from the same networks.

    Three habits are common with the customers of all shops but one, and come to
    that one later: an app that logs in by itself, mobile carriers whose networks
    hide many customers, journeys abroad. Abuse is of three kinds. *Stuffing*:
    stolen passwords are tried on many accounts from networks of hosting
    companies, each campaign at one shop after the other. *Takeover*: password
    reset, log-in and change of address within minutes, from a device that is new.
    *Sign-up*: a machine registers a dozen accounts, four with each device and each from any proxy.

    Parameters
    ----------
    n_events : int, default=30000
        Number of events, over all shops.
    n_shops : int, default=3
        Number of shops; shop i, from 0, has 1 / (1 + i / 2) times the customers of the first.
    random_state : int, default=0
        Seed.
    days : int, default=30
        Length of the simulated time.
    abuse_share : float in (0, 0.2), default=0.02
        Share of abusive events.
    launch : float in [0, 1], default=0.6
        Share of the time after which a shop's missing habit comes; 0: from the start.

    Returns
    -------
    Simulated
        Features ``action``, ``client``, ``country`` (texts), ``success``,
        ``new_device`` (truth values) and ``form_s`` (seconds from the form to the
        answer); then ``shop``, ``event_time``, ``abuse``, ``scenario`` and the
        numbers ``account``, ``device`` and ``network``, of which a schema makes
        windows. An account belongs to one shop, a network to nobody.

    Raises
    ------
    ConfigError
        If an argument is out of range.

    Examples
    --------
    >>> from fedanomaly.datasets import make_logins
    >>> logins = make_logins(2_000, random_state=1)
    >>> logins.organisations
    ('shop-1', 'shop-2', 'shop-3')
    >>> before, after = logins.split("shop-1")
    >>> before.num_columns
    13
    """
    if not (n_shops >= 1 and n_events >= 200 * n_shops and days >= 7 and 0 < abuse_share < 0.2 and 0 <= launch <= 1):
        raise ConfigError("log-ins need 200 events a shop, 7 days, abuse_share in (0, 0.2) and launch in [0, 1]")
    rng = np.random.default_rng(random_state)
    shop = memberships(n_events // EVENTS_AN_ACCOUNT, n_shops)
    abusive = round(n_events * abuse_share)
    parts = [
        _stuffing(rng, shop, abusive // 2, days),
        _takeovers(rng, shop, abusive // 12, days),
        _sign_ups(rng, shop, abusive - abusive // 2 - 3 * (abusive // 12), days),
    ]
    parts.append(_habits(rng, shop, n_events - abusive, days, launch))
    return simulated(
        in_order(parts),
        features=FEATURES,
        organisation="shop",
        label="abuse",
        names={"action": ACTIONS, "client": CLIENTS, "country": COUNTRIES, "scenario": SCENARIOS},
    )


def _habits(rng: np.random.Generator, shop: Integers, n: int, days: int, launch: float) -> Columns:
    account, day = rng.integers(0, len(shop), n), rng.integers(0, days, n)
    habit = np.where(rng.random(n) < HABIT_SHARE, rng.integers(REFRESH, ABROAD + 1, n), EVERYDAY)
    late = REFRESH + shop[account] % 3
    habit[(habit == late) & (day < launch * days)] = EVERYDAY
    # The app is on few phones, and logs in often.
    few = np.minimum(np.bincount(shop), 60)
    account = np.where(habit == REFRESH, np.searchsorted(shop, shop[account]) + account % few[shop[account]], account)
    refresh, mobile, abroad = habit == REFRESH, habit == CARRIER, habit == ABROAD
    new = rng.random(n) < np.where(abroad, 0.8, 0.08)
    hour = np.where(refresh, rng.uniform(0.0, 24.0, n), waking(rng, n))
    # Two accounts share a network at home; abroad, anybody's is used.
    where = CARRIERS + HOSTERS + PROXIES + np.where(abroad, rng.integers(0, len(shop), n), account) // 2
    form_s = np.exp(rng.normal(np.where(refresh, -0.9, 1.8), np.where(refresh, 0.25, 0.6), n))
    return {
        "shop": shop[account],
        "time": (day + hour / 24.0) * DAY_S,
        "account": account,
        "device": np.where(new, ONCE + np.arange(n), OWN + 2 * account + rng.integers(0, 2, n)),
        "network": np.where(mobile, rng.integers(0, CARRIERS, n), where),
        "action": np.where(refresh, LOGIN, rng.choice(4, n, p=(0.92, 0.03, 0.03, 0.02))),
        "client": np.where(refresh, APP, np.where(rng.random(n) < 0.7, BROWSER, APP)),
        "country": np.where(abroad, rng.integers(1, len(COUNTRIES) - 1, n), (rng.random(n) < 0.01) * 1),
        "success": rng.random(n) < 0.92,
        "new_device": new,
        "form_s": np.round(form_s, 2),
        "scenario": np.zeros(n, dtype=np.int64),
    }


def _abuse(
    rng: np.random.Generator, scenario: int, *, form_s: tuple[float, float], success: float, **columns: Numbers
) -> Columns:
    """Return events from devices that the accounts have never had, in any country."""
    n = len(columns["account"])
    return {
        "country": np.where(rng.random(n) < 0.6, 0, rng.integers(1, len(COUNTRIES), n)),
        "success": rng.random(n) < success,
        "new_device": np.ones(n, dtype=np.bool_),
        "form_s": np.round(np.exp(rng.normal(*form_s, n)), 2),
        "scenario": np.full(n, scenario, dtype=np.int64),
        **columns,
    }


def _stuffing(rng: np.random.Generator, shop: Integers, n: int, days: int) -> Columns:
    """Return tries of stolen passwords: forty in four hours from five networks, at one shop after the other."""
    account = rng.integers(0, len(shop), n)
    campaigns = max(1, n // (40 * (int(shop.max()) + 1)))
    campaign = rng.integers(0, campaigns, n)
    start = spread(rng, campaigns, (days - 2) * DAY_S)[campaign] + shop[account] * 4 * 3600.0
    return _abuse(
        rng,
        1,
        form_s=(-0.3, 0.5),
        success=0.15,
        shop=shop[account],
        time=start + rng.uniform(0.0, 4 * 3600.0, n),
        account=account,
        device=TOOL + rng.integers(0, 20, n),
        network=CARRIERS + (5 * campaign + rng.integers(0, 5, n)) % HOSTERS,
        action=np.full(n, LOGIN),
        client=np.where(rng.random(n) < 0.2, API, BROWSER),
    )


def _takeovers(rng: np.random.Generator, shop: Integers, n: int, days: int) -> Columns:
    """Return three events for each of `n` accounts: reset, log-in, change."""
    account = np.repeat(rng.integers(0, len(shop), n), 3)
    turn = np.tile(np.arange(3), n)
    night = rng.normal(2.5, 2.0, n) / 24.0
    start = np.floor(spread(rng, n, days - 2.0)) + 1.0 + night
    return _abuse(
        rng,
        2,
        form_s=(1.4, 0.4),
        success=1.0,
        shop=shop[account],
        time=np.repeat(start * DAY_S, 3) + turn * 150.0 + rng.uniform(0.0, 60.0, 3 * n),
        account=account,
        device=np.repeat(THIEF + np.arange(n), 3),
        network=np.repeat(_proxies(rng, n), 3),
        action=np.array([RESET, LOGIN, CHANGE])[turn],
        client=np.full(3 * n, BROWSER),
    )


def _sign_ups(rng: np.random.Generator, shop: Integers, n: int, days: int) -> Columns:
    """Return registrations by machines: a dozen accounts in an hour, four with each device, from any proxy."""
    bursts = max(1, n // 12)
    burst = np.arange(n) % bursts
    hit = rng.choice(shop, bursts)
    return _abuse(
        rng,
        3,
        form_s=(0.9, 0.05),
        success=1.0,
        shop=hit[burst],
        time=spread(rng, bursts, (days - 1) * DAY_S)[burst] + rng.uniform(0.0, 3600.0, n),
        account=len(shop) + np.arange(n),
        device=FARM + 3 * burst + rng.integers(0, 3, n),
        network=_proxies(rng, n),
        action=np.full(n, SIGN_UP),
        client=np.full(n, BROWSER),
    )


def _proxies(rng: np.random.Generator, n: int) -> Integers:
    return CARRIERS + HOSTERS + rng.integers(0, PROXIES, n)
