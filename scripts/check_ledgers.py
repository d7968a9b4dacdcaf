"""Reads what coordinator and nodes have kept, and says which invariant it breaks; offline, and changes nothing.

    python scripts/check_ledgers.py --coordinator HOME --passphrase-file FILE NODE-HOME...

What must hold, whatever was killed, cut or filled up meanwhile:

- databases are whole, and the log folds without a refused entry;
- every attachment that the log names is there, and is what its digest says;
- what the ledger of a member recorded is what the log says it said: contributions, statements, votes;
- a member makes one statement for a manifest, and each nonce is used for one manifest;
- one round of a step is accepted, by the log and by every ledger;
- sums that were opened over the same rows of somebody are over the same set of members;
- every node keeps the same model of a job.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from fedanomaly.coordinator.home import Home as CoordinatorHome
from fedanomaly.errors import FedAnomalyError
from fedanomaly.node.home import Home
from fedanomaly.node.models import ModelStore
from fedanomaly.protocol import NO_ATTACHMENT, Entry, Envelope, RoundState, Transcript
from fedanomaly.protocol.jobs import SELF_TEST
from fedanomaly.protocol.messages import ContributionPost, Statement, Vote
from fedanomaly.protocol.rounds import Round
from fedanomaly.storage import BlobStore, SealedRows
from fedanomaly.types.canonical import item, item_int

LARGE = 1 << 62


@dataclass(frozen=True)
class Ledger:
    """What one node has kept: rows by kind and key, and the bytes of its models by job."""

    name: str
    identity: bytes
    rows: dict[str, dict[bytes, bytes]]
    models: dict[str, bytes]

    def of(self, kind: str) -> dict[bytes, bytes]:
        """Return the rows of a kind."""
        return self.rows.get(kind, {})


def violations(coordinator: Path, nodes: Iterable[Path], passphrase: str) -> Iterator[str]:
    """Yield every invariant that does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder)
        yield from _damage(coordinator / "coordinator.sqlite")
        log = Transcript(CoordinatorHome(coordinator).federation, CoordinatorHome(coordinator).identity.public_key)
        entries = list(_entries(coordinator / "coordinator.sqlite"))
        yield from _folded(log, entries)
        yield from _missing(coordinator / "blobs", entries)
        ledgers = []
        for home in nodes:
            yield from _damage(home / "rows.sqlite")
            ledgers.append(_ledger(home, passphrase, copies))
        for ledger in ledgers:
            yield from _unlike_the_log(ledger, log)
            yield from _nonces(ledger, log)
            yield from _accepted(ledger, log)
        yield from _accepted_twice(log)
        yield from _differences(log)
        yield from _models(ledgers)


