"""Key shares that are bent, replayed or of another secret: no key epoch comes to life, and nobody sums over it."""

from __future__ import annotations

import pytest

from fedanomaly.errors import MessageError, ProtocolError
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.protocol import EpochState
from fedanomaly.protocol.messages import Confirm, Deal, Hello
from tests.attacks.evidence import convicted
from tests.attacks.fork import Fork, private
from tests.unit.protocol.driving import asked, enrol_all, listen, meddle, read, recorded, set_up_to, signed_by

BAD = 4


def by_bad(fed, post, kind: str) -> bool:
    return post.envelope.kind == kind and post.envelope.sender == fed.parties[BAD - 1].identity.public_key


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


BENT = {
    "its first byte": lambda data: flipped(data, 0),
    "the encapsulated lattice key": lambda data: flipped(data, 500),
    "the encapsulated curve key": lambda data: flipped(data, 1_100),
    "what is sealed": lambda data: flipped(data, len(data) // 2),
    "its last byte": lambda data: flipped(data, len(data) - 1),
    "cut short": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "one byte": lambda _: b"\0",
    "of zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("how", BENT)
def test_a_bent_key_share_is_not_opened_and_its_receiver_confirms_nothing(federation, how):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    sent = recorded(fed)
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, BAD, read(post), BENT[how](post.attachment)),)
            if by_bad(fed, post, "deal") and read(post).receiver == 2
            else (post,)
        ),
    )
    fed.pump()
    epoch = fed.coordinator.transcript.epoch
    assert set(epoch.confirms) == {1, 3, BAD}
    assert fed.coordinator.transcript.live is None
    assert {name for name, _ in fed.errors} == {"org-1"}
    assert len({str(error) for _, error in fed.errors}) == 1
    assert private(sent) == []
    assert not any(job.number for job in fed.coordinator.transcript.jobs)
    # What remains: the deal under its sender's signature, which its receiver cannot open.
    kept = epoch.deals[BAD, 2]
    kept.verify()
    assert kept.sender == fed.parties[BAD - 1].identity.public_key


def test_every_way_to_bend_a_key_share_looks_the_same(federation):
    """The receiver's answer tells nobody which byte mattered."""
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    set_up_to(fed, EpochState.CONFIRMING)
    epoch = fed.coordinator.transcript.epoch
    envelope = fed.blobs[epoch.deals[BAD, 2].attachment]
    victim = fed.parties[1]
    said = set()
    for bend in BENT.values():
        secrets = victim.vault.load(epoch.digest, members=4, threshold=2, index=2)
        with pytest.raises(MessageError) as caught:
            secrets.receive(BAD, hello=epoch.hello_of(BAD), info=epoch.deal_info(BAD, 2), envelope=bend(envelope))
        said.add(str(caught.value))
        secrets.close()
    assert len(said) == 1


def test_a_key_share_of_another_secret_than_was_committed_to_is_refused(federation):
    """A dealer that is two: it says hello with one set of secrets, and deals to one member from another."""
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)

    def other(post):
        if not by_bad(fed, post, "deal") or read(post).receiver != 2:
            return (post,)
        epoch = fed.coordinator.transcript.epoch
        secrets = EpochSecrets.generate(members=4, threshold=2, index=BAD)
        dealt = secrets.deal(2, hello=epoch.hello_of(2), info=epoch.deal_info(BAD, 2))
        secrets.close()
        return (signed_by(fed, BAD, read(post), dealt),)

    meddle(fed, other)
    fed.pump()
    assert set(fed.coordinator.transcript.epoch.confirms) == {1, 3, BAD}
    assert {type(error) for _, error in fed.errors} == {MessageError}


@pytest.mark.parametrize("what", ["nonce", "sender", "receiver", "roster"])
def test_a_key_share_for_another_purpose_does_not_open(federation, what):
    """HPKE is bound to the roster, the dealer's nonce, and both ends: an envelope opens where it was meant to."""
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    set_up_to(fed, EpochState.CONFIRMING)
    epoch = fed.coordinator.transcript.epoch
    sender, receiver = 1, 2
    info = epoch.deal_info(sender, receiver)
    place = {
        "nonce": info.index(epoch.hellos[1][0].nonce),
        "roster": info.index(epoch.roster_hash),
        "sender": info.index(b"sender") + 10,
        "receiver": info.index(b"receiver") + 12,
    }[what]
    envelope = fed.blobs[epoch.deals[sender, receiver].attachment]
    secrets = fed.parties[1].vault.load(epoch.digest, members=4, threshold=2, index=receiver)
    with pytest.raises(MessageError):
        secrets.receive(sender, hello=epoch.hello_of(sender), info=flipped(info, place), envelope=envelope)
    secrets.receive(sender, hello=epoch.hello_of(sender), info=info, envelope=envelope)
    with pytest.raises(MessageError):
        secrets.receive(3, hello=epoch.hello_of(3), info=info, envelope=envelope)
    secrets.close()


def test_two_hellos_two_deals_or_two_rosters_convict_who_signed_them(federation):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    set_up_to(fed, EpochState.CONFIRMING)
    epoch = fed.coordinator.transcript.epoch
    hello = epoch.hellos[BAD][0]
    log = [entry.envelope for entry in fed.log]
    twice = [
        signed_by(fed, BAD, Hello(call=hello.call, nonce=b"\1" * 32, hello=hello.hello)).envelope,
        signed_by(fed, BAD, Deal(roster=epoch.roster_hash, receiver=1), b"another").envelope,
    ]
    bad = fed.parties[BAD - 1].identity.public_key
    fork = Fork(fed, "org-0")
    for envelope in twice:
        assert isinstance(fork.show(envelope), ProtocolError)
    assert convicted(log) == set()
    assert convicted(log + twice) == {(bad, "hello"), (bad, "deal")}


def test_a_member_that_confirms_another_group_key_stops_the_epoch(federation):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    meddle(
        fed,
        lambda post: (
            (signed_by(fed, BAD, Confirm(epoch=read(post).epoch, tag=b"\1" * 32)),)
            if by_bad(fed, post, "confirm")
            else (post,)
        ),
    )
    fed.pump()
    assert not fed.coordinator.transcript.epoch.confirmed
    assert fed.coordinator.transcript.live is None
    asked(fed)
    sent = recorded(fed)
    listen(fed)
    assert private(sent) == []
