"""Network flows of several sites, simulated: labelled, seeded, vectorised."""

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

SERVICES = ("web", "dns", "mail", "remote_shell", "backup", "monitoring", "telemetry")
WEB, _DNS, MAIL, REMOTE_SHELL, BACKUP, MONITORING, TELEMETRY = range(7)
USED = (0.4, 0.2, 0.08, 0.05, 0.09, 0.09, 0.09)
"""Share of each service in the flows of a site that has them all."""
TYPICAL = np.log(
    [
        # seconds, bytes out, bytes in
        [2.0, 2e3, 3e4],
        [0.05, 60, 200],
        [3.0, 4e4, 2e3],
        [200.0, 2e4, 4e4],
        [400.0, 3e7, 1e5],
        [0.1, 300, 200],
        [0.5, 600, 150],
    ]
)
"""Logarithms of what is usual for each service."""
PACKET_BYTES = 900.0
SCENARIOS = ("none", "scan", "brute_force", "exfiltration", "beacon")
FEATURES = ("service", "duration_s", "bytes_out", "bytes_in", "packets_out", "packets_in", "rejected")


def make_flows(
    n_flows: int = 30_000,
    n_sites: int = 3,
    *,
    random_state: int = 0,
    days: int = 14,
    attack_share: float = 0.03,
    launch: float = LAUNCH,
) -> Simulated:
    """Return simulated network flows of several sites, each with services of its own.

    Web, name service, mail and remote shells are everywhere. Backups over the
    line, monitoring of hosts and telemetry of machines are in use at all sites but
    one each, and come to that one later: much that is sent, many hosts asked, signs
    of life all day. Attacks are of four kinds. *Scan*: one host tries many others,
    half of which refuse. *Brute force*: many short remote shells
    from one host to one other. *Exfiltration*: few flows at night that send much
    by a service that otherwise receives. *Beacon*: a host inside tells one outside
    that it lives, about every five minutes; a single such flow looks normal, and
    only its regular distance from the last does not.

    Parameters
    ----------
    n_flows : int, default=30000
        Number of flows, over all sites.
    n_sites : int, default=3
        Number of sites; site i, from 0, has 1 / (1 + i / 2) times the hosts of the first.
    random_state : int, default=0
        Seed.
    days : int, default=14
        Length of the simulated time.
    attack_share : float in (0, 0.2), default=0.03
        Share of flows that are attacks.
    launch : float in [0, 1], default=0.6
        Share of the time after which a site's missing service comes; 0: from the start.

    Returns
    -------
    Simulated
        Features ``service`` (text), ``duration_s``, ``bytes_out`` and
        ``bytes_in``, ``packets_out`` and ``packets_in`` (as the source sees them),
        ``rejected`` (truth value); then ``site``, ``event_time`` (of the start),
        ``attack``, ``scenario`` and the numbers ``source`` and ``target`` of the
        hosts, of which a schema makes windows.

    Raises
    ------
    ConfigError
        If an argument is out of range.

    Examples
    --------
    >>> from fedanomaly.datasets import make_flows
    >>> flows = make_flows(2_000, random_state=1)
    >>> flows.organisations
    ('site-1', 'site-2', 'site-3')
    >>> flows.of("site-1").num_columns
    13
    """
    if not (n_sites >= 1 and n_flows >= 200 * n_sites and days >= 2 and 0 < attack_share < 0.2 and 0 <= launch <= 1):
        raise ConfigError("flows need 200 a site, 2 days, attack_share in (0, 0.2) and launch in [0, 1]")
    rng = np.random.default_rng(random_state)
    site = memberships(max(40 * n_sites, n_flows // 100), n_sites)
    n_attack = round(n_flows * attack_share)
    scans, guesses, leaks = round(0.35 * n_attack), round(0.25 * n_attack), round(0.15 * n_attack)
    parts = [
        _habits(rng, site, n_flows - n_attack, days, launch),
        _scans(rng, site, scans, days),
        _brute_force(rng, site, guesses, days),
        _exfiltration(rng, site, leaks, days),
        _beacons(rng, site, n_attack - scans - guesses - leaks, days),
    ]
    return simulated(
        in_order(parts),
        features=FEATURES,
        organisation="site",
        label="attack",
        names={"service": SERVICES, "scenario": SCENARIOS},
    )


def _habits(rng: np.random.Generator, site: Integers, n: int, days: int, launch: float) -> Columns:
    source, day = rng.integers(0, len(site), n), rng.integers(0, days, n)
    service = rng.choice(len(SERVICES), n, p=USED)
    late = BACKUP + site[source] % 3
    service[(service == late) & (day < launch * days)] = WEB
    # Few hosts monitor others and send telemetry, all day.
    machine = np.isin(service, (MONITORING, TELEMETRY))
    source[machine] = np.searchsorted(site, site[source[machine]]) + rng.integers(0, 4, machine.sum())
    hour = np.where(machine | (service == BACKUP), rng.uniform(0.0, 24.0, n), waking(rng, n))
    # A service of a site has few servers; the web is outside, and wide.
    server = 100_000 + 1_000 * site[source] + 10 * service + rng.integers(0, 3, n)
    target = np.where(service == WEB, 200_000 + np.minimum(rng.geometric(0.01, n), 600), server)
    target = np.where(service == MONITORING, rng.integers(0, len(site), n), target)
    size = rng.normal(0.0, 0.8, n)
    logs = TYPICAL[service] + np.column_stack([size * 0.5, size, size]) + rng.normal(0.0, 0.4, (n, 3))
    return _flows(
        rng, 0, source=source, target=target, service=service, time=(day + hour / 24.0) * DAY_S, logs=logs, site=site
    )


def _scans(rng: np.random.Generator, site: Integers, n: int, days: int) -> Columns:
    """Return scans of thirty targets in half an hour."""
    source, start = _bursts(rng, site, n, 30, days)
    logs = np.log([0.02, 60.0, 40.0]) + rng.normal(0.0, 0.2, (n, 3))
    service = rng.choice((WEB, MAIL, REMOTE_SHELL), n)
    time = start + rng.uniform(0.0, 1800.0, n)
    target = rng.integers(0, len(site), n)
    return _flows(rng, 1, source=source, target=target, service=service, time=time, logs=logs, site=site, rejected=0.5)


def _brute_force(rng: np.random.Generator, site: Integers, n: int, days: int) -> Columns:
    """Return guesses of passwords: twenty remote shells in ten minutes, each over at once."""
    source, start = _bursts(rng, site, n, 20, days)
    logs = np.log([1.5, 1.8e3, 2.2e3]) + rng.normal(0.0, 0.15, (n, 3))
    target = 100_000 + 1_000 * site[source] + 10 * REMOTE_SHELL
    time, service = start + rng.uniform(0.0, 600.0, n), np.full(n, REMOTE_SHELL)
    return _flows(rng, 2, source=source, target=target, service=service, time=time, logs=logs, site=site, rejected=0.1)


def _exfiltration(rng: np.random.Generator, site: Integers, n: int, days: int) -> Columns:
    """Return two flows a night that send far more than they receive."""
    source, start = _bursts(rng, site, n, 2, days)
    logs = np.log([120.0, 1e7, 2e4]) + rng.normal(0.0, 0.6, (n, 3))
    night = np.floor(start / DAY_S) * DAY_S + np.mod(rng.normal(2.5, 1.0, n), 24.0) * 3600.0
    target, service = 300_000 + rng.integers(0, 3, n), np.full(n, WEB)
    return _flows(rng, 3, source=source, target=target, service=service, time=night, logs=logs, site=site)


def _beacons(rng: np.random.Generator, site: Integers, n: int, days: int) -> Columns:
    """Return signs of life every five minutes, thirty from each host."""
    source, start = _bursts(rng, site, n, 30, days)
    bursts = max(1, n // 30)
    time = start + (np.arange(n) // bursts) * 300.0 + rng.normal(0.0, 3.0, n)
    logs = np.log([0.4, 450.0, 300.0]) + rng.normal(0.0, 0.1, (n, 3))
    target, service = 300_100 + source % 3, np.full(n, WEB)
    return _flows(rng, 4, source=source, target=target, service=service, time=np.abs(time), logs=logs, site=site)


def _bursts(rng: np.random.Generator, site: Integers, n: int, size: int, days: int) -> tuple[Integers, Floats]:
    """Return the source of every flow and when its burst starts; every site is hit."""
    bursts = max(1, n // size)
    burst = np.arange(n) % bursts
    hit = rng.permutation(np.arange(bursts) % (int(site.max()) + 1))
    hosts = np.searchsorted(site, hit) + (rng.random(bursts) * np.bincount(site)[hit]).astype(np.int64)
    return hosts[burst], spread(rng, bursts, (days - 0.5) * DAY_S)[burst]


def _flows(
    rng: np.random.Generator,
    scenario: int,
    *,
    source: Integers,
    target: Integers,
    service: Integers,
    time: Floats,
    logs: Floats,
    site: Integers,
    rejected: float = 0.03,
) -> Columns:
    """Return flows with the logarithms of seconds, bytes out, bytes in; what is rejected carries nothing."""
    refused = rng.random(len(source)) < rejected
    duration, out, back = np.exp(np.where(refused[:, None], np.log([0.01, 60.0, 40.0]), logs)).T
    return {
        "site": site[source],
        "time": time,
        "source": source,
        "target": target,
        "service": service,
        "duration_s": np.round(duration, 3),
        "bytes_out": np.ceil(out),
        "bytes_in": np.ceil(back),
        "packets_out": np.ceil(out / PACKET_BYTES + back / (4 * PACKET_BYTES)),
        "packets_in": np.ceil(back / PACKET_BYTES + out / (4 * PACKET_BYTES)),
        "rejected": refused,
        "scenario": np.full(len(source), scenario, dtype=np.int64),
    }
