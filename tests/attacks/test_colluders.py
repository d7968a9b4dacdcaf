"""Up to t - 1 members together with the coordinator, given everything that they may hold.

They have every message of the log and every attachment, live handles on their
own secrets, the group key, and may add up whatever they like. One honest
contribution, and every sum but the agreed one, stays closed.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedanomaly.errors import MessageError, RejectedError
from fedanomaly.fhe import Contribution, DecryptionShare, Manifest, MaskedSum
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.protocol import JobState, Round
from fedanomaly.protocol.messages import Abandon
from tests.sums import added
from tests.unit.protocol.driving import asked, job_of, listen, say, until

VICTIM = 1


class Colluders:
    """What the members from an index on, and the coordinator, hold of one round."""

    def __init__(self, fed, round_: Round, first: int) -> None:
        self.manifest: Manifest = round_.posted
        self.indices = tuple(range(first, round_.ask.members + 1))
        blobs = fed.blobs
        self.contributions = {
            index: Contribution.from_bytes(blobs[envelope.attachment], self.manifest)
            for index, envelope in round_.contributions.items()
        }
        self.honest_shares = {
            index: DecryptionShare.from_bytes(blobs[envelope.attachment], self.manifest)
            for index, (_, envelope) in round_.statements.items()
            if index < first and envelope.size
        }
        self.secrets: dict[int, EpochSecrets] = {}
        for index in self.indices:
            member = fed.members[f"org-{index - 1}"]
            self.secrets[index] = member._setup.secrets(member.transcript.epoch, blobs.__getitem__)

    def sets(self) -> list[tuple[int, ...]]:
        """Return every set that a share can be made for at all."""
        joined = self.manifest.joined
        every = (set_ for size in range(len(joined) + 1) for set_ in itertools.combinations(joined, size))
        return [contributors for contributors in every if self.manifest.may_open(contributors)]

    def own_shares(self) -> list[list[DecryptionShare]]:
        """Return every choice of shares that they can make: for each colluder none, or one for any set."""
        choices = [
            [[], *([self.secrets[index].share(self.manifest, contributors)] for contributors in self.sets())]
            for index in self.indices
        ]
        return [list(itertools.chain(*choice)) for choice in itertools.product(*choices)]

    def add(self, contributions, shares) -> MaskedSum:
        return added(self.manifest, [*(self.contributions[index] for index in contributions), *shares])

    def open(self, masked: MaskedSum, contributors: tuple[int, ...]) -> np.ndarray | None:
        try:
            return self.secrets[self.indices[0]].open(self.manifest, contributors, masked)
        except RejectedError:
            return None


def subsets(items):
    items = list(items)
    return itertools.chain.from_iterable(itertools.combinations(items, size) for size in range(len(items) + 1))


def opened_round(federation, members: int, threshold: int):
    fed = federation(members, threshold)
    asked(fed)
    return fed, until(fed, "opened")


def test_the_agreed_sum_is_what_they_can_open(federation):
    """The control: what follows fails for the right reason."""
    fed, round_ = opened_round(federation, 4, 2)
    colluders = Colluders(fed, round_, first=4)
    own = colluders.secrets[4].share(round_.posted, round_.contributors)
    masked = colluders.add(round_.contributors, [*colluders.honest_shares.values(), own])
    assert colluders.open(masked, round_.contributors) is not None
    assert masked.to_bytes() == fed.blobs[round_.published.attachment]


def test_no_choice_of_shares_opens_one_honest_contribution_or_any_smaller_sum(federation):
    fed, round_ = opened_round(federation, 4, 2)
    colluders = Colluders(fed, round_, first=4)
    assert len(colluders.honest_shares) == 3
    agreed = round_.contributors
    tried = 0
    for others in subsets(index for index in agreed if index != VICTIM):
        contributions = (VICTIM, *others)
        for own, honest in itertools.product(colluders.own_shares(), subsets(colluders.honest_shares.values())):
            if contributions == agreed and len(honest) == 3:
                continue  # the agreed sum, perhaps with a wrong share of their own
            masked = colluders.add(contributions, [*honest, *own])
            claimed = contributions if colluders.manifest.may_open(contributions) else agreed
            assert colluders.open(masked, claimed) is None
            tried += 1
    assert tried > 300


@pytest.mark.parametrize("contributions", [(1,), (1, 4, 5), (1, 3, 4, 5), (1, 2, 3)])
def test_two_colluders_below_a_threshold_of_three_open_nothing_smaller(federation, contributions):
    fed, round_ = opened_round(federation, 5, 3)
    colluders = Colluders(fed, round_, first=4)
    assert len(colluders.honest_shares) == 3
    for own, honest in itertools.product(colluders.own_shares(), subsets(colluders.honest_shares.values())):
        masked = colluders.add(contributions, [*honest, *own])
        assert colluders.open(masked, round_.contributors) is None


def test_without_a_share_of_every_honest_decryptor_even_the_agreed_sum_stays_closed(federation):
    """Their own shares alone, and any honest ones but one."""
    fed, round_ = opened_round(federation, 5, 3)
    colluders = Colluders(fed, round_, first=4)
    own = [colluders.secrets[index].share(round_.posted, round_.contributors) for index in colluders.indices]
    for honest in subsets(colluders.honest_shares.values()):
        masked = colluders.add(round_.contributors, [*honest, *own])
        assert (colluders.open(masked, round_.contributors) is not None) == (len(honest) == 3)


def test_the_shares_of_a_retry_do_not_open_what_was_voided(federation):
    """The same frozen statistic twice: an abandoned manifest, then one that opened."""
    fed = federation(4, 2)
    asked(fed)
    voided = until(fed, "collecting")
    listen(fed)
    say(fed, Abandon(manifest=voided.posted.hash, reason="again"))
    listen(fed)
    assert voided.certificate().void
    retried = until(fed, "opened")
    assert set(voided.contributions) == set(retried.contributions) == {1, 2, 3, 4}
    old, new = Colluders(fed, voided, first=4), Colluders(fed, retried, first=4)
    assert not old.honest_shares
    moved = [DecryptionShare(voided.posted.hash, share.residues) for share in new.honest_shares.values()]
    for contributions in ((1,), (1, 4), (1, 2, 3), (1, 2, 3, 4)):
        for own, honest in itertools.product(old.own_shares(), subsets(moved)):
            assert old.open(old.add(contributions, [*honest, *own]), (1, 2, 3, 4)) is None


def test_one_statistic_under_two_manifests_looks_like_two(federation):
    """Nothing of the first ciphertext is found in the second one."""
    fed = federation(4, 2)
    asked(fed)
    voided = until(fed, "collecting")
    listen(fed)
    say(fed, Abandon(manifest=voided.posted.hash, reason="again"))
    listen(fed)
    retried = until(fed, "opened")
    first, second = (Colluders(fed, entry, first=4).contributions[VICTIM].residues for entry in (voided, retried))
    bits = np.unpackbits(np.frombuffer(first, np.uint8) ^ np.frombuffer(second, np.uint8))
    assert abs(bits.mean() - 0.5) < 6 * 0.5 / np.sqrt(bits.size)


def test_the_coordinator_alone_opens_not_even_the_agreed_sum(federation):
    """It has no group key; secrets of another federation do not replace it."""
    fed, round_ = opened_round(federation, 4, 2)
    masked = MaskedSum.from_bytes(fed.blobs[round_.published.attachment], round_.posted)
    other = federation(3, 2, enrol=False)
    other.enrol()
    stranger = other.members["org-0"]
    secrets = stranger._setup.secrets(stranger.transcript.epoch, other.blobs.__getitem__)
    with pytest.raises((MessageError, RejectedError)):
        secrets.open(round_.posted, round_.contributors, masked)


def test_a_job_with_a_silent_colluder_still_ends(federation):
    fed = federation(6, 2)
    asked(fed)
    until(fed, "announced")
    fed.parties = fed.parties[:5]
    for _ in range(10):
        fed.now_s += 60
        fed.pump()
    assert job_of(fed).state is JobState.ACCEPTED
