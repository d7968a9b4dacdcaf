"""One member's view of a recorded federation: everything that it must check, and what it computes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.independent import sums
from tests.independent.encoding import ZEROS, need
from tests.independent.envelopes import Envelope, read_all, read_next_step
from tests.independent.epoch import Dealing, Keys, commitment, deal_info, hpke_public_bytes, read_state, unseal
from tests.independent.log import Job, Log, Round
from tests.independent.packing import QUOTA
from tests.independent.steps import (
    MESSAGES,
    attachment,
    best_degree,
    frozen_hash,
    read_step,
    residues,
    sizes,
    totals,
)
from tests.independent.steps import read_state as read_detector_state
from tests.independent.streams import sha256


class Recording:
    """A file that scripts/record_federation.py wrote."""

    def __init__(self, path: Path) -> None:
        data: dict[str, Any] = json.loads(path.read_text())
        self.member: int = data["member"]
        self.identity = bytes.fromhex(data["identity"])
        self.federation = bytes.fromhex(data["federation"])
        self.coordinator = bytes.fromhex(data["coordinator"])
        self.log = [base64.b64decode(entry) for entry in data["log"]]
        self.attachments = {bytes.fromhex(k): base64.b64decode(v) for k, v in data["attachments"].items()}
        self.rounds = {bytes.fromhex(entry["manifest"]): entry for entry in data["rounds"]}
        self._key = bytes.fromhex(data["sealing_key"])
        self._sealed = {bytes.fromhex(label): base64.b64decode(blob) for label, blob in data["sealed"].items()}

    def new_log(self) -> Log:
        return Log(self.federation, self.coordinator)

    def whole_log(self) -> Log:
        log = self.new_log()
        for raw in self.log:
            log.admit(raw)
        return log

    def state(self, label: bytes) -> Dealing | Keys:
        return read_state(unseal(self._sealed[label], self._key, label))

    def fetch(self, envelope: Envelope) -> bytes:
        """Return what an envelope names, which must be exactly that."""
        return checked_attachment(envelope, self.attachments[envelope.attachment])


def checked_attachment(envelope: Envelope, data: bytes) -> bytes:
    need(len(data) == envelope.size and sha256(data) == envelope.attachment, "another attachment")
    return data


def keys_of(recording: Recording, log: Log) -> Keys:
    """Set the key epoch up once more: from what the member drew, and from what it was dealt."""
    epoch, me = log.epochs[0], recording.member
    dealing = recording.state(epoch.digest)
    need(isinstance(dealing, Dealing) and dealing.index == me, "not the secrets before the epoch id")
    hello = epoch.hellos[me][0].hello
    need(hello[:1216] == hpke_public_bytes(dealing.hpke), "the hello holds another HPKE key")
    need(hello[1216:] == commitment(me, dealing.part, dealing.salt), "the hello holds another commitment")
    for sender in range(1, epoch.members + 1):
        if sender != me:
            said = epoch.hellos[sender][0]
            info = deal_info(epoch.roster, said.nonce, sender, me)
            dealing.receive(sender, said.hello, info, recording.fetch(epoch.deals[sender, me]))
    keys = dealing.finish(epoch.id, epoch.roster)
    need(keys.confirmation() == epoch.confirms[me][1], "the members hold another group key")
    return keys


def opened_rounds(log: Log) -> Iterator[tuple[Job, Round]]:
    for job in log.jobs:
        for entry in job.rounds:
            if entry.opened:
                yield job, entry


def check_join(recording: Recording, keys: Keys, entry: Round) -> None:
    """The manifest holds this member's own nonce, recomputed from what it froze."""
    kept, join = recording.rounds[entry.manifest.hash], entry.joins[recording.member]
    nonce = keys.nonce(entry.ask.raw, join.generation, frozen_hash(kept["frozen"]), bytes.fromhex(kept["random"]))
    need(nonce == join.nonce, "another nonce")


def check_quota(log: Log, recording: Recording) -> None:
    used = sum(entry.ask.layout.coefficients for entry in log.rounds() if recording.member in entry.contributions)
    need(used <= min(QUOTA, log.settings.quota), "the key epoch is used up")


def check_follows(job: Job, entry: Round) -> None:
    """A later step rests on the certified opening of the step before, over the set of the first step."""
    manifest, step = entry.manifest, entry.ask.step
    if entry.ask.kind == "test" or step == 0:
        need(not manifest.certificate and manifest.previous == ZEROS, "a first step rests on nothing")
        return
    before = job.accepted[step - 1]
    contributors, statements = before.certificate()
    need(manifest.previous == before.opened.attachment, "the step before opened to something else")
    told = [envelope.digest for envelope in read_all(manifest.certificate)]
    need(told == [envelope.digest for envelope in statements] and bool(contributors), "not the certificate")
    need(manifest.fixed == job.accepted[0].contributors == contributors, "another set than the first step's")


