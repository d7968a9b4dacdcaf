"""A finished federation, and the fold of its log up to any point."""

from __future__ import annotations

import dataclasses

import pytest

from fedanomaly.protocol import JobState, Settings, Transcript, seal
from tests.unit.protocol.toy import toy_request


@pytest.fixture(scope="session")
def finished():
    """A federation whose log holds one whole job."""
    from fedanomaly.simulation import Federation, Party
    from tests.unit.protocol.toy import ToyLearner, toy_rows

    learners = [ToyLearner(toy_rows(index)) for index in range(3)]
    parties = [Party(f"org-{index}", lambda _, own=own: own) for index, own in enumerate(learners)]
    fed = Federation(Settings(name="toy", members=3, threshold=2), parties)
    fed.enrol()
    assert fed.train(toy_request()).state is JobState.ACCEPTED
    yield fed
    fed.close()


def folded(fed, count: int) -> Transcript:
    transcript = Transcript(fed._federation, fed._identity.public_key)
    for entry in fed.log[:count]:
        transcript.add(entry)
    return transcript


def snapshot(transcript: Transcript) -> tuple:
    """What an envelope could change."""
    return (
        transcript.head,
        tuple(transcript.members),
        tuple(transcript.requests),
        tuple((epoch.state, len(epoch.deals), len(epoch.accepts)) for epoch in transcript.epochs),
        tuple(
            (
                job.state,
                len(job.ready),
                len(job.declined),
                tuple((entry.state, len(entry.joins)) for entry in job.rounds),
            )
            for job in transcript.jobs
        ),
    )


def at(fed, kind: str, nth: int = 0) -> int:
    """Position of the nth envelope of a kind."""
    return [index for index, entry in enumerate(fed.log) if entry.envelope.kind == kind][nth]


def body(fed, kind: str, nth: int = 0):
    from fedanomaly.protocol.messages import KINDS

    return KINDS[kind].from_bytes(fed.log[at(fed, kind, nth)].envelope.body)


def changed(fed, kind: str, nth: int = 0, *, attachment: bool | None = None, **fields):
    """Return the fold before an envelope, and that envelope with other contents, properly signed."""
    position = at(fed, kind, nth)
    original = fed.log[position].envelope
    signers = {party.identity.public_key: party.identity for party in fed.parties}
    signer = signers.get(original.sender, fed._identity)
    attached = fed.blobs.get(original.attachment)
    if attachment is not None:
        attached = b"something" if attachment else None
    message = dataclasses.replace(body(fed, kind, nth), **fields)
    return folded(fed, position), seal(signer, fed._federation, kind, message.to_bytes(), attached).envelope
