"""What keeps a node from taking part: one check after the other, each with the next step.

It reads and asks, and changes nothing, so it may run beside the node. What the
keystore seals is checked only with its passphrase.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from fedanomaly.errors import DivergedError, FedAnomalyError, MessageError
from fedanomaly.node.backup import restored
from fedanomaly.node.datasets import Datasets
from fedanomaly.node.home import Home, Membership
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.log_mark import LogMark
from fedanomaly.node.remote import exchange_of
from fedanomaly.node.upstream import client_of
from fedanomaly.node.vault import SealedVault
from fedanomaly.protocol import Transcript
from fedanomaly.protocol.rules import Ledger
from fedanomaly.storage import SealedRows
from fedanomaly.transport import checks
from fedanomaly.transport.checks import Check, fail, failed, ok, warn
from fedanomaly.transport.trust import client_context
from fedanomaly.transport.verification import MAX_SKEW_S
from fedanomaly.transport.wire import API_VERSION, FederationInfo, decode

LONG_AGO_S = 120.0
NEARLY_USED = 0.9
NEW_EPOCH = "ask the coordinator's operator for a new key epoch: fedanomaly coordinator new-epoch"
NEW_ROWS = "add new rows: fedanomaly data add NAME FILE"


def examine(home: Home, *, passphrase: str | None, told: Mapping[str, Any] | None) -> Iterator[Check]:
    """Yield one check after the other.

    Parameters
    ----------
    home : Home
        Of the node.
    passphrase : str or None
        Of its keystore.
    told : mapping or None
        What the node says of itself, if it runs.
    """
    yield checks.versions()
    yield from checks.permissions(home.root, ("keystore.json", "token"))
    yield from checks.disk(home.root)
    yield from _settings(home)
    if (home.root / "rows.sqlite").exists():
        yield checks.database("ledger", home.root / "rows.sqlite")
    keystore = None
    if passphrase is None:
        yield warn("keystore", "not opened: no passphrase was given", "give --passphrase-file to check what it seals")
    else:
        try:
            keystore = home.unlock(passphrase)
            yield ok("keystore", f"opens; identity {keystore.public_key.hex()[:16]}…")
        except FedAnomalyError as error:
            yield failed("keystore", error)
    yield from _copies(home, told)
    if keystore is not None:
        yield from _sealed(home, keystore)
    yield from _running(told)
    try:
        membership = home.membership
    except FedAnomalyError as error:
        yield failed("enrolment", error)
        return
    if membership is None:
        yield fail("enrolment", "this node is not enrolled", "run: fedanomaly node enrol INVITATION")
        return
    yield ok("enrolment", f"{membership.name} at {membership.url}, coordinator {membership.coordinator.hex()[:16]}…")
    yield from _scoring_service(home, keystore)
    reached = yield from _way(home, membership)
    if reached and keystore is not None:
        yield from _federation(home, membership, keystore)


def _settings(home: Home) -> Iterator[Check]:
    try:
        _ = home.config
        policy = home.policy
    except FedAnomalyError as error:
        yield failed("settings", error)
        return
    yield ok("settings", "node.toml and policy.toml are in order")
    if policy.identities:
        yield ok("pinned identities", f"{len(policy.identities)}: a roster with anybody else is refused")
    else:
        step = "pin the members' keys in policy.toml, unless you trust the coordinator to invite"
        yield warn("pinned identities", "none: this node takes whomever the coordinator enrolled", step)


def _copies(home: Home, told: Mapping[str, Any] | None) -> Iterator[Check]:
    mark = restored(home)
    if mark is not None:
        day, of = (time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (mark.restored_at, mark.backup_at))
        yield warn("restored", f"on {day}, from a backup of {of} whose rows are not summed again", NEW_ROWS)
    if told and told["held_back"]:
        yield fail(
            "data sets", f"held back, for this node was restored or copied: {', '.join(told['held_back'])}", NEW_ROWS
        )


def _running(told: Mapping[str, Any] | None) -> Iterator[Check]:
    if told is None:
        yield warn("service", "the node does not run", "run: fedanomaly node run")
        return
    trouble, at = told["trouble"], told["last_contact_at"]
    ago = "never since its start" if at is None else f"{time.time() - at:.0f} s ago"
    if trouble:
        yield fail("service", f"runs, and says {trouble}", "see the lines on the coordinator below")
    elif at is None or time.time() - at > LONG_AGO_S:
        yield fail("service", f"runs; last contact {ago}", "see the lines on the coordinator below")
    else:
        yield ok("service", f"runs; last contact {ago}")
    yield _epoch(told["epoch"], told["epoch_state"])
    yield _quota(told["quota_used"])


def _epoch(number: int | None, state: str | None) -> Check:
    if number is None:
        return warn("key epoch", "none yet", "it begins once all members are enrolled")
    found = f"{number} ({state})"
    return ok("key epoch", found) if state == "live" else warn("key epoch", found, "all members must run to set it up")


def _quota(used: float) -> Check:
    found = f"{100 * used:.1f} % of the key epoch's is used"
    step = "nothing: a new key epoch begins by itself after the job under way"
    return ok("quota", found) if used < NEARLY_USED else warn("quota", found, step)


def _sealed(home: Home, keystore: Keystore) -> Iterator[Check]:
    try:
        rows = 0
        if (home.root / "rows.sqlite").exists():
            with SealedRows(home.root / "rows.sqlite", keystore.key_for("ledger")) as ledger:
                rows, last = ledger.verify(), Ledger(ledger, b"").clone_generation
        else:
            last = 0
        yield ok("ledger rows", f"{rows}, all of them open under this keystore")
        listed = Datasets(home.root / "data", keystore).list()
    except FedAnomalyError as error:
        yield failed("sealed files", error, "restore a backup")
        return
    held = [view.name for view in listed if view.generation <= last]
    if held:
        yield fail("data sets", f"held back, for this node was restored or copied: {', '.join(held)}", NEW_ROWS)
    elif listed:
        yield ok("data sets", ", ".join(f"{view.name} ({view.rows} rows)" for view in listed))
    else:
        yield warn("data sets", "none", "run: fedanomaly data add NAME FILE")


def _scoring_service(home: Home, keystore: Keystore | None) -> Iterator[Check]:
    """Ask the scoring service of the policy, if there is one, what this node may score with."""
    name = "scoring service"
    try:
        policy = home.policy_file
        url = policy.score_remotely
        if not url:
            return
        if keystore is None:
            yield warn(name, f"{url} was not asked: no passphrase was given", "give --passphrase-file to ask it")
            return
        with exchange_of(home, keystore, url, home.scoring_authority) as exchange:
            models = exchange.models()
    except FedAnomalyError as error:
        yield failed(name, error, "does it run, and is this node's identity among the tenants of scoring.toml?")
    else:
        told = f"{url} takes this node's requests; it has {len(models)} models for it"
        if policy.score_remotely_hide_model:
            # Whether it takes any shows only in an upload, and that might push out another.
            told += "; models are sent encrypted, for which its max_uploads_per_tenant must not be 0"
        yield ok(name, told)


def _way(home: Home, membership: Membership) -> Generator[Check, None, bool]:
    """Yield the steps of the way to the coordinator; returns whether it answered."""
    try:
        trust = client_context(home.authority) if membership.url.startswith("https") else None
    except FedAnomalyError as error:
        yield failed("TLS", error)
        return False
    for check in checks.way_to(membership.url, trust=trust):
        yield check
        if check.level == "fail":
            return False
    check, response = checks.answer_of(membership.url, "/v1/federation", trust=trust)
    yield check
    if response is None:
        return False
    yield checks.clock(response.headers.get("date"), bound_s=MAX_SKEW_S)
    check = _who(response.data, membership)
    yield check
    return check.level == "ok"


def _who(answer: bytes, membership: Membership) -> Check:
    """Check that who answers is who was pinned, and speaks our version."""
    try:
        info = decode(FederationInfo, answer)
    except MessageError:
        return fail("coordinator", "what answers is no coordinator of ours", "check the URL in federation.json")
    if (info.coordinator, info.federation) != (membership.coordinator, membership.federation):
        return fail(
            "coordinator", "another one than was pinned answers", "ask its operator what happened; trust nothing"
        )
    if info.version != API_VERSION:
        return fail("coordinator", f"speaks API {info.version}, this node {API_VERSION}", "upgrade the older side")
    return ok("coordinator", f"{info.name}, API {info.version}, {info.enrolled} of {info.members} members enrolled")


def _federation(home: Home, membership: Membership, keystore: Keystore) -> Iterator[Check]:
    """Check what only an enrolled member may ask: by signed requests, with the log folded anew."""
    log = Transcript(membership.federation, membership.coordinator)
    try:
        seen = LogMark(home.root / "log.json").seen
        with client_of(membership, keystore, ca_file=home.authority) as client:
            if seen.head:
                client.feed(after=seen.head, chain=seen.chain)
            head = 1
            while log.head < head:
                entries, head = client.feed(after=log.head)
                for entry in entries:
                    try:
                        log.add(entry)
                    except FedAnomalyError:
                        log.skip(entry)  # as the node does
    except DivergedError as error:
        yield failed("log", error)
        return
    except FedAnomalyError as error:
        yield failed("signed request", error, "is the clock right, and this node enrolled there?")
        return
    yield ok("log", f"{log.head} entries; it goes on from what this node has seen ({seen.head})")
    if keystore.public_key not in log.members:
        yield fail("identity", "this identity is not in the log", "enrol with a new invitation")
        return
    yield ok("identity", f"enrolled as {log.members[keystore.public_key]}")
    yield from _keys(home, keystore, log)


def _keys(home: Home, keystore: Keystore, log: Transcript) -> Iterator[Check]:
    epoch = log.epoch
    strangers = [
        name for key, name in log.members.items() if home.policy.identities and key not in home.policy.identities
    ]
    if strangers:
        yield fail(
            "pinned identities",
            f"not pinned: {', '.join(strangers)}",
            "compare their keys, then add them to policy.toml",
        )
    yield _epoch(epoch.call.number if epoch else None, epoch.state.value if epoch else None)
    yield _quota(log.quota_used)
    if epoch is None or not epoch.confirmed or keystore.public_key not in epoch.call.identities:
        return
    vault, me = SealedVault(home.root / "epochs", keystore), epoch.index_of(keystore.public_key)
    secrets = vault.load(epoch.live_label, members=epoch.members, threshold=epoch.call.threshold, index=me)
    if secrets is None:
        yield fail("epoch secrets", "this node does not hold those of the key epoch", NEW_EPOCH)
    else:
        secrets.close()
        yield ok("epoch secrets", "held, and open under this keystore")
