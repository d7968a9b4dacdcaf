"""A coordinator that withholds, reorders and delays: in every order one answer leaves, and no more than honestly."""

from __future__ import annotations

import copy
import itertools
from contextlib import contextmanager, suppress

import pytest

from fedanomaly.errors import FedAnomalyError, ReplayError
from fedanomaly.protocol import Envelope, seal
from fedanomaly.protocol.messages import Abandon, Close, Opened, Outcome
from tests.attacks.evidence import convicted
from tests.attacks.fork import Fork, private
from tests.unit.protocol.driving import asked, job_of, listen, manifest_of, pass_time, read, recorded, renew, until


@contextmanager
def what_if(fork: Fork):
    """Leave a member and its ledger as they were, whatever is tried meanwhile."""
    party = next(party for party in fork.fed.parties if fork.fed.members[party.name] is fork.member)
    log, rows, seen = fork.member.transcript, dict(party.rows._rows), list(fork.seen)
    shared = {id(entry.envelope): entry.envelope for entry in fork.fed.log}

    def turn_to(transcript) -> None:
        fork.member.transcript = transcript
        fork.member._settled, fork.member._running = set(), {}  # known by the identity of jobs in the other fold
        object.__setattr__(fork.member._desk, "log", transcript)

    turn_to(copy.deepcopy(log, shared))
    try:
        yield
    finally:
        turn_to(log)
        party.rows._rows = rows
        fork.seen = seen


def signed(fed, message, attachment=None) -> Envelope:
    post = seal(fed._identity, fed._federation, message.kind, message.to_bytes(), attachment)
    if post.attachment:
        fed.blobs[post.envelope.attachment] = post.attachment
    return post.envelope


def in_every_order(fork: Fork, moves: list[Envelope]):
    """Show some of the moves, in each order that there is; yields everything that left in that order."""
    for count in range(1, len(moves) + 1):
        for order in itertools.permutations(moves, count):
            with what_if(fork):
                sent = fork.answers()
                for move in order:
                    fork.show(move)
                    sent += fork.answers()
                yield order, sent


