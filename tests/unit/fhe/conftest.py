"""Three members in memory, without protocol: what the engine alone does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
from tests.sums import added

from fedanomaly.fhe import Ask, JoinPost, Manifest, MaskedSum, Preset
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.types.canonical import begin, item_int

ROSTER = bytes([2] * 32)


def deal_info(sender: int, receiver: int) -> bytes:
    return begin("deal info") + item_int("from", sender) + item_int("to", receiver)


@dataclass(frozen=True)
class Federation:
    members: tuple[EpochSecrets, ...]
    threshold: int
    epoch: bytes
    confirmations: frozenset[bytes]

    @classmethod
    def enrol(cls, count: int = 3, threshold: int = 2) -> Federation:
        indices = range(1, count + 1)
        members = {i: EpochSecrets.generate(members=count, threshold=threshold, index=i) for i in indices}
        hellos = {i: member.hello() for i, member in members.items()}
        everything = hashlib.sha256()
        for sender in indices:
            for receiver in indices:
                if sender != receiver:
                    info = deal_info(sender, receiver)
                    envelope = members[sender].deal(receiver, hello=hellos[receiver], info=info)
                    members[receiver].receive(sender, hello=hellos[sender], info=info, envelope=envelope)
                    everything.update(envelope)
        epoch = everything.digest()
        tags = frozenset(member.finish(epoch, ROSTER) for member in members.values())
        return cls(tuple(members.values()), threshold, epoch, tags)

    def ask(self, **changes) -> Ask:
        facts = {
            "kind": "sum",
            "preset": Preset.N4096,
            "members": len(self.members),
            "threshold": self.threshold,
            "field_bits": 20,
            "fields": 50,
            "epoch": self.epoch,
            "roster": ROSTER,
            "policy": bytes(32),
            "job": 1,
            "round": 1,
            "step": 1,
            "schema": bytes(32),
            "step_tag": bytes(32),
            "state_tag": bytes(32),
        }
        return Ask(**{**facts, **changes})

    def manifest(self, **changes) -> Manifest:
        ask = self.ask(**changes)
        joins = tuple(
            JoinPost(
                member=index,
                generation=1,
                nonce=member.nonce(ask, generation=1, frozen_hash=bytes(32), random=bytes(32)),
                signature=bytes(64),
            )
            for index, member in enumerate(self.members, 1)
        )
        decryptors = tuple(range(1, min(len(self.members), self.threshold + 2) + 1))
        return Manifest.build(ask, joins=joins, decryptors=decryptors)

    def values(self, manifest: Manifest, seed: int = 0) -> list[np.ndarray]:
        rng, layout = np.random.default_rng(seed), manifest.ask.layout
        return [
            rng.integers(0, 1 << layout.value_bits, layout.fields, dtype=np.uint64) for _ in range(len(self.members))
        ]

    def masked(self, manifest: Manifest, values, contributors: tuple[int, ...]) -> MaskedSum:
        given = [self.members[index - 1].contribution(manifest, values[index - 1]) for index in contributors]
        shares = [self.members[index - 1].share(manifest, contributors) for index in manifest.decryptors]
        return added(manifest, [*given, *shares])


@pytest.fixture(scope="session")
def federation():
    return Federation.enrol()


@pytest.fixture(scope="session")
def four():
    return Federation.enrol(4, 2)


@pytest.fixture
def info():
    return deal_info
