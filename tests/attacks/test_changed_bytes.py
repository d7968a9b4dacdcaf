"""Whatever byte of a recorded round is changed: the real fold, coordinator and engine do not accept it.

tests/independent/test_changed_bytes.py says the same of the second implementation.
"""

from __future__ import annotations

import pytest

from fedanomaly.errors import FedAnomalyError, MessageError, NotFoundError, RejectedError
from fedanomaly.fhe import Contribution, DecryptionShare, InMemory, MaskedSum
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.protocol import Envelope, JobState, Settings, Transcript, seal
from fedanomaly.simulation import Federation
from fedanomaly.storage import BlobStore
from tests.sums import added
from tests.unit.protocol.federations import parties
from tests.unit.protocol.toy import toy_request


class Recorded:
    """A finished federation, and one member's secrets as they were before its job."""

    def __init__(self) -> None:
        self.fed = Federation(Settings(name="toy", members=3, threshold=2), parties(3))
        self.fed.enrol()
        party, label = self.fed.parties[0], self.fed.coordinator.transcript.epoch.digest + b"live"
        sealed = party.vault._sealed[label]
        assert self.fed.train(toy_request()).state is JobState.ACCEPTED
        self.secrets = EpochSecrets.unseal(party.vault._key, label, sealed, members=3, threshold=2, index=1)
        kinds = [entry.envelope.kind for entry in self.fed.log]
        self.start = kinds.index("announce", kinds.index("job-start"))
        self.end = kinds.index("outcome", self.start) + 1

    @property
    def round(self):
        return self.fed.coordinator.transcript.jobs[1].rounds[0]


@pytest.fixture(scope="module")
def recorded():
    made = Recorded()
    yield made
    made.secrets.close()
    made.fed.close()


def flips(data: bytes):
    for at in range(len(data)):
        for bits in (0x01, 0x80):
            yield data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def test_any_changed_byte_of_any_envelope_of_a_round_is_refused(recorded):
    fed, tried = recorded.fed, 0
    transcript = Transcript(fed._federation, fed._identity.public_key)
    for position, entry in enumerate(fed.log[: recorded.end]):
        if position >= recorded.start:
            for changed in flips(entry.envelope.to_bytes()):
                tried += 1
                with pytest.raises(FedAnomalyError):
                    transcript.check(Envelope.from_bytes(changed))
        transcript.add(entry)
    assert tried > 15_000


def attached(recorded):
    return [entry.envelope for entry in recorded.fed.log[recorded.start : recorded.end] if entry.envelope.size]


def upload(writer, data: bytes) -> None:
    with writer:
        writer.write(data)
        writer.commit()


def test_an_attachment_with_any_changed_byte_is_not_stored_under_its_name(recorded, tmp_path):
    """Every seventh change of one attachment of each kind: each writes and syncs a file."""
    store = BlobStore(tmp_path / "blobs", part_bytes=1 << 20, max_blob_bytes=1 << 20, max_staged_bytes=1 << 22)
    by_kind = {envelope.kind: envelope for envelope in attached(recorded)}
    assert set(by_kind) == {"contribution", "statement", "opened"}
    for envelope in by_kind.values():
        owner, digest, size = envelope.sender, envelope.attachment, envelope.size
        for changed in list(flips(recorded.fed.blobs[digest]))[::7]:
            with pytest.raises(MessageError):
                upload(store.part(owner, digest, size, 0, digest), changed)
            with pytest.raises(NotFoundError):
                store.staged(owner, digest, size)


def test_a_change_that_its_sender_signed_opens_to_the_same_integers_or_to_none(recorded):
    """The small ring has one prime on the wire, so a low bit of a residue is more noise and nothing else."""
    fed, round_, refused, rejected, noise = recorded.fed, recorded.round, 0, 0, 0
    manifest, right = round_.posted, None
    types = {"contribution": Contribution, "statement": DecryptionShare, "opened": MaskedSum}
    envelopes = attached(recorded)
    sent = {
        envelope.digest: types[envelope.kind].from_bytes(fed.blobs[envelope.attachment], manifest)
        for envelope in envelopes
    }
    right = recorded.secrets.open(manifest, round_.contributors, sent[round_.published.digest]).tolist()
    assert right == [sum(len(party.learners(None).rows) for party in fed.parties), *right[1:]]
    for envelope in envelopes:
        for changed in list(flips(fed.blobs[envelope.attachment]))[::2]:
            try:
                types[envelope.kind].check(InMemory(changed), manifest)
            except MessageError:
                refused += 1
                continue
            message = types[envelope.kind].from_bytes(changed, manifest)
            masked = message
            if envelope.kind != "opened":
                others = [
                    one for digest, one in sent.items() if digest != envelope.digest and type(one) is not MaskedSum
                ]
                masked = added(manifest, [*others, message])
            try:
                assert recorded.secrets.open(manifest, round_.contributors, masked).tolist() == right
                noise += 1
            except RejectedError:
                rejected += 1
    assert min(refused, rejected, noise) > 0
    assert rejected > noise


def test_a_changed_body_that_its_sender_signed_is_refused_unless_it_is_a_vote_or_a_reason(recorded):
    """Every byte of every body, signed again by whoever may say it.

    A vote of another mind is a vote, of which there is no quorum; the reason of an outcome is free text.
    """
    fed = recorded.fed
    signers = {party.identity.public_key: party.identity for party in fed.parties}
    transcript = Transcript(fed._federation, fed._identity.public_key)
    accepted: dict[str, int] = {}
    for position, entry in enumerate(fed.log[: recorded.end]):
        envelope = entry.envelope
        if position >= recorded.start:
            signer = signers.get(envelope.sender, fed._identity)
            for changed in list(flips(envelope.body))[::2]:
                try:
                    transcript.check(
                        seal(
                            signer, fed._federation, envelope.kind, changed, fed.blobs.get(envelope.attachment)
                        ).envelope
                    )
                    accepted[envelope.kind] = accepted.get(envelope.kind, 0) + 1
                except (FedAnomalyError, ValueError):
                    continue
        transcript.add(entry)
    assert set(accepted) == {"vote", "outcome"}, accepted