def _damage(database: Path) -> Iterator[str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        answer = [text for (text,) in db.execute("PRAGMA integrity_check")]
    if answer != ["ok"]:
        yield f"{database}: {'; '.join(answer)}"


def _entries(database: Path) -> Iterator[Entry]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        for seq, received_at, data in db.execute("SELECT seq, received_at, data FROM envelopes ORDER BY seq"):
            yield Entry(seq, received_at, Envelope.from_bytes(data))


def _folded(log: Transcript, entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        try:
            log.add(entry)
        except FedAnomalyError as error:
            log.skip(entry)
            yield f"entry {entry.seq} ({entry.envelope.kind}) does not fold: {error}"


def _missing(folder: Path, entries: Iterable[Entry]) -> Iterator[str]:
    blobs = BlobStore(folder, part_bytes=LARGE, max_blob_bytes=LARGE, max_staged_bytes=LARGE)
    for entry in entries:
        named = entry.envelope.attachment
        if named == NO_ATTACHMENT:
            continue
        if not blobs.has(named):
            yield f"entry {entry.seq} ({entry.envelope.kind}) names an attachment that is not there"
        elif hashlib.sha256(b"".join(blobs.stream(named, 0, LARGE))).digest() != named:
            yield f"entry {entry.seq} ({entry.envelope.kind}) names an attachment that was changed"


def _ledger(home: Path, passphrase: str, copies: Path) -> Ledger:
    keystore = Home(home).unlock(passphrase)
    copy = copies / f"{keystore.public_key.hex()}.sqlite"
    with closing(sqlite3.connect(f"file:{home / 'rows.sqlite'}?mode=ro", uri=True)) as db:
        with closing(sqlite3.connect(copy)) as target:
            db.backup(target)
        kinds = [kind for (kind,) in db.execute("SELECT DISTINCT kind FROM rows WHERE kind != '.'")]
    with SealedRows(copy, keystore.key_for("ledger")) as rows:
        kept = {kind: dict(rows.all(kind)) for kind in kinds}
    store = ModelStore(home / "models", keystore)
    models = {}
    for lineage in store.newest():
        for version in range(1, lineage.version + 1):
            model = store.load(lineage.name, version)
            models[model.lineage.request] = model.state.to_bytes()
    return Ledger(home.name, keystore.public_key, kept, models)


def _unlike_the_log(ledger: Ledger, log: Transcript) -> Iterator[str]:
    """Compare what a member recorded with what the log says that it said."""
    for manifest, round_ in log.rounds.items():
        if ledger.identity not in round_.identities:
            continue
        me, name = round_.index_of(ledger.identity), f"{ledger.name}, manifest {manifest.hex()[:8]}"
        if me in round_.contributions:
            if manifest not in ledger.of("contributed"):
                yield f"{name}: the log has a contribution that the ledger does not know"
            body = ContributionPost.from_bytes(round_.contributions[me].body)
            if body.manifest != manifest:
                yield f"{name}: the contribution is to another manifest"
        if me in round_.statements:
            said = round_.statements[me][0]
            known = ledger.of("statement").get(manifest)
            if known is None or Statement.from_bytes(known) != said:
                yield f"{name}: the log has another statement than the ledger"
        if me in round_.votes:
            known = ledger.of("vote").get(manifest)
            if known is None or Vote.from_bytes(known) != round_.votes[me]:
                yield f"{name}: the log has another vote than the ledger"
        opened, published = ledger.of("opened").get(manifest), round_.opened
        if opened is not None and (published is None or published.attachment != opened):
            yield f"{name}: another masked sum was opened than the log has"


def _nonces(ledger: Ledger, log: Transcript) -> Iterator[str]:
    """Check that a nonce was drawn for one ask and spent on one manifest, of that ask."""
    for nonce, digest in ledger.of("spent").items():
        round_ = log.rounds.get(digest)
        drawn = ledger.of("nonce").get(nonce)
        if round_ is None or round_.ask.digest != drawn:
            yield f"{ledger.name}: the nonce {nonce.hex()[:8]} was spent on a manifest that it is not for"
    spent = list(ledger.of("spent").values())
    if len(spent) != len(set(spent)) or set(spent) != set(ledger.of("contributed")):
        yield f"{ledger.name}: not every contribution has its one nonce"


def _accepted(ledger: Ledger, log: Transcript) -> Iterator[str]:
    """Check that what a ledger holds as accepted is what the log accepted."""
    said = {}
    for job in log.jobs:
        for round_ in job.accepted:
            key = item("epoch", job.epoch.id) + item_int("job", job.number) + item_int("step", round_.ask.step)
            said[key] = round_.posted.hash
    for key, manifest in ledger.of("accepted").items():
        if said.get(key) != manifest:
            yield f"{ledger.name}: holds manifest {manifest.hex()[:8]} as accepted, the log does not"


def _accepted_twice(log: Transcript) -> Iterator[str]:
    for job in log.jobs:
        steps = [round_.ask.step for round_ in job.rounds if round_.state is RoundState.ACCEPTED]
        if len(steps) != len(set(steps)):
            yield f"job {job.number}: a step has two accepted states"


def _differences(log: Transcript) -> Iterator[str]:
    """Check that no two opened sums over the same rows of somebody could be subtracted.

    Released is what a decryptor said OPEN to and is not certified void, published
    or not. Where somebody is in two of them with the same rows, the sets are the
    same, and nobody or more than t members have new rows.
    """
    released: list[tuple[Round, dict[bytes, int]]] = []
    for round_ in log.rounds.values():
        certificate = round_.certificate()
        void = certificate is not None and certificate.void
        if round_.ask.kind == "sum" and not void and any(said.opens for said, _ in round_.statements.values()):
            who = {join.member: join.generation for join in round_.posted.joins}
            released.append((round_, {round_.identities[index - 1]: who[index] for index in round_.contributors}))
    for (one, before), (other, after) in combinations(released, 2):
        same = [identity for identity in before.keys() & after.keys() if before[identity] == after[identity]]
        changed = len(before) - len(same)
        threshold = max(one.ask.threshold, other.ask.threshold)
        if same and (before.keys() != after.keys() or 0 < changed <= threshold):
            yield (
                f"job {one.ask.job} round {one.ask.round} and job {other.ask.job} round {other.ask.round}: "
                f"opened over the same rows of {len(same)} members and another set"
            )


def _models(ledgers: Iterable[Ledger]) -> Iterator[str]:
    states: defaultdict[str, set[bytes]] = defaultdict(set)
    for ledger in ledgers:
        for job, state in ledger.models.items():
            states[job].add(state)
    yield from (f"job {job[:8]}: nodes keep different models" for job, kept in states.items() if len(kept) > 1)


def main() -> int:
    """Print what does not hold, and what was looked at."""
    parser = argparse.ArgumentParser(description="Checks the ledgers of a federation that is not running.")
    parser.add_argument("--coordinator", type=Path, required=True, metavar="HOME")
    parser.add_argument("--passphrase-file", type=Path, required=True, metavar="FILE")
    parser.add_argument("nodes", type=Path, nargs="+", metavar="NODE-HOME")
    given = parser.parse_args()
    passphrase = given.passphrase_file.read_text().strip()
    found = list(violations(given.coordinator, given.nodes, passphrase))
    for line in found:
        print(line, file=sys.stderr)
    log = Transcript(
        CoordinatorHome(given.coordinator).federation, CoordinatorHome(given.coordinator).identity.public_key
    )
    entries = list(_entries(given.coordinator / "coordinator.sqlite"))
    for _ in _folded(log, entries):
        pass
    rounds = [round_ for job in log.jobs for round_ in job.rounds if job.number != SELF_TEST]
    accepted = sum(round_.state is RoundState.ACCEPTED for round_ in rounds)
    verdict = f"{len(found)} broken" if found else "every invariant holds"
    print(
        f"ledgers: {len(entries)} entries, {len(log.epochs)} key epochs, {len(log.jobs)} jobs, {len(rounds)} rounds, "
        f"{accepted} accepted, {len(given.nodes)} nodes; {verdict}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