def check_guard(log: Log, recording: Recording, entry: Round) -> None:
    """Earlier sums over the same rows are void, without this member, or open to the very set that is fixed now."""
    me, now = recording.member, {join.member: join.generation for join in entry.manifest.joins}
    for earlier in log.rounds():
        if earlier is entry:
            return
        if earlier.ask.kind != "sum" or earlier.joins[me].generation != now[me] or me not in earlier.contributions:
            continue
        certificate = earlier.certificate()
        need(certificate is not None, "an earlier sum over these rows is not certified")
        if me in certificate[0]:
            changed = sum(now.get(one) != earlier.joins[one].generation for one in certificate[0])
            need(certificate[0] == entry.manifest.fixed, "another set over these rows")
            need(changed == 0 or changed > entry.ask.layout.threshold, "too few of the set have new rows")


def check_own_messages(recording: Recording, keys: Keys, entry: Round) -> None:
    """What this member sent is what its secrets and frozen values give, to the last bit."""
    me, manifest = recording.member, entry.manifest
    frozen = recording.rounds[manifest.hash]["frozen"]
    own = attachment(manifest, "contribution", sums.contribution(keys, manifest, frozen))
    need(recording.fetch(entry.contributions[me]) == own, "another contribution")
    if me in manifest.decryptors:
        body = sums.share(keys, manifest, entry.contributors)
        own = attachment(manifest, "decryption share", body)
        need(recording.fetch(entry.statements[me][1]) == own, "another decryption share")


def body_of(recording: Recording, envelope: Envelope, entry: Round) -> bytes:
    return residues(recording.fetch(envelope), MESSAGES[envelope.kind], entry.manifest)


def check_sum(recording: Recording, entry: Round) -> None:
    """The masked sum is the sum of what the contributors and decryptors sent."""
    sent = [entry.contributions[index] for index in entry.contributors]
    sent += [entry.statements[index][1] for index in entry.manifest.decryptors]
    total = sums.added(entry.manifest, [body_of(recording, envelope, entry) for envelope in sent])
    need(total == body_of(recording, entry.opened, entry), "the masked sum is another one")


def opening(recording: Recording, keys: Keys, entry: Round, masked: bytes | None = None) -> list[int]:
    masked = body_of(recording, entry.opened, entry) if masked is None else masked
    return sums.opened(keys, entry.manifest, entry.contributors, masked)


def check_votes(recording: Recording, keys: Keys, job: Job, entry: Round) -> None:
    """The state that won is the one that follows from the opened integers."""
    kept, won, opened = recording.rounds[entry.manifest.hash], entry.winner(), opening(recording, keys, entry)
    need(won is not None and won[0] == entry.opened.attachment, "no quorum for this sum")
    if job.request is None:
        need(not any(opened), "a self-test opens to zero")
        return
    state, step = base64.b64decode(kept["state"]), base64.b64decode(kept["step"])
    need(keys.tag(job.number, state) == won[2], "the vote is for another state")
    need(keys.tag(job.number, step) == entry.ask.step_tag, "the round asked for another step")
    fields, layout = read_step(step), entry.ask.layout
    need(sizes(fields, layout.members) == (layout.bits, layout.entries), "the step has another size")
    degree = best_degree(layout.members, layout.threshold, layout.bits, layout.entries)
    need(degree == layout.degree, "another preset is smaller")
    arrays = read_detector_state(state)
    for name, values in totals(fields, opened, len(entry.contributors)).items():
        need(arrays[name] == values, "the state holds other integers")
    following = read_next_step(won[3])
    due = job.rounds[job.rounds.index(entry) + 1].ask.step_tag if following.fields else ZEROS
    need(following.step_tag == due, "the next round asks for another step than was voted for")


def accept(recording: Recording) -> dict[bytes, list[int]]:
    """Check everything and return what each manifest opened to."""
    log = recording.whole_log()
    keys = keys_of(recording, log)
    check_quota(log, recording)
    found = {}
    for job, entry in opened_rounds(log):
        check_join(recording, keys, entry)
        check_follows(job, entry)
        check_guard(log, recording, entry)
        check_own_messages(recording, keys, entry)
        check_sum(recording, entry)
        check_votes(recording, keys, job, entry)
        found[entry.manifest.hash] = opening(recording, keys, entry)
    return found
