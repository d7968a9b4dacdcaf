"""The life of a member's secrets, and what never leaves them."""

import copy
import gc
import pickle

import pytest

from fedanomaly.errors import ConfigError, CryptoError, MessageError, RefusedError
from fedanomaly.fhe.secret import EpochSecrets


@pytest.fixture
def pair():
    with (
        EpochSecrets.generate(members=3, threshold=2, index=1) as one,
        EpochSecrets.generate(members=3, threshold=2, index=2) as two,
    ):
        yield one, two


def test_every_member_confirms_the_same_group_key(federation, four):
    assert len(federation.confirmations) == len(four.confirmations) == 1
    assert federation.confirmations != four.confirmations


@pytest.mark.parametrize("roster", [(2, 2, 1), (251, 2, 1), (3, 1, 1), (3, 3, 1), (3, 2, 0), (3, 2, 4)])
def test_impossible_rosters_are_refused(roster):
    members, threshold, index = roster
    with pytest.raises(ConfigError):
        EpochSecrets.generate(members=members, threshold=threshold, index=index)


def test_deals_are_bound_to_everything(pair, info):
    one, two = pair
    first, second = one.hello(), two.hello()
    envelope = one.deal(2, hello=second, info=info(1, 2))
    lying = first[:-1] + bytes([first[-1] ^ 1])
    flipped = envelope[:-1] + bytes([envelope[-1] ^ 1])
    for sender, hello, about, sealed in (
        (1, first, info(1, 3), envelope),
        (3, first, info(1, 2), envelope),
        (1, lying, info(1, 2), envelope),
        (1, first, info(1, 2), flipped),
        (1, first, info(1, 2), envelope[:-1]),
        (1, first[:-1], info(1, 2), envelope),
        (1, first, b"", envelope),
    ):
        with pytest.raises(MessageError):
            two.receive(sender, hello=hello, info=about, envelope=sealed)
    two.receive(1, hello=first, info=info(1, 2), envelope=envelope)
    with pytest.raises(CryptoError):
        two.receive(1, hello=first, info=info(1, 2), envelope=envelope)


def test_a_hello_that_is_no_key_gets_no_deal(pair, info):
    one, two = pair
    for hello in (b"", two.hello()[:-1]):
        with pytest.raises(MessageError):
            one.deal(2, hello=hello, info=info(1, 2))
    with pytest.raises(CryptoError):
        one.deal(1, hello=two.hello(), info=info(1, 1))


def test_calls_out_of_order_are_refused(pair, federation):
    one, _ = pair
    with pytest.raises(CryptoError):
        one.finish(bytes(32), bytes(32))
    with pytest.raises(CryptoError):
        one.tag(1, b"")
    with pytest.raises(CryptoError):
        federation.members[0].hello()
    with pytest.raises(MessageError):
        one.finish(bytes(31), bytes(32))


def test_tags_are_keyed_and_equal_at_every_member(federation, four):
    tags = {member.tag(1, b"state") for member in federation.members}
    assert len(tags) == 1
    others = {federation.members[0].tag(2, b"state"), federation.members[0].tag(1, b"State")}
    assert not tags & (others | {four.members[0].tag(1, b"state")})


def test_the_nonce_binds_ask_snapshot_and_frozen_values(federation):
    member, ask = federation.members[0], federation.ask()
    facts = {"generation": 1, "frozen_hash": bytes(32), "random": bytes(32)}
    nonces = {
        member.nonce(ask, **facts),
        member.nonce(federation.ask(job=2), **facts),
        member.nonce(ask, **{**facts, "generation": 2}),
        member.nonce(ask, **{**facts, "frozen_hash": bytes([1] * 32)}),
        member.nonce(ask, **{**facts, "random": bytes([1] * 32)}),
        federation.members[1].nonce(ask, **facts),
    }
    assert len(nonces) == 6
    with pytest.raises(MessageError):
        member.nonce(ask, **{**facts, "random": bytes(31)})


def test_sealed_secrets_go_on_where_they_were(federation):
    key, context = bytes(range(32)), b"epoch"
    member, manifest = federation.members[1], federation.manifest()
    blob = member.seal(key, context)
    with EpochSecrets.unseal(key, context, blob, members=3, threshold=2, index=2) as again:
        assert again.share(manifest, (1, 2, 3)) == member.share(manifest, (1, 2, 3))
        again.forget(5)
        with pytest.raises(RefusedError):
            again.tag(4, b"")
        assert again.tag(5, b"") == member.tag(5, b"")
    assert member.seal(key, context) != blob


def test_secrets_are_sealed_while_dealing(pair, info):
    one, two = pair
    blob = two.seal(bytes(32), b"")
    with EpochSecrets.unseal(bytes(32), b"", blob, members=3, threshold=2, index=2) as again:
        envelope = one.deal(2, hello=two.hello(), info=info(1, 2))
        again.receive(1, hello=one.hello(), info=info(1, 2), envelope=envelope)
        assert again.hello() == two.hello()


def test_sealed_secrets_open_for_their_key_context_and_member_alone(federation):
    key, context = bytes(range(32)), b"epoch"
    blob = federation.members[1].seal(key, context)
    us = {"members": 3, "threshold": 2, "index": 2}
    for arguments, member in (
        ((bytes(32), context, blob), us),
        ((key, b"other", blob), us),
        ((key, context, blob[:-1]), us),
        ((key, context, b""), us),
        ((key, context, bytes([blob[0] ^ 1]) + blob[1:]), us),
        ((key[:-1], context, blob), us),
        ((key, context, blob), {**us, "index": 1}),
        ((key, context, blob), {**us, "members": 4}),
    ):
        with pytest.raises(MessageError):
            EpochSecrets.unseal(*arguments, **member)


def test_nothing_shows_or_copies_a_secret(federation):
    member = federation.members[0]
    assert repr(member) == str(member) == "<EpochSecrets of member 1 of 3>"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(CryptoError):
            attempt(member)


def test_closed_secrets_do_nothing(federation):
    with EpochSecrets.generate(members=3, threshold=2, index=1) as member:
        handle = member._handle
    member.close()
    for attempt in (member.hello, lambda: member.tag(1, b""), lambda: member.seal(bytes(32), b"")):
        with pytest.raises(CryptoError, match="erased"):
            attempt()
    member._handle = handle  # a stale number finds nothing either
    with pytest.raises(CryptoError, match="closed"):
        member.hello()
    member.close()


def test_secrets_that_nobody_closed_are_erased_with_their_last_reference():
    """An error between loading and closing must not fill the engine with secrets."""
    made = EpochSecrets.generate(members=3, threshold=2, index=1)
    kept = EpochSecrets(made._handle, members=3, index=1)
    kept._finalizer.detach()
    assert kept.hello()
    del made
    gc.collect()
    with pytest.raises(CryptoError, match="closed"):
        kept.hello()