def test_in_every_order_of_closes_and_abandons_one_statement_leaves(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    digests = {index: envelope.attachment for index, envelope in round_.contributions.items()}
    manifest = round_.posted.hash
    closes = [
        signed(fed, Close(manifest=manifest, contributors=named, contributions=tuple(digests[i] for i in named)))
        for named in ((1, 2, 3, 4), (1, 2, 3), (2, 3, 4))
    ]
    moves = [
        *closes,
        signed(fed, Abandon(manifest=manifest, reason="")),
        signed(fed, Abandon(manifest=manifest, reason="x")),
    ]
    fork = Fork(fed, "org-0")
    shares, kinds = set(), set()
    for order, sent in in_every_order(fork, moves):
        statements = {post.envelope.to_bytes() for post in sent if post.envelope.kind == "statement"}
        assert len(statements) == 1, [move.kind for move in order]
        (said,) = {read(post) for post in sent if post.envelope.kind == "statement"}
        if said.opens:
            assert said.contributors == Close.from_bytes(order[0].body).contributors
        kinds.add((said.opens, said.contributors))
        shares |= {post.attachment for post in sent if post.envelope.kind == "statement"}
    assert kinds == {(True, (1, 2, 3, 4)), (True, (1, 2, 3)), (True, (2, 3, 4)), (False, ())}
    assert len(shares) == 4  # three sets, each always by the same bytes, and no share


def test_in_every_order_of_manifests_one_contribution_leaves(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    manifests = [signed(fed, manifest_of(round_, members)) for members in ((1, 2, 3, 4), (1, 2, 3), (1, 3, 4))]
    moves = [*manifests, signed(fed, Outcome(ask=round_.ask.digest, outcome="void", reason=""))]
    fork = Fork(fed, "org-0")
    ciphertexts = {}
    for order, sent in in_every_order(fork, moves):
        contributions = {post.attachment for post in sent if post.envelope.kind == "contribution"}
        assert len(contributions) <= 1, order
        if contributions:
            ciphertexts.setdefault(order[0], set()).update(contributions)
    assert {len(variants) for variants in ciphertexts.values()} == {1}
    assert len(ciphertexts) == 3
    guilty = convicted([*manifests, *(entry.envelope for entry in fed.log)])
    assert guilty == {(fed._identity.public_key, "manifest")}


@pytest.mark.parametrize("reason", ["", "a reason"])
def test_a_manifest_that_was_given_up_is_not_closed_any_more_whatever_the_reason(federation, reason):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    digests = tuple(round_.contributions[index].attachment for index in (1, 2, 3, 4))
    fork = Fork(fed, "org-0")
    assert fork.say(Abandon(manifest=round_.posted.hash, reason=reason)) is None
    close = Close(manifest=round_.posted.hash, contributors=(1, 2, 3, 4), contributions=digests)
    assert isinstance(fork.say(close), ReplayError)
    assert private(fork.answers()) == []


def test_two_sets_shown_to_two_members_convict_the_coordinator(federation):
    """What one member keeps proves nothing; two that compare have what a stranger can check."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "collecting")
    listen(fed)
    forks = [Fork(fed, name) for name in ("org-0", "org-1")]
    for fork, named in zip(forks, ((1, 2, 3, 4), (1, 2, 3)), strict=True):
        digests = tuple(round_.contributions[index].attachment for index in named)
        assert fork.say(Close(manifest=round_.posted.hash, contributors=named, contributions=digests)) is None
        assert private(fork.answers()) == ["statement"]
    assert [convicted(fork.seen) for fork in forks] == [set(), set()]
    assert convicted(forks[0].seen + forks[1].seen) == {(fed._identity.public_key, "close")}


@pytest.mark.parametrize("state", ["joining", "collecting", "closed", "opened"])
def test_a_coordinator_that_says_nothing_more_gets_nothing_more(federation, state):
    """Each member says what is due once; asked again and again it says the same bytes."""
    fed = federation(4, 2)
    asked(fed)
    until(fed, state)
    for name in fed.members:
        fork = Fork(fed, name)
        first = fork.answers()
        fed.now_s += 1e9
        assert [fork.answers() for _ in range(3)] == [first] * 3
        assert len(private(first)) <= 1


@pytest.mark.parametrize("withheld", ["join", "contribution", "statement", "opened", "vote", "close"])
def test_what_is_withheld_from_one_member_lets_nothing_else_out_of_it(federation, withheld):
    """Every message of a kind is held back from one member, and shown to it after the job was over."""
    fed = federation(4, 2)
    asked(fed)
    until(fed, "announced")
    victim = fed.parties[3]
    fork = Fork(fed, victim.name)
    held: list[Envelope] = []
    out = []
    for _ in range(40):
        out += fork.go_on()
        for post in out:
            if not fed.coordinator.transcript.has(post.envelope.digest):
                with suppress(FedAnomalyError):  # what the coordinator makes of it is its own affair
                    fed.post(post)
        for post in fed.coordinator.act(fed.now_s, fed.blobs):
            fed._append(post)
        listen(fed, "org-0", "org-1", "org-2")
        for entry in fed.log:
            envelope = entry.envelope
            if fork.log.has(envelope.digest) or envelope in held:
                continue
            if envelope.kind == withheld and envelope.sender != victim.identity.public_key:
                held.append(envelope)
            else:
                fork.show(envelope)
        fed.now_s += 30
    assert held
    assert len({post.envelope.digest for post in out if private([post])}) <= len(job_of(fed).rounds) * 2
    for envelope in held:
        fork.show(envelope)
    assert private(fork.answers()) == []
    statements = [read(post) for post in out if post.envelope.kind == "statement"]
    assert len({said.manifest for said in statements}) == len(set(statements))
    assert job_of(fed).state.final


def test_a_sum_that_comes_before_its_statements_is_not_opened(federation):
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "closed")
    fork = Fork(fed, "org-0")
    opened = Opened(manifest=round_.posted.hash, contributors=round_.contributors)
    assert "not every decryptor" in str(fork.say(opened, b"anything"))
    assert [post.envelope.kind for post in fork.answers()] == ["statement"]


def test_a_delayed_job_over_new_rows_shows_the_old_ones_to_nobody(federation):
    """What a node froze for a round that was held back is not what it sends once its rows have changed."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    late = signed(fed, manifest_of(round_, (1, 2, 3, 4)))
    renew(fed, "org-0")
    fork = Fork(fed, "org-0")
    sent = recorded(fed)
    assert fork.show(late) is None
    assert private(fork.answers()) == []
    pass_time(fed, 600)
    assert all(post.envelope.sender != fed.parties[0].identity.public_key for post in sent if private([post]))
