"""What keeps a coordinator from serving: one check after the other, each with the next step.

It reads and asks, and changes nothing, so it may run beside the coordinator.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from fedanomaly.coordinator.home import Home
from fedanomaly.errors import FedAnomalyError
from fedanomaly.protocol import NO_ATTACHMENT, Entry, Envelope, Transcript, unneeded
from fedanomaly.storage.tables import SCHEMA_VERSION
from fedanomaly.transport import checks
from fedanomaly.transport.checks import Check, fail, failed, ok, warn
from fedanomaly.transport.trust import client_context
from fedanomaly.transport.verification import MAX_SKEW_S

NEARLY_USED = 0.9


def examine(home: Home) -> Iterator[Check]:
    """Yield one check after the other."""
    yield checks.versions()
    yield from checks.permissions(home.folder, ("coordinator.key", "coordinator.toml"))
    yield from checks.disk(home.folder)
    try:
        home.check()
    except FedAnomalyError as error:
        yield failed("settings and key", error)
        return
    yield ok("settings and key", f"{home.config.name}, coordinator {home.identity.public_key.hex()[:16]}…")
    if home.config.tls_certificate:
        files = (home.folder / home.config.tls_certificate, home.folder / home.config.tls_key)
        yield from checks.certificate(*files, settings="coordinator.toml")
    if home.database_path.exists():
        yield checks.database("database", home.database_path)
        yield from _log(home)
    else:
        yield warn("log", "this coordinator has not run yet", "run: fedanomaly coordinator run")
    yield from _way(home)


def _log(home: Home) -> Iterator[Check]:
    """Check that the log folds, names attachments that are there, and where the federation stands."""
    log = Transcript(home.federation, home.identity.public_key)
    refused = 0
    named: set[bytes] = set()
    last_at = 0.0
    try:
        with closing(sqlite3.connect(f"{home.database_path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            (version,) = database.execute("SELECT version FROM schema").fetchone()
            for seq, received_at, data in database.execute("SELECT seq, received_at, data FROM envelopes ORDER BY seq"):
                envelope, last_at = Envelope.from_bytes(data), received_at
                entry = Entry(seq, received_at, envelope)
                try:
                    log.add(entry)
                except FedAnomalyError:
                    refused += 1
                    log.skip(entry)
                named.add(envelope.attachment)
    except (sqlite3.Error, FedAnomalyError) as error:
        yield fail("log", f"cannot be read: {error}", "restore a backup")
        return
    if version != SCHEMA_VERSION:
        yield fail(
            "database version", f"{version}; this release writes {SCHEMA_VERSION}", "run the release that wrote it"
        )
    if refused:
        yield fail("log", f"{refused} of {log.head} entries break the rules", "restore a backup")
    else:
        yield ok("log", f"{log.head} entries, all in order")
    everybody = dict.fromkeys(log.members, math.inf)
    wanted = named - {NO_ATTACHMENT} - unneeded(log, time.time(), everybody)
    missing = sum(not _is_kept(home, digest) for digest in wanted)
    if missing:
        yield fail("attachments", f"{missing} that are still needed are missing", "restore a backup")
    else:
        yield ok("attachments", "all that are still needed are there")
    if last_at > time.time() + MAX_SKEW_S:
        yield fail("clock", "the last entry of the log lies in the future", "set the clock by NTP")
    elif last_at:
        yield ok("last entry", f"{time.time() - last_at:.0f} s ago")
    yield from _federation(home, log)


def _federation(home: Home, log: Transcript) -> Iterator[Check]:
    expected, epoch = home.config.members, log.epoch
    if len(log.members) < expected:
        step = "invite the others: fedanomaly coordinator invite ORGANISATION"
        yield warn("members", f"{len(log.members)} of {expected} are enrolled", step)
    else:
        yield ok("members", ", ".join(log.members.values()))
    if epoch is None:
        return
    found = f"{epoch.call.number} ({epoch.state.value}), {100 * log.quota_used:.1f} % of its quota used"
    if log.live is None:
        yield warn(
            "key epoch", found, "all nodes must run to set it up; after a lost key: fedanomaly coordinator new-epoch"
        )
    elif log.quota_used >= NEARLY_USED:
        yield warn("key epoch", found, "nothing: a new one begins by itself after the job under way")
    else:
        yield ok("key epoch", found)


def _is_kept(home: Home, digest: bytes) -> bool:
    name = digest.hex()
    return (home.blobs_path / "kept" / name[:2] / name).is_file()


def _way(home: Home) -> Iterator[Check]:
    url = home.config.origin
    try:
        ca = home.config.tls_ca
        trust = client_context(home.folder / ca if ca else None) if url.startswith("https") else None
    except FedAnomalyError as error:
        yield failed("TLS", error)
        return
    for check in checks.way_to(url, trust=trust):
        yield check
        if check.level == "fail":
            return
    yield checks.answer_of(url, "/healthz/ready", trust=trust)[0]
